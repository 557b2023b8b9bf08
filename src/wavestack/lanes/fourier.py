"""Fourier analysis over the declared context."""

from functools import cache, partial
from math import pi
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from wavestack.lanes.lane import at_least
from wavestack.lanes.projection import Projection


@cache
def fourier_basis(context: int, frequencies: int, device: str = "cpu") -> Tensor:
    """cos(2 pi f t / T) for f = 0 .. F-1, then sin(2 pi f t / T) for f = 1 .. F-1, as T x (2F-1) in float32.

    The phase is reduced modulo T as an integer, so that it is as exact at the last position as at the first.
    """
    t = torch.arange(context, device="cpu")
    f = torch.arange(frequencies, device="cpu")
    angle = (t[:, None] * f % context).double() * (2 * pi / context)  # T x F
    return torch.cat([torch.cos(angle), torch.sin(angle[:, 1:])], 1).float().to(device)


class Fourier(Projection):
    """Prefix kernel average over cosines and sines, one learned gain a frequency.

    Since cos(a)cos(b) + sin(a)sin(b) = cos(a-b), this is `1/(t+1) sum_{s<=t} sum_f g_f cos(2 pi f (t-s)/T) x_s`.
    """

    def __init__(self, hidden: int, context: int, *, frequencies: Annotated[int, Field(ge=1)] = 16):
        at_least(1, "fourier", frequencies=frequencies)
        if frequencies > context // 2 + 1:
            raise ValueError(
                f"fourier lane: {frequencies} frequencies are more than a context of {context} tells apart; "
                f"ask for at most {context // 2 + 1}"
            )
        f = list(range(frequencies))
        super().__init__(hidden, context, partial(fourier_basis, context, frequencies), [*f, *f[1:]])
