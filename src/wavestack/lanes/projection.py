"""The one operation of every fixed-basis lane: the prefix kernel average.

For a basis `phi` (T x R) and gains `g` (R),

    y_t = 1/(t+1) * sum_{s<=t} <g * phi_t, phi_s> x_s

This is an average under a kernel, not a least-squares projection: on a prefix the columns of `phi` are not orthogonal. It has three exact
forms: the S x S lower-triangular matrix (the specification, in the tests), chunks (here: matrix products inside a chunk, a running R x H
sum between chunks, linear in S), and one token at a time (here too: a chunk of one).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.lane import Lane

CHUNK = 64  # positions; a chunk costs CHUNK^2 and a border R, per channel


class ProjectionState(NamedTuple):
    position: int  # of the next token
    sums: Tensor  # B x R x H, sum of phi_s x_s over the past, float32


def prefix_kernel_average(x: Tensor, queries: Tensor, keys: Tensor, sums: Tensor | None) -> tuple[Tensor, Tensor]:
    """`sum_{s<=t} <queries_t, keys_s> x_s` for every t, without the 1/(t+1), in chunks.

    Args:
        x: B x S x H.
        queries, keys: S x R, float32.
        sums: B x R x H, what the past left, or None for no past.

    Returns:
        The sums (B x S x H) in float32, and the state after the last position (B x R x H).
    """
    batch, length, hidden = x.shape
    rank = keys.shape[1]
    chunk = min(CHUNK, length)
    padding = -length % chunk
    x = functional.pad(x, (0, 0, 0, padding)).view(batch, -1, chunk, hidden)  # B x N x C x H
    queries = functional.pad(queries, (0, 0, 0, padding)).view(-1, chunk, rank)  # N x C x R
    keys = functional.pad(keys, (0, 0, 0, padding)).view(-1, chunk, rank)  # N x C x R

    kernel = torch.tril(queries @ keys.mT)  # N x C x C
    within = kernel @ x  # B x N x C x H

    totals = keys.mT @ x  # B x N x R x H
    running = totals.cumsum(1)
    if sums is not None:
        running = running + sums[:, None]
    start = torch.zeros_like(totals[:, :1]) if sums is None else sums[:, None]
    before = torch.cat([start, running[:, :-1]], 1)  # what each chunk finds
    return (within + queries @ before).view(batch, -1, hidden)[:, :length], running[:, -1]


class Projection(Lane):
    """A lane over a fixed basis; subclasses compute the basis and say which gain belongs to which column.

    The basis is a function of the position and the declared context T, never of the length of the sequence at hand, so it ends at T.
    """

    basis: Tensor
    gain_of_column: Tensor

    def __init__(self, hidden: int, context: int, basis: Tensor, gains: int, gain_of_column: Tensor):
        """`basis` is T x R in float32; `gain_of_column` holds, for each of its R columns, an index into `gains` learned gains."""
        super().__init__(hidden, context)
        self.gains = nn.Parameter(torch.ones(gains))
        self.register_buffer("basis", basis, persistent=False)  # T x R
        self.register_buffer("gain_of_column", gain_of_column, persistent=False)  # R

    def forward(self, x: Tensor, state: ProjectionState | None = None) -> tuple[Tensor, ProjectionState]:
        """Raises ValueError at position T, where a basis would end or silently repeat."""
        position, sums = state if state is not None else (0, None)
        end = position + x.shape[1]
        if end > self.context:
            raise ValueError(
                f"{type(self).__name__} lane: position {end - 1} is beyond its context of {self.context}; "
                "shorten the input or train with a larger context"
            )
        keys = self.basis[position:end]  # S x R
        with torch.autocast(x.device.type, enabled=False):  # long sums lose their tail in bfloat16
            totals, sums = prefix_kernel_average(x.float(), keys * self.gains[self.gain_of_column], keys, sums)
            count = torch.arange(position + 1, end + 1, device=x.device, dtype=torch.float32)  # S
            y = totals / count[:, None]
        return y.to(x.dtype), ProjectionState(end, sums)
