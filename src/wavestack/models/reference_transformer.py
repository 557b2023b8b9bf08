"""The transformer that the published WaveStack was compared with, as it was.

x = token(w) + position
x = x + dropout(out(attention(qkv(layer_norm(x)))))
x = x + dropout(down(dropout(gelu(up(layer_norm(x))))))
logits = head(layer_norm(x))                               # untied
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.attention import causal_attention
from wavestack.models.language_model import matrix_flops
from wavestack.models.reference import Dropout, Positive, PublishedModel
from wavestack.models.stack import Block


class ReferenceTransformerBlock(Block):
    """Pre-LayerNorm attention and a GELU MLP four times as wide, with biases; its state is the keys and values of the past."""

    def __init__(self, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.hidden = hidden
        self.heads = heads
        self.norm = nn.LayerNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.out = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.mlp_norm = nn.LayerNorm(hidden)
        self.mlp = nn.Sequential(
            nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * hidden, hidden), nn.Dropout(dropout)
        )
        # as PyTorch's own attention module starts, which the published one used
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`mask` is S x (past + S), added to the scores; None for the fused causal path. The state is twice B x heads x P x width."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # B x heads x S x width
        past = 0
        if state is not None:
            past = state[0].shape[2]
            k, v = torch.cat([state[0].to(k.dtype), k], 2), torch.cat([state[1].to(v.dtype), v], 2)
        if mask is None:
            y = causal_attention(q, k, v, past)
        else:
            y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        return x + self.mlp(self.mlp_norm(x)), (k, v)

    def state_bytes(self, positions: int) -> int:
        return 4 * 2 * positions * self.hidden

    def flops(self, length: int) -> int:
        pairs = length * (length + 1) // 2  # those attended to, masked or not
        return matrix_flops(self, length) + 2 * 2 * pairs * self.hidden


class ReferenceTransformer(PublishedModel):
    """The published baseline. Small: the defaults. Large: hidden 384, 11 blocks, 6 heads. Equal to the small WaveStack: 384, 2, 6.

    Every weight starts as PyTorch has it, the embeddings with N(0, 1).
    """

    blocks: Sequence[ReferenceTransformerBlock]

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        hidden: Positive = 224,
        blocks: Positive = 2,
        heads: Positive = 7,
        dropout: Dropout = 0.1,  # none on the attention's weights
        explicit_mask: bool = True,  # as published: an S x S mask, which keeps some backends from their fused causal kernel
    ):
        if hidden % heads:
            raise ValueError(f"reference transformer: a width of {hidden} is no multiple of {heads} heads; change hidden or heads")
        super().__init__(vocabulary, context, hidden)
        self.blocks = nn.ModuleList(ReferenceTransformerBlock(hidden, heads, dropout) for _ in range(blocks))  # type: ignore[assignment]
        self.explicit_mask = explicit_mask

    def advance_hidden(self, x: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        past = 0 if state is None else state[0][0].shape[2]
        x = self.positioned(x, past)
        mask = self._mask(past, x) if self.explicit_mask else None
        after = []
        for block, before in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            x, cache = block(x, before, mask)
            after.append(cache)
        return self.norm(x), after

    @staticmethod
    def _mask(past: int, x: Tensor) -> Tensor:
        """S x (past + S): minus infinity where a position would look ahead, else zero."""
        length = x.shape[1]
        return torch.full((length, past + length), float("-inf"), device=x.device, dtype=x.dtype).triu(past + 1)

    def state_bytes(self, positions: int) -> int:
        return sum(block.state_bytes(positions) for block in self.blocks)

    def flops(self, length: int) -> int:
        return sum(block.flops(length) for block in self.blocks) + matrix_flops(self.head, length)
