"""A stack of residual blocks between tied embeddings: what the deep WaveStack and the transformer have in common."""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.norm import RMSNorm
from wavestack.models.alignment import padded, project
from wavestack.models.gating import gated
from wavestack.models.language_model import LanguageModel


class SwiGLU(nn.Module):
    """`out(silu(gate(x)) * up(x))` (Shazeer 2020, arXiv:2002.05202). Its width is what the budget solves for."""

    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate = nn.Linear(hidden, width, bias=False)
        self.up = nn.Linear(hidden, width, bias=False)
        self.out = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = (functional.linear(x, padded(layer.weight, 0)) for layer in (self.gate, self.up))
        return gated(gate, up, padded(self.out.weight, 1))


class Block(nn.Module):
    """The interface of a block: a layer of the residual stream that carries a state, as a lane does.

    Attributes:
        dropout: of what the block adds to the stream; a training says how much.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.0)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The stream after the block (B x S x H) for the chunk `x` (B x S x H) after the past that `state` sums up; the state after it."""
        raise NotImplementedError

    def state_bytes(self, positions: int) -> int:
        """Bytes of the state of one sequence after `positions` tokens (at least 1), with activations in float32."""
        raise NotImplementedError

    def flops(self, length: int) -> int:
        """Floating-point operations of the forward pass over one sequence, counted as `Lane.flops` does."""
        raise NotImplementedError


class ResidualStack(LanguageModel):
    """Embedding, blocks, a norm, and the embedding again for the logits."""

    def __init__(self, vocabulary: int, hidden: int, context: int, blocks: Iterable[Block]):
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.blocks = cast(Sequence[Block], nn.ModuleList(blocks))
        self.norm = RMSNorm(hidden)
        self.dropout = nn.Dropout(0.0)
        self._initialise()

    def _initialise(self) -> None:
        """N(0, 0.02^2), and what is added to the residual stream (two layers a block) scaled by 1/sqrt(2 blocks), as GPT-2 has it."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith("out")
                nn.init.normal_(module.weight, std=0.02 / sqrt(2 * len(self.blocks)) if residual else 0.02)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits as `advance` gives them; the state of a block goes as soon as it has come, since nothing follows."""
        x = self.dropout(self.embed(tokens))
        for block in self.blocks:
            x, _ = block(x)
        return self.logits(self.norm(x))

    def advance_hidden(self, x: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        x, after = self.dropout(x), []
        for block, before in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            x, past = block(x, before)
            after.append(past)
        return self.norm(x), after

    def logits(self, h: Tensor) -> Tensor:
        return project(h, self.embedding.weight)

    def state_bytes(self, positions: int) -> int:
        return sum(block.state_bytes(positions) for block in self.blocks)

    def flops(self, length: int) -> int:
        return sum(block.flops(length) for block in self.blocks) + 2 * length * self.embedding.weight.numel()

    def parameter_counts(self) -> tuple[int, int]:
        total = sum(parameter.numel() for parameter in self.parameters())
        return total, total - self.embedding.weight.numel()
