"""Walsh functions over the declared context."""

from functools import cache, partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from wavestack.lanes.lane import at_least
from wavestack.lanes.projection import Projection


@cache
def walsh_basis(context: int, functions: int, device: str = "cpu") -> Tensor:
    """The Walsh functions of sequency 0 .. R-1 (each changes its sign that many times), as T x R in float32, every entry 1 or -1.

    Row h of the Hadamard matrix in its natural order is (-1)^popcount(h & t) (Sylvester's construction), and the one that changes its sign
    k times is the bit reversal of k's Gray code, k ^ (k >> 1) (Beauchamp, Walsh Functions and Their Applications, 1975).
    """
    t = torch.arange(context, device="cpu")
    k = torch.arange(functions, device="cpu")
    gray = k ^ (k >> 1)
    bits = context.bit_length() - 1
    row = torch.zeros_like(gray)
    for bit in range(bits):
        row |= (gray >> bit & 1) << (bits - 1 - bit)
    parity = t[:, None] & row  # T x R; folded in half until its lowest bit is the parity of them all
    for shift in (16, 8, 4, 2, 1):
        parity ^= parity >> shift
    return (1 - 2 * (parity & 1)).float().to(device)


class Hadamard(Projection):
    """Prefix kernel average over Walsh functions in sequency order, one learned gain a function."""

    def __init__(self, hidden: int, context: int, *, functions: Annotated[int, Field(ge=1)] = 16):
        at_least(1, "hadamard", functions=functions)
        if context < 1 or context & (context - 1):
            below = 1 << max(context.bit_length() - 1, 0)
            raise ValueError(
                f"hadamard lane: a context of {context} is no power of two, and Walsh functions need one; use {below} or {2 * below}"
            )
        if functions > context:
            raise ValueError(
                f"hadamard lane: {functions} functions are more than there are over a context of {context}; ask for at most {context}"
            )
        super().__init__(hidden, context, partial(walsh_basis, context, functions), list(range(functions)))
