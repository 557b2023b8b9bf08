"""The deep WaveStack: residual blocks of lanes under a mixer, and a SwiGLU.

u   = norm(x)
v   = silu(short_causal_conv(u))
m   = mix over lanes l of project_l(norm_l(lane_l(v)))         # m = v where there is no lane
x   = x + out(silu(z(u)) * m)
x   = x + swiglu(norm(x))
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack import registry
from wavestack.lanes.convolution import ShortConvolution
from wavestack.models.language_model import LanguageModel, RMSNorm, SwiGLU

Knobs = dict[str, Any]


class Block(nn.Module):
    def __init__(self, hidden: int, context: int, mlp: int, lanes: Mapping[str, Knobs], mixer: str, convolution: int):
        super().__init__()
        self.norm = RMSNorm(hidden)
        self.convolution = ShortConvolution(hidden, context, width=convolution)
        self.lanes = nn.ModuleDict({name: registry.load(registry.LANES[name])(hidden, context, **knobs) for name, knobs in lanes.items()})
        self.norms = nn.ModuleDict({name: RMSNorm(hidden) for name in lanes})
        self.projections = nn.ModuleDict({name: nn.Linear(hidden, hidden, bias=False) for name in lanes})
        self.mixer = registry.load(registry.MIXERS[mixer])(hidden, len(lanes)) if lanes else None
        self.z = nn.Linear(hidden, hidden, bias=False)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.mlp_norm = RMSNorm(hidden)
        self.mlp = SwiGLU(hidden, mlp)

    def forward(self, x: Tensor) -> Tensor:
        u = self.norm(x)  # B x S x H
        v = functional.silu(self.convolution(u)[0])
        views = [self.projections[name](self.norms[name](lane(v)[0])) for name, lane in self.lanes.items()]
        m = v if self.mixer is None else self.mixer(u, views)
        x = x + self.out(functional.silu(self.z(u)) * m)
        return x + self.mlp(self.mlp_norm(x))


class WaveStack(LanguageModel):
    """A language model without attention; see the module's docstring for its block."""

    def __init__(
        self,
        vocabulary: int,
        hidden: int,
        blocks: int,
        context: int,
        mlp: int,
        *,
        lanes: dict[str, Knobs],
        mixer: str = "gated",
        convolution: Annotated[int, Field(ge=1)] = 4,
    ):
        stack = [Block(hidden, context, mlp, lanes, mixer, convolution) for _ in range(blocks)]
        super().__init__(vocabulary, hidden, context, stack)
