"""The published one-block WaveStack, as it was: what the published figures were measured on.

    x  = token(w) + position                               # no residual stream
    y_l = mlp_l(linear_l(view_l(x)))                       # Chebyshev, Fourier, running means
    y_l = y_l + dropout(gelu(causal_conv(y_l)))            # one for all lanes
    m  = mixer(y_1, y_2, y_3)
    m  = m + dropout(gelu(causal_conv(m)))
    logits = head(layer_norm(m))                           # untied

Its fault is kept: the bases of two lanes are stretched over the sequence at hand, so what a prefix says changes with what follows it, if
only by its length (with `stretched: context` it does not). There is no state that sums up a past then; to go on, it is all computed anew.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.chebyshev import Chebyshev, chebyshev_basis
from wavestack.lanes.fourier import Fourier, fourier_basis
from wavestack.lanes.projection import prefix_kernel_average
from wavestack.models.language_model import LanguageModel, matrix_flops

# The lanes' own tables are kept for ever, which would be one for each length of a generated text: here the last few are kept.
_chebyshev_basis = lru_cache(4)(chebyshev_basis.__wrapped__)
_fourier_basis = lru_cache(4)(fourier_basis.__wrapped__)

Positive = Annotated[int, Field(ge=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class PublishedModel(LanguageModel):
    """What the published models have in common: learned positions that end at T, a LayerNorm, and an untied, bias-free output layer."""

    names_its_size = True

    def __init__(self, vocabulary: int, context: int, hidden: int):
        super().__init__()
        self.context = context
        self.token = nn.Embedding(vocabulary, hidden)
        self.position = nn.Embedding(context, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, vocabulary, bias=False)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.token(tokens)

    def positioned(self, x: Tensor, past: int = 0) -> Tensor:
        """Embedded tokens (B x S x H) after `past` others, with their positions added.

        Raises:
            ValueError: at position T, for which none was learned.
        """
        end = past + x.shape[1]
        if end > self.context:
            raise ValueError(
                f"{type(self).__name__}: position {end - 1} is beyond its context of {self.context}, where its learned positions end; "
                "shorten the input or train with a larger context"
            )
        return x + self.position.weight[past:end]

    def parameter_counts(self) -> tuple[int, int]:
        total = sum(parameter.numel() for parameter in self.parameters())
        return total, total - self.token.weight.numel() - self.head.weight.numel()


def prefix_average(x: Tensor, basis: Tensor, gains: Tensor | None = None) -> Tensor:
    """`1/(t+1) sum_{s<=t} <g * phi_t, phi_s> x_s` (B x S x H), for a basis S x R and gains R (None for ones), the sums in float32."""
    with torch.autocast(x.device.type, enabled=False):
        y, _ = prefix_kernel_average(x.float(), basis, basis.new_ones(basis.shape[1]) if gains is None else gains, 0, None)
    return y.to(x.dtype)


class PublishedLane(nn.Module):
    """A fixed view of the sequence, a linear map to H, and the MLP that "recomposes" it."""

    def __init__(self, hidden: int, channels: int, width: int, mlp_layers: int, dropout: float):
        """`channels` are those of the view, `width` that of the MLP's hidden layers."""
        super().__init__()
        self.hidden = hidden
        self.linear = nn.Linear(channels, hidden)
        layers: list[nn.Module] = []
        for inputs in [hidden] + [width] * (mlp_layers - 1):
            layers += [nn.Linear(inputs, width), nn.GELU(), nn.Dropout(dropout)]
        self.mlp = nn.Sequential(*layers, nn.Linear(width, hidden))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(self.linear(self.view(x)))

    def view(self, x: Tensor) -> Tensor:
        """B x S x channels, of whole sequences B x S x H."""
        raise NotImplementedError

    def flops(self, length: int) -> int:
        """Floating-point operations of the forward pass over one sequence, counted as `Lane.flops` does."""
        return matrix_flops(self, length) + self.view_flops(length)

    def view_flops(self, length: int) -> int:
        raise NotImplementedError


