"""The causal undecimated (a trous) wavelet transform with PyWavelets' own filters."""

from functools import cache
from typing import Annotated

import numpy
import pywt
import torch
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from wavestack.lanes.filtering import causal_filter
from wavestack.lanes.lane import Lane, at_least


@cache
def orthogonal_wavelets() -> list[str]:
    return [name for name in pywt.wavelist(kind="discrete") if pywt.Wavelet(name).orthogonal]


def _orthogonal(name: str) -> str:
    if name not in orthogonal_wavelets():
        raise PydanticCustomError(
            "unknown_name",
            "'{name}' is no orthogonal wavelet of PyWavelets; known: {known}",
            {"name": name, "known": orthogonal_wavelets()},
        )
    return name


OrthogonalWavelet = Annotated[str, AfterValidator(_orthogonal)]


@cache
def equivalent_filters(wavelet: str, levels: int) -> Tensor:
    """The causal filters that lead from the input to the details of levels 1 .. J and to the last approximation, (J+1) x n in float64.

    The transform applies a level's filters to the approximation that the level before left, with 2^j positions between taps; filters one
    after another are one filter, their convolution (Mallat, A Wavelet Tour of Signal Processing, 5.2.2). Each level's are divided by
    sqrt(2), since nothing is decimated. n is (filter length - 1)(2^J - 1) + 1; shorter ones end in zeros.
    """
    filters = pywt.Wavelet(wavelet)
    low, high = numpy.array(filters.dec_lo) / 2**0.5, numpy.array(filters.dec_hi) / 2**0.5
    approximation, rows = numpy.ones(1), []
    for level in range(levels):
        rows.append(numpy.convolve(approximation, _spread(high, 2**level)))
        approximation = numpy.convolve(approximation, _spread(low, 2**level))
    rows.append(approximation)
    longest = len(approximation)
    return torch.from_numpy(numpy.stack([numpy.pad(row, (0, longest - len(row))) for row in rows]))


def _spread(taps: numpy.ndarray, distance: int) -> numpy.ndarray:
    """Taps this many positions apart."""
    spread = numpy.zeros((len(taps) - 1) * distance + 1)
    spread[::distance] = taps
    return spread


class Wavelet(Lane):
    """Details of every level and the last approximation, each weighted per channel, summed.

    With `a_0 = x`, the level j = 0 .. J-1 filters the approximation with the wavelet's low- and high-pass filters, 2^j positions between
    taps: `a_{j+1} = lo * a_j`, `d_{j+1} = hi * a_j`; the lane gives `sum_j w_j d_j + w_{J+1} a_J`. All of that is linear, so each
    channel has one filter, the weighted sum of the transform's equivalent filters, and the lane applies that. Its state is as large as that
    of the transform taken level by level, sum_j (n-1) 2^j = (n-1)(2^J - 1) inputs, n the length of the wavelet's filters.
    """

    filters: Tensor

    def __init__(self, hidden: int, context: int, *, wavelet: OrthogonalWavelet = "db2", levels: Annotated[int, Field(ge=1)] = 3):
        at_least(1, "wavelet", levels=levels)
        super().__init__(hidden, context)
        reach = (pywt.Wavelet(_orthogonal(wavelet)).dec_len - 1) * (2**levels - 1)
        if reach >= context:
            raise ValueError(
                f"wavelet lane: {wavelet} with {levels} levels looks back {reach} positions, beyond a context of {context}; "
                "use fewer levels or a shorter wavelet"
            )
        self.reach = reach
        self.weights = nn.Parameter(torch.ones(levels + 1, hidden))  # details of levels 1 .. J, then the approximation
        self.register_buffer("filters", equivalent_filters(wavelet, levels).float(), persistent=False)  # (J+1) x (reach + 1)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            taps = self.filters.T @ self.weights
        return causal_filter(x, taps, state)

    def state_bytes(self, positions: int) -> int:
        return 4 * self.reach * self.hidden

    def flops(self, length: int) -> int:
        return 2 * length * (self.reach + 1) * self.hidden
