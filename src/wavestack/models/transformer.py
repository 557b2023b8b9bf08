"""The transformer that WaveStack is compared with, as strong as is usual at its size.

Pre-norm RMSNorm, rotary positions (Su et al. 2021, arXiv:2104.09864), norms on queries and keys (Henry et al. 2020, arXiv:2010.04245),
SwiGLU, tied embeddings, no biases, and PyTorch's fused causal attention.
"""

from functools import cache
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.models.language_model import LanguageModel, RMSNorm, SwiGLU


@cache
def rotary_tables(context: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of t / 10000^(2i / head_width), each T x head_width/2."""
    frequencies = 10000.0 ** (-torch.arange(0, head_width, 2, dtype=torch.float64, device="cpu") / head_width)
    angle = torch.arange(context, dtype=torch.float64, device="cpu")[:, None] * frequencies
    return torch.cos(angle).float(), torch.sin(angle).float()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the pairs (i, i + width/2) of x (B x heads x S x width) by their position's angles (S x width/2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1).to(x.dtype)


class Block(nn.Module):
    cosine: Tensor
    sine: Tensor

    def __init__(self, hidden: int, context: int, mlp: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm = RMSNorm(hidden)
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.query_norm = RMSNorm(hidden // heads)
        self.key_norm = RMSNorm(hidden // heads)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.mlp_norm = RMSNorm(hidden)
        self.mlp = SwiGLU(hidden, mlp)
        cosine, sine = rotary_tables(context, hidden // heads)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, hidden = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # B x heads x S x width
        cosine, sine = self.cosine[:length], self.sine[:length]
        q, k = rotate(self.query_norm(q), cosine, sine), rotate(self.key_norm(k), cosine, sine)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, hidden))
        return x + self.mlp(self.mlp_norm(x))


class Transformer(LanguageModel):
    """A decoder-only transformer; see the module's docstring."""

    def __init__(
        self,
        vocabulary: int,
        hidden: int,
        blocks: int,
        context: int,
        mlp: int,
        *,
        head_width: Annotated[int, Field(ge=2, multiple_of=2)] = 64,
    ):
        if hidden % head_width:
            raise ValueError(f"transformer: a hidden width of {hidden} is no multiple of head_width {head_width}; change one of them")
        super().__init__(vocabulary, hidden, context, [Block(hidden, context, mlp, hidden // head_width) for _ in range(blocks)])
