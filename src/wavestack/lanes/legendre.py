"""The prefix on Legendre polynomials, position by position: HiPPO-LegS (Gu et al. 2020, arXiv:2008.07669).

Let the n inputs seen so far be a function f on [0, 1] that holds x_s over [s/n, (s+1)/n], and phi_r(u) = sqrt(2r+1) P_r(2u-1) the
Legendre polynomials, orthonormal on [0, 1]. The lane's state is the least-squares projection of f,

    c_r(n) = integral_0^1 f(u) phi_r(u) du = sum_{s<n} x_s (Phi_r((s+1)/n) - Phi_r(s/n)),    Phi_r the integral of phi_r.

The paper's dc/dn = (-A c + B x) / n has this for its solution while x holds its value, so nothing is lost to a discretisation. What m
inputs left is seen from n inputs through M(m/n) = (m/n)^A, whose entries are polynomials,

    M_rk(rho) = rho * integral_0^1 phi_r(rho u) phi_k(u) du,

and which never lengthens a vector: rounding errors fade. All that a chunk of C positions needs are Phi and M at the ratios a/n of
counts in it: sums of the Chebyshev polynomials T_0 .. T_R of 2a/n - 1, with coefficients that depend on R alone.
"""

from functools import cache, lru_cache
from math import pi
from typing import Annotated, NamedTuple

import numpy
import torch
from numpy.polynomial.legendre import leggauss, legvander
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.lane import Lane, at_least

CHUNK = 32  # positions; a position costs R (C + R) per channel, and a chunk's border R^2
SEGMENT = 1024  # positions whose tables are made at once
KEPT = 16  # segments whose tables are kept: for all blocks, and from one step of a training to the next; 3 MB each at R = 16


class LegendreState(NamedTuple):
    position: int  # of the next token
    coefficients: Tensor  # B x R x H, of the whole past, float32


def polynomials(points: numpy.ndarray, order: int) -> numpy.ndarray:
    """phi_0 .. phi_{R-1} at points of [0, 1], points x R in float64."""
    return legvander(2 * points - 1, order - 1) * numpy.sqrt(2 * numpy.arange(order) + 1)


def reconstruct(coefficients: Tensor, points: Tensor) -> Tensor:
    """The projection that coefficients (B x R x H) stand for, B x points x H, at points of [0, 1]: 0 is the start, 1 the present."""
    phi = torch.from_numpy(polynomials(points.double().cpu().numpy(), coefficients.shape[1]))
    return phi.to(coefficients) @ coefficients


def chebyshev(ratio: Tensor, degree: int) -> Tensor:
    """T_0 .. T_degree of 2 ratio - 1, along a new last dimension."""
    return torch.cos(torch.arccos(2 * ratio - 1)[..., None] * torch.arange(degree + 1, device=ratio.device))


