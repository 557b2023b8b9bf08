"""The lanes of the published WaveStack: a fixed view of the sequence, a linear map, and an MLP that "recomposes" it.

`part` is how much of a lane is there yet, 0 to 1: the published ramp raises polynomials, frequencies and levels from few to all.
"""

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.chebyshev import Chebyshev, chebyshev_basis
from wavestack.lanes.fourier import Fourier, fourier_basis
from wavestack.lanes.projection import prefix_kernel_average
from wavestack.models.language_model import matrix_flops

# The lanes' own tables are kept for ever, which would be one for each length of a generated text: here the last few are kept.
_chebyshev_basis = lru_cache(4)(chebyshev_basis.__wrapped__)
_fourier_basis = lru_cache(4)(fourier_basis.__wrapped__)
FIRST_ORDER, FIRST_FREQUENCIES, FIRST_LEVELS = 4, 16, 1  # that the ramp begins with


def ramped(first: int, last: int, part: float) -> int:
    """Between `first` and `last`, in proportion; `last` where it is fewer than `first`."""
    return last if last <= first else round(first + part * (last - first))


def prefix_average(x: Tensor, basis: Tensor, gains: Tensor | None = None) -> Tensor:
    """`1/(t+1) sum_{s<=t} <g * phi_t, phi_s> x_s` (B x S x H), for a basis S x R and gains R (None for ones), the sums in float32."""
    with torch.autocast(x.device.type, enabled=False):
        y, _ = prefix_kernel_average(x.float(), basis, basis.new_ones(basis.shape[1]) if gains is None else gains, 0, None)
    return y.to(x.dtype)


def recomposition(hidden: int, width: int, layers: int, dropout: float) -> nn.Sequential:
    """The MLP of a lane, from H to H with so many hidden layers."""
    hidden_layers: list[nn.Module] = []
    for inputs in [hidden] + [width] * (layers - 1):
        hidden_layers += [nn.Linear(inputs, width), nn.GELU(), nn.Dropout(dropout)]
    return nn.Sequential(*hidden_layers, nn.Linear(width, hidden))


class PublishedLane(nn.Module):
    """A fixed view of the sequence, a linear map to H, and the MLP that "recomposes" it."""

    def __init__(self, hidden: int, channels: int, width: int, mlp_layers: int, dropout: float):
        """`channels` are those of the view, `width` that of the MLP's hidden layers."""
        super().__init__()
        self.hidden = hidden
        self.linear = nn.Linear(channels, hidden)
        self.mlp = recomposition(hidden, width, mlp_layers, dropout)

    def forward(self, x: Tensor, part: float = 1.0) -> Tensor:
        return self.mlp(self.linear(self.view(x, part)))

    def view(self, x: Tensor, part: float = 1.0) -> Tensor:
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

    def view(self, x: Tensor, part: float = 1.0) -> Tensor:
        length = x.shape[1]
        x = x / x.abs().amax(-1, keepdim=True).clamp_min(1e-6)
        order = ramped(FIRST_ORDER, self.order, part)
        return prefix_average(x, _chebyshev_basis(self.stretched or length, order, str(x.device))[:length])

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

    def view(self, x: Tensor, part: float = 1.0) -> Tensor:
        length = x.shape[1]
        used = min(self._used(length), ramped(FIRST_FREQUENCIES, len(self.gains), part))
        gains = torch.cat([self.gains[:used], self.gains[1:used]])  # of the cosines, then of the sines
        return prefix_average(x, _fourier_basis(self.stretched or length, used, str(x.device))[:length], gains)

    def view_flops(self, length: int) -> int:
        return Fourier(self.hidden, length, frequencies=self._used(length)).flops(length)  # the same operation


class PublishedWavelet(PublishedLane):
    """For level j = 1 .. J the mean of the last 2^j positions, zeros before the start, and what it leaves of x: 2 J H channels."""

    def __init__(self, hidden: int, levels: int, mlp_layers: int, dropout: float):
        super().__init__(hidden, 2 * levels * hidden, hidden * 3 // 2, mlp_layers, dropout)
        self.levels = levels

    def view(self, x: Tensor, part: float = 1.0) -> Tensor:
        mean, signals = x, []
        levels = ramped(FIRST_LEVELS, self.levels, part)
        for level in range(levels):
            earlier = functional.pad(mean, (0, 0, 2**level, 0))[:, : x.shape[1]]
            mean = (mean + earlier) / 2  # of 2^(level+1) positions, from two of half as many: no long sum that loses its tail
            signals += [mean, x - mean]
        return functional.pad(torch.cat(signals, -1), (0, 2 * (self.levels - levels) * x.shape[2]))  # levels to come say nothing

    def view_flops(self, length: int) -> int:
        return 2 * length * 2 * self.levels * self.hidden  # filters of two taps


class PublishedRecall(nn.Module):
    """Linear attention with `phi(x) = elu(x) + 1` and a decay d, then the lane's MLP.

        y_t = phi(q_t) . M_t / phi(q_t) . n_t,   M_t = d M_{t-1} + phi(k_t) v_t^T,   n_t = d n_{t-1} + phi(k_t)

    It is summed as what it is, an average of all v_s so far with weights `d^(t-s) phi(q_t) . phi(k_s)`: quadratic in the sequence, as the
    published model, which computes everything anew, is to generate anyway.
    """

    def __init__(self, hidden: int, features: int, decay: float, mlp_layers: int, dropout: float):
        super().__init__()
        self.hidden = hidden
        self.features = features
        self.decay = decay
        self.qkv = nn.Linear(hidden, 2 * features + hidden)
        self.mlp = recomposition(hidden, hidden, mlp_layers, dropout)

    def forward(self, x: Tensor, part: float = 1.0) -> Tensor:
        q, k, v = self.qkv(x).split([self.features, self.features, self.hidden], -1)
        weights = decayed(x.shape[1], self.decay, x) * ((functional.elu(q) + 1) @ (functional.elu(k) + 1).mT)  # B x S x S
        return self.mlp(weights @ v / weights.sum(-1, keepdim=True))

    def flops(self, length: int) -> int:
        return matrix_flops(self, length) + 2 * length**2 * (self.features + self.hidden)


def decayed(length: int, decay: float, like: Tensor) -> Tensor:
    """`d^(t-s)` for s <= t and 0 beyond, S x S: how much what stood at s (column) counts at t (row)."""
    t = torch.arange(length, device=like.device)
    back = (t[:, None] - t).clamp_min(0)
    return torch.tril(torch.full_like(back, decay, dtype=like.dtype) ** back)
