"""The one operation of every lane over a basis: the prefix kernel average.

For a basis `phi` (T x R) and gains `g` (R),

    y_t = 1/(t+1) * sum_{s<=t} <g * phi_t, phi_s> x_s

This is an average under a kernel, not a least-squares projection: on a prefix the columns of `phi` are not orthogonal, and applied to a
column itself it does not give that column back. It has three exact forms: the S x S lower-triangular matrix (the specification, in the
tests), chunks (here: matrix products inside a chunk, a running R x H sum between chunks, linear in S), and one token at a time (here
too: a chunk of one).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.lane import Lane

CHUNK = 64  # positions; a chunk costs CHUNK^2 and a border R, per channel


class ProjectionState(NamedTuple):
    position: int  # of the next token
    sums: Tensor  # B x R x H, sum of phi_s x_s over the past, float32


class PrefixKernel(torch.autograd.Function):
    """`y_t = sum_{s<=t} <queries_t, keys_s> x_s` in chunks, and the sums that it ends with.

    Backward needs no more than the inputs: what each chunk found is summed again, which is cheaper than keeping it. The batch is a loop,
    because the kernel is the same for all rows and a batched product would copy it for each of them.
    """

    @staticmethod
    def forward(ctx, x: Tensor, queries: Tensor, keys: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """x: B x N x C x H; queries, keys: N x C x R; sums: B x R x H, what the past left. Gives B x N x C x H and B x R x H."""
        kernel = (queries @ keys.mT).tril_()  # N x C x C
        before, after = _found(x, keys, sums)
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        for row in range(len(x)):
            torch.bmm(kernel, x[row], out=y[row])  # inside a chunk
            y[row].baddbmm_(queries, before[row])  # from the chunks before it
        ctx.save_for_backward(x, queries, keys, sums)
        return y, after

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor, dafter: Tensor):
        x, queries, keys, sums = ctx.saved_tensors
        kernel = (queries @ keys.mT).tril_()
        dbefore = torch.stack([torch.bmm(queries.mT, row) for row in dy])  # B x N x R x H
        dfound = _sums_after(dbefore) + dafter[:, None]  # gradient of what each chunk adds to the running sum
        dx = torch.empty_like(dy)
        dkernel = torch.zeros_like(kernel)
        dqueries, dkeys = torch.zeros_like(queries), torch.zeros_like(keys)
        before = _found(x, keys, sums)[0]
        for row in range(len(x)):
            torch.bmm(kernel.mT, dy[row], out=dx[row])
            dx[row].baddbmm_(keys, dfound[row])
            dkernel.baddbmm_(dy[row], x[row].mT)
            dqueries.baddbmm_(dy[row], before[row].mT)
            if ctx.needs_input_grad[2]:
                dkeys.baddbmm_(x[row], dfound[row].mT)
        dkernel.tril_()
        dqueries.baddbmm_(dkernel, keys)
        if ctx.needs_input_grad[2]:
            dkeys.baddbmm_(dkernel.mT, queries)
        dsums = dbefore.sum(1) + dafter
        return dx, dqueries, dkeys if ctx.needs_input_grad[2] else None, dsums


def _found(x: Tensor, keys: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """What the past left to each chunk (B x N x R x H), and to what comes after the last one (B x R x H)."""
    batch, chunks, _, hidden = x.shape
    found = x.new_empty(batch, chunks + 1, keys.shape[2], hidden)
    found[:, 0] = sums
    for row in range(batch):
        torch.bmm(keys.mT, x[row], out=found[row, 1:])
    found = found.cumsum_(1)
    return found[:, :-1], found[:, -1]


def _sums_after(values: Tensor) -> Tensor:
    """For each chunk the sum of the values of the chunks after it."""
    inclusive = values.flip(1).cumsum(1).flip(1)
    return torch.cat([inclusive[:, 1:], torch.zeros_like(values[:, :1])], 1)


def prefix_kernel(x: Tensor, queries: Tensor, keys: Tensor, sums: Tensor | None) -> tuple[Tensor, Tensor]:
    """`sum_{s<=t} <queries_t, keys_s> x_s` for every t, in chunks.

    Args:
        x: B x S x H, float32 (or float64).
        queries, keys: S x R, of the same dtype.
        sums: B x R x H, what the past left, or None for no past.

    Returns:
        The sums (B x S x H), and the state after the last position (B x R x H).
    """
    batch, length, hidden = x.shape
    rank = keys.shape[1]
    chunk = min(CHUNK, length)
    padding = -length % chunk
    if padding:
        x, queries, keys = (functional.pad(tensor, (0, 0, 0, padding)) for tensor in (x, queries, keys))
    if sums is None:
        sums = x.new_zeros(batch, rank, hidden)
    x = x.unflatten(1, (-1, chunk))  # B x N x C x H
    y, sums = PrefixKernel.apply(x, queries.view(-1, chunk, rank), keys.view(-1, chunk, rank), sums)
    return y.flatten(1, 2)[:, :length], sums


class PrefixAverage(Lane):
    """The operation as a lane, over a basis that ends at T; subclasses give the basis and say which gain belongs to which column."""

    gain_of_column: Tensor

    def __init__(self, hidden: int, context: int, gain_of_column: list[int]):
        """`gain_of_column` is an index into the learned gains for each column of the basis."""
        super().__init__(hidden, context)
        self.rank = len(gain_of_column)
        self.gains = nn.Parameter(torch.ones(max(gain_of_column) + 1))
        self.register_buffer("gain_of_column", torch.tensor(gain_of_column), persistent=False)  # R

    def basis(self, position: int, end: int) -> Tensor:
        """Rows position .. end-1 of the basis, S x R in float32."""
        raise NotImplementedError

    def forward(self, x: Tensor, state: ProjectionState | None = None) -> tuple[Tensor, ProjectionState]:
        """Raises ValueError at position T, where a basis would end or silently repeat."""
        position, sums = state if state is not None else (0, None)
        end = position + x.shape[1]
        if end > self.context:
            raise ValueError(
                f"{type(self).__name__} lane: position {end - 1} is beyond its context of {self.context}; "
                "shorten the input or train with a larger context"
            )
        keys = self.basis(position, end)  # S x R
        with torch.autocast(x.device.type, enabled=False):  # long sums lose their tail in bfloat16
            count = torch.arange(position + 1, end + 1, device=x.device, dtype=torch.float32)  # S
            queries = keys * self.gains[self.gain_of_column] / count[:, None]
            y, sums = prefix_kernel(x.float(), queries, keys, sums)
        return y.to(x.dtype), ProjectionState(end, sums)

    def state_bytes(self, positions: int) -> int:
        return 4 * self.rank * self.hidden

    def flops(self, length: int) -> int:
        chunk = min(CHUNK, length)
        kernel = 2 * length * chunk * self.rank
        return kernel + 2 * length * (chunk + 2 * self.rank) * self.hidden


class Projection(PrefixAverage):
    """A lane over a fixed basis: a function of the position and the declared T, never of the length of the sequence at hand."""

    table: Tensor  # T x R, float32

    def __init__(self, hidden: int, context: int, make_table: Callable[..., Tensor], gain_of_column: list[int]):
        """`make_table` gives the basis (T x R) on a device."""
        super().__init__(hidden, context, gain_of_column)
        self.use_table(make_table)

    def basis(self, position: int, end: int) -> Tensor:
        return self.table[position:end]