@cache
def expansions(order: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Phi ((R+1) x R) and M ((R+1) x R x R) as sums of Chebyshev polynomials, in float64: from their values at R+1 Chebyshev nodes."""
    nodes = (numpy.cos(pi * (numpy.arange(order + 1) + 0.5) / (order + 1)) + 1) / 2
    r = numpy.arange(order)
    p = legvander(2 * nodes - 1, order)  # (2r+1) P_r is the derivative of P_{r+1} - P_{r-1}; for r = 0 of P_1 alone
    integral = (p[:, 1:] - (r > 0) * p[:, numpy.abs(r - 1)]) / (2 * numpy.sqrt(2 * r + 1))  # up to a constant, (R+1) x R
    u, weights = leggauss(order)  # exact for degrees up to 2R-1
    u, weights = (u + 1) / 2, weights / 2
    scaled = polynomials(nodes[:, None] * u, order)  # phi_r(rho u), (R+1) x R x R
    transition = nodes[:, None, None] * scaled.swapaxes(1, 2) @ (weights[:, None] * polynomials(u, order))
    values = torch.from_numpy(numpy.concatenate([integral, transition.reshape(order + 1, -1)], 1))
    solved = torch.linalg.solve(chebyshev(torch.from_numpy(nodes), order), values).to(device)
    return solved[:, :order], solved[:, order:].unflatten(1, (order, order))


@lru_cache(maxsize=KEPT)
def tables(position: int, length: int, order: int, device: str) -> Tensor:
    """What leads to the coefficients at every position of N chunks from those that a chunk finds and from its inputs, R x N x C x (R+C)."""
    chunk = min(CHUNK, length)
    integral, transition = expansions(order, device)
    found = position + torch.arange(0, length, chunk, dtype=torch.float64, device=device)[:, None]  # inputs before each chunk
    edges = found + torch.arange(chunk + 1, device=device)  # N x (C+1)
    ratio = (edges[:, None] / edges[:, 1:, None]).clamp(max=1)  # a/n, N x C x (C+1); later inputs shrink to nothing at 1
    terms = chebyshev(ratio, order)  # N x C x (C+1) x (R+1)
    carried = torch.tensordot(terms[:, :, 0], transition, 1)  # N x C x R x R
    brought = (terms @ integral).diff(dim=2)  # N x C x C x R
    return torch.cat([carried.permute(2, 0, 1, 3), brought.permute(3, 0, 1, 2)], 3).float()


class ReadOut(torch.autograd.Function):
    """`y_t = sum_r w_r * c_r(t+1)`, without keeping the coefficients, which are R times as large as the inputs."""

    @staticmethod
    def forward(ctx, joined: Tensor, weights: Tensor, position: int, length: int) -> Tensor:
        """joined: N x (R+C) x BH, the coefficients that a chunk finds, then its inputs; weights: R x BH. Gives N x C x BH."""
        y = joined.new_zeros(len(joined), min(CHUNK, length), joined.shape[2])
        for table, weight in zip(tables(position, length, len(weights), str(joined.device)), weights, strict=True):
            y.addcmul_(table @ joined, weight)
        ctx.save_for_backward(joined, weights)
        ctx.place = (position, length)
        return y

    @staticmethod
    def backward(ctx, dy: Tensor):
        joined, weights = ctx.saved_tensors
        djoined, dweights = torch.zeros_like(joined), torch.empty_like(weights)
        for r, table in enumerate(tables(*ctx.place, len(weights), str(joined.device))):
            djoined.baddbmm_(table.mT, dy * weights[r])
            dweights[r] = (dy * (table @ joined)).sum((0, 1))
        return djoined, dweights, None, None


def read_out(x: Tensor, weights: Tensor, position: int, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """The read-out of a segment and the coefficients after it.

    Args:
        x: S x BH, float32.
        weights: R x BH.
        position: of the first input.
        coefficients: R x BH, of the inputs before.
    """
    length, order = len(x), len(weights)
    chunk = min(CHUNK, length)
    chunks = functional.pad(x, (0, 0, 0, -length % chunk)).unflatten(0, (-1, chunk))  # N x C x BH
    # 1. What leads from a chunk's border to the next, and from the last border to the last position, which need not end a chunk
    table = tables(position, length, order, str(x.device))
    ends = torch.cat([table[:, :-1, -1], table[:, -1:, (length - 1) % chunk]], 1).transpose(0, 1)  # N x R x (R+C)
    carry, brought = ends[..., :order], ends[..., order:] @ chunks
    # 2. The coefficients at each border
    found = []
    for now, new in zip(carry, brought, strict=True):
        found.append(coefficients)
        coefficients = torch.addmm(new, now, coefficients)
    # 3. Those at each position, read at once
    y = ReadOut.apply(torch.cat([torch.stack(found), chunks], 1), weights, position, length)
    return y.flatten(0, 1)[:length], coefficients


class Legendre(Lane):
    """A learned read-out of the coefficients, `y_t = sum_r w_r * c_r(t+1)` channel by channel: weighted means of the whole prefix.

    It stretches with the prefix and does not depend on T, so it goes on for ever. What is old gets coarse: R polynomials over n positions.
    """

    def __init__(self, hidden: int, context: int, *, order: Annotated[int, Field(ge=1)] = 16):
        at_least(1, "legendre", order=order)
        super().__init__(hidden, context)
        self.order = order
        self.weights = nn.Parameter(torch.randn(order, hidden))  # R x H

    def forward(self, x: Tensor, state: LegendreState | None = None) -> tuple[Tensor, LegendreState]:
        batch, _, hidden = x.shape
        with torch.autocast(x.device.type, enabled=False):
            rows = x.float().transpose(0, 1).flatten(1)  # S x BH: the tables are the same for all rows of the batch
            weights = self.weights.float().repeat(1, batch)
            if state is None:
                position, coefficients = 0, rows.new_zeros(self.order, batch * hidden)
            else:
                position, coefficients = state.position, state.coefficients.transpose(0, 1).flatten(1)
            pieces = []
            for segment in rows.split(SEGMENT):
                y, coefficients = read_out(segment, weights, position, coefficients)
                pieces.append(y)
                position += len(segment)
            y = torch.cat(pieces).unflatten(1, (batch, hidden)).transpose(0, 1)
        return y.to(x.dtype), LegendreState(position, coefficients.unflatten(1, (batch, hidden)).transpose(0, 1))

    @property
    def table_bytes(self) -> int:
        """Of the tables that are kept after a sequence of T positions."""
        return 4 * min(self.context, KEPT * SEGMENT) * self.order * (self.order + min(CHUNK, self.context))

    def state_bytes(self, positions: int) -> int:
        return 4 * self.order * self.hidden

    def flops(self, length: int) -> int:
        """Those of making the tables among them, though they may have been kept."""
        chunk, order = min(CHUNK, length), self.order
        table = 2 * (order + 1) * (order**2 + (chunk + 1) * order)
        border = 2 * order * (order + chunk) * self.hidden // chunk
        return length * (table + 2 * order * (order + chunk + 1) * self.hidden + border)
