"""Chebyshev polynomials of the first kind over the declared context."""

from functools import cache, partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from wavestack.lanes.lane import at_least
from wavestack.lanes.projection import Projection


@cache
def chebyshev_basis(context: int, order: int, device: str = "cpu") -> Tensor:
    """T_0 .. T_{order-1} at z_t = -1 + 2t/(T-1), as T x order in float32. T_k(z) = cos(k arccos z)."""
    z = torch.linspace(-1, 1, context, dtype=torch.float64, device="cpu")
    degrees = torch.arange(order, dtype=torch.float64, device="cpu")
    return torch.cos(degrees * torch.arccos(z)[:, None]).float().to(device)


class Chebyshev(Projection):
    """Prefix kernel average over T_0 .. T_{order-1}, one learned gain a polynomial."""

    def __init__(self, hidden: int, context: int, *, order: Annotated[int, Field(ge=1)] = 8):
        at_least(1, "chebyshev", order=order)
        super().__init__(hidden, context, partial(chebyshev_basis, context, order), list(range(order)))
