"""The published "neural" baseline: the published model with its lanes and mixer replaced by layers that see one position at a time.

    x = token(w) + position
    x = layer_norm_i(gelu(linear_i(x)))                    # three times
    x = x + dropout(gelu(causal_conv(x)))                  # the context block, where the published model has its last one
    logits = head(layer_norm(x))                           # untied

Without the context block it predicts from the last token and its position alone.
"""

import torch
from torch import Tensor, nn

from wavestack.models.language_model import matrix_flops
from wavestack.models.reference import ContextBlock, Dropout, Positive, PublishedModel


class ReferenceNeural(PublishedModel):
    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        hidden: Positive = 384,
        layers: Positive = 3,
        context_block: bool = True,
        dropout: Dropout = 0.1,
    ):
        super().__init__(vocabulary, context, hidden)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)
        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden)) for _ in range(layers)))
        self.context_block = ContextBlock(hidden, dropout) if context_block else None

    def advance_hidden(self, x: Tensor, state: tuple[int, Tensor] | None = None) -> tuple[Tensor, tuple[int, Tensor]]:
        """The state is how many tokens there were, and what the convolution still sees of them, B x 2 x H (fewer at the start)."""
        past, seen = (0, x[:, :0]) if state is None else state
        new = x.shape[1]
        x = torch.cat([seen, self.layers(self.positioned(x, past))], 1)
        kept = x[:, -2:] if self.context_block is not None else x[:, :0]
        if self.context_block is not None:
            x = self.context_block(x)
        return self.norm(x[:, -new:]), (past + new, kept)

    def state_bytes(self, positions: int) -> int:
        return 4 * min(positions, 2) * self.norm.weight.numel() if self.context_block is not None else 0

    def flops(self, length: int) -> int:
        context = self.context_block.flops(length) if self.context_block is not None else 0
        return matrix_flops(self.layers, length) + context + matrix_flops(self.head, length)
