"""The transformer that WaveStack is compared with, as strong as is usual at its size.

Pre-norm RMSNorm, rotary positions, norms on queries and keys, SwiGLU, tied embeddings, no biases, and PyTorch's fused causal attention; as
an option the short convolution that WaveStack has, before its attention:

u   = short_causal_conv(norm(x))                           # only where asked for
x   = x + out(attention(qkv(u)))
x   = x + swiglu(norm(x))
"""

from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn

from wavestack.lanes.attention import Attention
from wavestack.lanes.convolution import ShortConvolution
from wavestack.lanes.norm import RMSNorm
from wavestack.models.language_model import matrix_flops
from wavestack.models.stack import Block, ResidualStack, SwiGLU


class TransformerBlock(Block):
    def __init__(self, hidden: int, context: int, mlp: int, convolution: int, **attention: Any):
        super().__init__()
        self.norm = RMSNorm(hidden)
        self.convolution = ShortConvolution(hidden, context, width=convolution) if convolution else None
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.attention = Attention(hidden, context, **attention)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.mlp_norm = RMSNorm(hidden)
        self.mlp = SwiGLU(hidden, mlp)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        filtered, attended = (None, None) if state is None else state
        u = self.norm(x)
        if self.convolution is not None:
            u, filtered = self.convolution(u, filtered)
        y, attended = self.attention(self.qkv(u), attended)
        x = x + self.dropout(self.out(y))
        return x + self.dropout(self.mlp(self.mlp_norm(x))), (filtered, attended)

    def state_bytes(self, positions: int) -> int:
        return self.attention.state_bytes(positions) + (self.convolution.state_bytes(positions) if self.convolution else 0)

    def flops(self, length: int) -> int:
        return matrix_flops(self, length) + self.attention.flops(length) + (self.convolution.flops(length) if self.convolution else 0)


class Transformer(ResidualStack):
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
        convolution: Annotated[int, Field(ge=0)] = 0,  # positions; 0 for none
        window: Annotated[int, Field(ge=1)] | None = None,  # positions that attention sees; None for all
        explicit_mask: bool = False,  # of S x S, as was published
    ):
        attention = {"head_width": head_width, "window": window, "explicit_mask": explicit_mask}
        stack = [TransformerBlock(hidden, context, mlp, convolution, **attention) for _ in range(blocks)]
        super().__init__(vocabulary, hidden, context, stack)
