"""What every language model of the benchmark shares: tied embeddings, a stack of residual blocks, a final norm."""

from collections.abc import Iterable
from math import sqrt

from torch import Tensor, nn
from torch.nn import functional


class RMSNorm(nn.RMSNorm):
    """x / rms(x) * weight, in the dtype of x: with a weight of another one PyTorch has no fused kernel."""

    def __init__(self, width: int):
        super().__init__(width, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class SwiGLU(nn.Module):
    """`out(silu(gate(x)) * up(x))` (Shazeer 2020, arXiv:2002.05202). Its width is what the budget solves for."""

    def __init__(self, hidden: int, width: int):
        super().__init__()
        self.gate = nn.Linear(hidden, width, bias=False)
        self.up = nn.Linear(hidden, width, bias=False)
        self.out = nn.Linear(width, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.silu(self.gate(x)) * self.up(x))


class LanguageModel(nn.Module):
    """Tokens in, logits for the next token out."""

    def __init__(self, vocabulary: int, hidden: int, context: int, blocks: Iterable[nn.Module]):
        super().__init__()
        self.context = context
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.blocks = nn.ModuleList(blocks)
        self.norm = RMSNorm(hidden)
        self._initialise()

    def _initialise(self) -> None:
        """N(0, 0.02^2), and what is added to the residual stream (two layers a block) scaled by 1/sqrt(2 blocks), as GPT-2 has it."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                residual = name.endswith("out")
                nn.init.normal_(module.weight, std=0.02 / sqrt(2 * len(self.blocks)) if residual else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits B x S x V for tokens B x S; ValueError where S is more than the declared context."""
        if tokens.shape[1] > self.context:
            raise ValueError(f"a sequence of {tokens.shape[1]} tokens is longer than the model's context of {self.context}")
        return self.logits(self.embedding(tokens))

    def logits(self, x: Tensor) -> Tensor:
        """Logits for embedded tokens (B x S x H)."""
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.embedding.weight)

    def parameter_counts(self) -> tuple[int, int]:
        """All parameters, tied ones once, and those that are not the embedding."""
        total = sum(parameter.numel() for parameter in self.parameters())
        return total, total - self.embedding.weight.numel()