class PublishedChebyshev(PublishedLane):
    """Prefix kernel average over T_0 .. T_{order-1} at z_t = -1 + 2t/(S-1), of vectors divided by their largest absolute channel.

    `stretched` is the length S that the basis is stretched over; None for that of the sequence at hand, as published.
    """

    def __init__(self, hidden: int, order: int, stretched: int | None, mlp_layers: int, dropout: float):
        super().__init__(hidden, hidden, hidden, mlp_layers, dropout)
        self.order = order
        self.stretched = stretched

    def view(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        x = x / x.abs().amax(-1, keepdim=True).clamp_min(1e-6)
        return prefix_average(x, _chebyshev_basis(self.stretched or length, self.order, str(x.device))[:length])

    def view_flops(self, length: int) -> int:
        return Chebyshev(self.hidden, length, order=self.order).flops(length)  # the same operation


class PublishedFourier(PublishedLane):
    """`1/(t+1) sum_f g_f sum_{s<=t} cos(2 pi f (t-s)/S) x_s`, over as many frequencies as the length S tells apart.

    `stretched` as in `PublishedChebyshev`.
    """

    def __init__(self, hidden: int, frequencies: int, stretched: int | None, mlp_layers: int, dropout: float):
        super().__init__(hidden, hidden, hidden, mlp_layers, dropout)
        self.gains = nn.Parameter(torch.ones(frequencies))
        self.stretched = stretched

    def _used(self, length: int) -> int:
        return min(len(self.gains), (self.stretched or length) // 2 + 1)

    def view(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        used = self._used(length)
        gains = torch.cat([self.gains[:used], self.gains[1:used]])  # of the cosines, then of the sines
        return prefix_average(x, _fourier_basis(self.stretched or length, used, str(x.device))[:length], gains)

    def view_flops(self, length: int) -> int:
        return Fourier(self.hidden, length, frequencies=self._used(length)).flops(length)  # the same operation


class PublishedWavelet(PublishedLane):
    """For level j = 1 .. J the mean of the last 2^j positions, zeros before the start, and what it leaves of x: 2 J H channels."""

    def __init__(self, hidden: int, levels: int, mlp_layers: int, dropout: float):
        super().__init__(hidden, 2 * levels * hidden, hidden * 3 // 2, mlp_layers, dropout)
        self.levels = levels

    def view(self, x: Tensor) -> Tensor:
        mean, signals = x, []
        for level in range(self.levels):
            earlier = functional.pad(mean, (0, 0, 2**level, 0))[:, : x.shape[1]]
            mean = (mean + earlier) / 2  # of 2^(level+1) positions, from two of half as many: no long sum that loses its tail
            signals += [mean, x - mean]
        return torch.cat(signals, -1)

    def view_flops(self, length: int) -> int:
        return 2 * length * 2 * self.levels * self.hidden  # filters of two taps


class ContextBlock(nn.Module):
    """`x + dropout(gelu(causal_conv(x)))`, all channels to all channels, over three positions."""

    def __init__(self, hidden: int, dropout: float):
        super().__init__()
        self.convolution = nn.Conv1d(hidden, hidden, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(functional.pad(x.mT, (2, 0))).mT  # B x S x H
        return x + self.dropout(functional.gelu(y))

    def flops(self, length: int) -> int:
        return 2 * length * self.convolution.weight.numel()


class GatedSum(nn.Module):
    """A softmax over the lanes at every token, from all of them side by side, weighs them."""

    def __init__(self, hidden: int, lanes: int):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(lanes * hidden, hidden), nn.GELU(), nn.Linear(hidden, lanes))

    def forward(self, views: Tensor) -> Tensor:
        """B x S x L x H to B x S x H, as all of these mixers do."""
        weights = torch.softmax(self.gate(views.flatten(2)), -1)  # B x S x L
        return (weights[..., None] * views).sum(2)

    def flops(self, length: int) -> int:
        return matrix_flops(self, length)


class AcrossLanes(nn.Module):
    """At each position the lanes attend to one another with a single head; the mean of what they hear."""

    def __init__(self, hidden: int, lanes: int):
        super().__init__()
        self.lanes = lanes
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)

    def forward(self, views: Tensor) -> Tensor:
        q, k, v = self.qkv(views).chunk(3, -1)  # B x S x L x H
        return functional.scaled_dot_product_attention(q, k, v).mean(2)

    def flops(self, length: int) -> int:
        return self.lanes * matrix_flops(self, length) + 2 * 2 * length * self.lanes**2 * self.qkv.in_features


class LaneMLP(nn.Module):
    """An MLP with one hidden layer of GELUs on the lanes side by side."""

    def __init__(self, hidden: int, lanes: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(lanes * hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def forward(self, views: Tensor) -> Tensor:
        return self.mlp(views.flatten(2))

    def flops(self, length: int) -> int:
        return matrix_flops(self, length)


MIXERS: dict[str, type[GatedSum | AcrossLanes | LaneMLP]] = {"gated": GatedSum, "across": AcrossLanes, "mlp": LaneMLP}


class Reference(PublishedModel):
    """The published WaveStack; see the module's docstring. Small: the defaults. Large: hidden 768 and three layers in each MLP."""

    lanes: Sequence[PublishedLane]
    breaks = frozenset({"prefix consistency", "step equals parallel", "chunk carry"})

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        hidden: Positive = 384,
        mlp_layers: Positive = 1,  # hidden layers of each lane's MLP
        order: Positive = 4,  # Chebyshev polynomials
        frequencies: Positive = 64,
        levels: Positive = 3,  # running means
        stretched: Literal["input", "context"] = "input",  # what bases are stretched over: the input at hand, or T, as mended
        context_block: bool = True,  # some published runs predate it
        dropout: Dropout = 0.1,
        mixer: Literal["gated", "across", "mlp"] = "gated",
    ):
        super().__init__(vocabulary, context, hidden)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)
        over = None
        if stretched == "context":
            over, self.breaks = context, frozenset()
        lanes = [
            PublishedChebyshev(hidden, order, over, mlp_layers, dropout),
            PublishedFourier(hidden, frequencies, over, mlp_layers, dropout),
            PublishedWavelet(hidden, levels, mlp_layers, dropout),
        ]
        self.lanes = nn.ModuleList(lanes)  # type: ignore[assignment]
        self.before = ContextBlock(hidden, dropout) if context_block else None  # the mixer, the same for every lane
        self.mixer = MIXERS[mixer](hidden, len(lanes))
        self.after = ContextBlock(hidden, dropout) if context_block else None

    def advance_embedded(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state is everything embedded so far, B x P x H: the whole prefix is computed anew, as the published model generated."""
        new = x.shape[1]
        seen = x if state is None else torch.cat([state, x], 1)
        x = self.positioned(seen)
        views = [lane(x) for lane in self.lanes]  # L times B x S x H
        if self.before is not None:
            views = [self.before(view) for view in views]
        m = self.mixer(torch.stack(views, 2))  # B x S x H
        if self.after is not None:
            m = self.after(m)
        return self.head(self.norm(m[:, -new:])), seen

    def state_bytes(self, positions: int) -> int:
        return 4 * positions * self.norm.weight.numel()

    def flops(self, length: int) -> int:
        """Those of one pass over a whole sequence; to generate it takes one such pass a token."""
        contexts = 0
        if self.before is not None and self.after is not None:
            contexts = len(self.lanes) * self.before.flops(length) + self.after.flops(length)
        lanes = sum(lane.flops(length) for lane in self.lanes)
        return lanes + contexts + self.mixer.flops(length) + matrix_flops(self.head, length)
