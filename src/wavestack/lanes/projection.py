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

CHUNK = 64  # positions, of a basis of low rank
TOGETHER = 1024  # positions of a row that are worked on at a time on the CPU


class ProjectionState(NamedTuple):
    position: int  # of the next token
    sums: Tensor  # B x R x H, sum of phi_s x_s over the past, float32


def chunk_of(rank: int, length: int) -> int:
    """Positions a chunk. Inside of it a position costs half a chunk per channel, and its borders R: they should not be far apart."""
    return min(length, CHUNK if rank < CHUNK else 2 * CHUNK)


class _PrefixKernel(torch.autograd.Function):
    """`prefix_kernel_average` over whole chunks, N chunks of C positions.

    On the CPU some chunks at a time, so that their queries and kernels stay in the cache. Backward needs no more than the inputs and the
    sums that each such part found: the rest is made again, which is cheaper than keeping it. The batch is a loop, because the kernel is
    the same for all rows and a batched product would copy it for each of them. (On a GPU there is one row: the channels of all.)
    """

    @staticmethod
    def forward(ctx, x: Tensor, basis: Tensor, gains: Tensor, counts: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """x: B x N x C x H; basis: N x C x R; gains: R; counts: N x C x 1; sums: B x R x H. Gives B x N x C x H and B x R x H."""
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        found = []
        for part in _parts(x):
            found.append(sums)
            keys = basis[part]
            queries = keys * gains / counts[part]
            kernel = (queries @ keys.mT).tril_()  # n x C x C
            sums = torch.empty_like(sums)
            for row in range(len(x)):
                before, sums[row] = _sums(x[row, part], keys, found[-1][row])
                torch.bmm(kernel, x[row, part], out=y[row, part])  # inside a chunk
                y[row, part].baddbmm_(queries, before)  # from the chunks before it
        ctx.save_for_backward(x, basis, gains, counts, *found)
        return y, sums

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor, dsums: Tensor):
        """From the last part to the first; `dsums` is the gradient of the sums after the part at hand."""
        x, basis, gains, counts, *found = ctx.saved_tensors
        learned = ctx.needs_input_grad[1]
        dx, dsums = torch.empty_like(x, memory_format=torch.contiguous_format), dsums.clone()
        dbasis, dgains = torch.zeros_like(basis) if learned else None, torch.zeros_like(gains)
        for part, sums in reversed(list(zip(_parts(x), found, strict=True))):
            keys, scale = basis[part], gains / counts[part]
            queries = keys * scale
            kernel = (queries @ keys.mT).tril_()
            dkernel, dqueries, dkeys = torch.zeros_like(kernel), torch.zeros_like(keys), torch.zeros_like(keys)
            for row in range(len(x)):
                before, _ = _sums(x[row, part], keys, sums[row])
                dbefore = torch.bmm(queries.mT, dy[row, part])  # n x R x H
                dadded = _after(dbefore, dsums[row])  # gradient of what each chunk adds to the sums
                torch.bmm(kernel.mT, dy[row, part], out=dx[row, part])
                dx[row, part].baddbmm_(keys, dadded)
                dkernel.baddbmm_(dy[row, part], x[row, part].mT)
                dqueries.baddbmm_(dy[row, part], before.mT)
                if learned:
                    dkeys.baddbmm_(x[row, part], dadded.mT)
                dsums[row] = dadded[0] + dbefore[0]
            dkernel.tril_()
            dqueries.baddbmm_(dkernel, keys)
            dgains += (dqueries * keys / counts[part]).sum((0, 1))
            if dbasis is not None:
                dbasis[part] = dkeys.baddbmm_(dkernel.mT, queries).addcmul_(dqueries, scale)
        return dx, dbasis, dgains, None, dsums


def _parts(x: Tensor) -> list[slice]:
    """Of the chunks of B x N x C x H."""
    _, chunks, chunk, _ = x.shape
    together = max(1, TOGETHER // chunk) if x.device.type == "cpu" else chunks
    return [slice(start, start + together) for start in range(0, chunks, together)]


def _sums(x: Tensor, keys: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
    """What the past left to each chunk of a row (n x R x H), and to what comes after the last one (R x H)."""
    found = x.new_empty(len(x) + 1, *sums.shape)
    found[0] = sums
    torch.bmm(keys.mT, x, out=found[1:])
    found.cumsum_(0)
    return found[:-1], found[-1]


def _after(values: Tensor, last: Tensor) -> Tensor:
    """For each chunk of n x R x H the sum of the values of the chunks after it, and of `last` (R x H), which follows them all."""
    return torch.cat([values[1:], last[None]]).flip(0).cumsum(0).flip(0)


def prefix_kernel_average(x: Tensor, basis: Tensor, gains: Tensor, position: int, sums: Tensor | None) -> tuple[Tensor, Tensor]:
    """`1/(t+1) * sum_{s<=t} <gains * basis_t, basis_s> x_s` for every t of a chunk, in chunks.

    Args:
        x: B x S x H, float32 (or float64).
        basis: S x R, of the same dtype.
        gains: R.
        position: of the first token, t = 0 at the start of the sequence.
        sums: B x R x H, what the past left, or None for no past.

    Returns:
        The averages (B x S x H), and the state after the last position (B x R x H).
    """
    if x.shape[0] > 1 and x.device.type != "cpu":  # where a product for each row would take more time to launch than to run
        return _rows_as_channels(x, basis, gains, position, sums)
    batch, length, hidden = x.shape
    chunk = chunk_of(basis.shape[1], length)
    counts = torch.arange(position + 1, position + length + 1, device=x.device, dtype=x.dtype)[:, None]  # S x 1
    padding = -length % chunk
    if padding:
        x, basis = (functional.pad(tensor, (0, 0, 0, padding)) for tensor in (x, basis))
        counts = functional.pad(counts, (0, 0, 0, padding), value=1.0)
    if sums is None:
        sums = x.new_zeros(batch, basis.shape[1], hidden)
    x, basis, counts = x.unflatten(1, (-1, chunk)), basis.unflatten(0, (-1, chunk)), counts.unflatten(0, (-1, chunk))
    y, sums = _PrefixKernel.apply(x, basis, gains, counts, sums)
    return y.flatten(1, 2)[:, :length], sums


def _rows_as_channels(x: Tensor, basis: Tensor, gains: Tensor, position: int, sums: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same operation on one row of B H channels, since it treats all channels alike."""
    batch = len(x)
    past = None if sums is None else sums.transpose(0, 1).flatten(1)[None]  # 1 x R x BH
    y, sums = prefix_kernel_average(x.transpose(0, 1).flatten(1)[None], basis, gains, position, past)
    y, sums = (rows[0].unflatten(-1, (batch, -1)).transpose(0, 1) for rows in (y, sums))
    return y, sums


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
        with torch.autocast(x.device.type, enabled=False):  # long sums lose their tail in bfloat16
            gains = self.gains[self.gain_of_column]  # R
            y, sums = prefix_kernel_average(x.float(), self.basis(position, end), gains, position, sums)
        return y.to(x.dtype), ProjectionState(end, sums)

    def state_bytes(self, positions: int) -> int:
        return 4 * self.rank * self.hidden

    def flops(self, length: int) -> int:
        chunk = chunk_of(self.rank, length)
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
