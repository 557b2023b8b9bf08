"""Bases without mathematics: what a basis of the same rank and cost does when it is drawn at random, or learned."""

from functools import cache, partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from wavestack.lanes.lane import at_least
from wavestack.lanes.projection import PrefixAverage, Projection


@cache
def random_basis(context: int, rank: int, seed: int, device: str = "cpu") -> Tensor:
    """Independent standard normal numbers, T x R in float32: of the scale of polynomials and cosines, and as good as orthogonal."""
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(context, rank, generator=generator, device="cpu").to(device)


class RandomBasis(Projection):
    """Prefix kernel average over a fixed random basis, one learned gain a column."""

    def __init__(self, hidden: int, context: int, *, rank: Annotated[int, Field(ge=1)] = 16, seed: Annotated[int, Field(ge=0)] = 0):
        at_least(1, "random", rank=rank)
        at_least(0, "random", seed=seed)
        super().__init__(hidden, context, partial(random_basis, context, rank, seed), list(range(rank)))


class LearnedBasis(PrefixAverage):
    """Prefix kernel average over a basis of T x R parameters, which starts as a random one, and a learned gain a column.

    The gains are what lets a column count negatively: <phi_t, phi_s> alone never does.
    """

    def __init__(self, hidden: int, context: int, *, rank: Annotated[int, Field(ge=1)] = 16):
        at_least(1, "learned", rank=rank)
        super().__init__(hidden, context, list(range(rank)))
        self.values = nn.Parameter(torch.randn(context, rank))  # T x R

    def basis(self, position: int, end: int) -> Tensor:
        return self.values[position:end].float()
