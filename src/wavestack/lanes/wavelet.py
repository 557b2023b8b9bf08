"""The causal undecimated (a trous) wavelet transform with PyWavelets' own filters."""

from functools import cache
from math import sqrt
from typing import Annotated

import pywt
import torch
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from torch import Tensor, nn

from wavestack.lanes.filtering import causal_filter
from wavestack.lanes.lane import Lane


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


class Wavelet(Lane):
    """Details of every level and the last approximation, each weighted per channel, summed.

    With `a_0 = x`, the level j = 0 .. J-1 filters the approximation with the wavelet's low- and high-pass filters, 2^j positions between
    taps: `a_{j+1} = lo * a_j`, `d_{j+1} = hi * a_j`. Filters are divided by sqrt(2), since nothing is decimated. The state is the last
    `(n-1) 2^j` inputs of each level, n the filter's length. (Mallat, A Wavelet Tour of Signal Processing, 5.2.2, shifted to be causal.)
    """

    def __init__(self, hidden: int, context: int, *, wavelet: OrthogonalWavelet = "db2", levels: Annotated[int, Field(ge=1)] = 3):
        super().__init__(hidden, context)
        _orthogonal(wavelet)
        filters = pywt.Wavelet(wavelet)
        self.low = [tap / sqrt(2) for tap in filters.dec_lo]
        self.high = [tap / sqrt(2) for tap in filters.dec_hi]
        reach = (len(self.low) - 1) * 2 ** (levels - 1)
        if reach >= context:
            raise ValueError(
                f"wavelet lane: {wavelet} at level {levels} looks back {reach} positions, beyond a context of {context}; "
                "use fewer levels or a shorter wavelet"
            )
        self.levels = levels
        self.weights = nn.Parameter(torch.ones(levels + 1, hidden))  # details of levels 1 .. J, then the approximation

    def forward(self, x: Tensor, state: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        approximation, y, pasts = x, torch.zeros_like(x), []
        for level in range(self.levels):
            past = None if state is None else state[level]
            detail, _ = causal_filter(approximation, self.high, 2**level, past)
            approximation, past = causal_filter(approximation, self.low, 2**level, past)
            y = torch.addcmul(y, detail, self.weights[level])
            pasts.append(past)
        return torch.addcmul(y, approximation, self.weights[self.levels]), pasts
