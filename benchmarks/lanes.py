"""The fast operation of the fixed-basis lanes against the published summation, forward and backward.

    python benchmarks/lanes.py [--repeats 7] [--lengths 512 4096]

Published is a sum over frequencies (or polynomials) of sums over the past. How much faster MODEL.md found the lane (130 times at 512, 48 at
4,096) fell with the length, at constant tokens. So what it measured were cumulative sums, linear in S: an S x S kernel for each frequency
would fall behind more and more. They are written here as a person would, in the two ways there are, since MODEL.md does not say which it
was: a loop over the columns of the basis, and all columns at once, in B x S x R x H tensors (0.4 GB each at the defaults, and several of
them). The lane is held against both. Before the timing, outputs and gradients are compared, within 1e-4.

Targets: Fourier F = 64 and Chebyshev K = 64 at least 50 times as fast at S = 512 and 30 times at 4,096, Chebyshev K = 4 at least 4 times.
"""

from collections.abc import Callable
from functools import partial
from math import pi

import torch
from measure import Case, Row, arguments, interleaved, recording
from torch import Tensor

from wavestack.lanes.chebyshev import Chebyshev
from wavestack.lanes.fourier import Fourier
from wavestack.lanes.projection import Projection

LANE, LOOP, AT_ONCE = "lane", "published sum, a loop", "published sum, at once"
TARGETS = {("fourier F=64", 512): 50, ("fourier F=64", 4096): 30, ("chebyshev K=64", 512): 50, ("chebyshev K=64", 4096): 30}
TARGETS |= {("chebyshev K=4", 512): 4, ("chebyshev K=4", 4096): 4}
Sum = Callable[[Tensor, Tensor], Tensor]  # x (B x S x H), gains -> B x S x H


def polynomials(length: int, order: int) -> Tensor:
    """T_k(z_t), S x K, by their recurrence T_{k+1} = 2 z T_k - T_{k-1}: not by the lane's own formula."""
    z = torch.linspace(-1, 1, length, dtype=torch.float64)
    found = [torch.ones_like(z), z]
    while len(found) < order:
        found.append(2 * z * found[-1] - found[-2])
    return torch.stack(found[:order], 1).float()


def waves(length: int, frequencies: int) -> tuple[Tensor, Tensor]:
    """cos(2 pi f t / S) and sin(2 pi f t / S), each S x F; cos(a-b) = cos a cos b + sin a sin b."""
    angle = 2 * pi / length * torch.arange(length, dtype=torch.float64)[:, None] * torch.arange(frequencies)
    return torch.cos(angle).float(), torch.sin(angle).float()


def looped(*bases: Tensor) -> Sum:
    """`1/(t+1) sum_r g_r phi_r(t) sum_{s<=t} phi_r(s) x_s`, column by column; columns of one place share a gain."""

    def published(x: Tensor, gains: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        for r in range(len(gains)):
            for phi in bases:
                y = y + gains[r] * phi[:, r, None] * torch.cumsum(phi[:, r, None] * x, 1)
        return y / torch.arange(1, x.shape[1] + 1)[:, None]

    return published


def at_once(*bases: Tensor) -> Sum:
    """The same with all columns in one tensor, B x S x R x H."""

    def published(x: Tensor, gains: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        for phi in bases:
            y = y + ((gains * phi)[..., None] * torch.cumsum(phi[..., None] * x[:, :, None], 1)).sum(2)
        return y / torch.arange(1, x.shape[1] + 1)[:, None]

    return published


def step(operation: Sum, x: Tensor, gains: Tensor, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Forward and backward: the outputs, and the gradients of the inputs and of the gains."""
    x, gains = x.detach().requires_grad_(), gains.detach().requires_grad_()
    y = operation(x, gains)
    dx, dgains = torch.autograd.grad(y, (x, gains), dy)
    return y.detach(), dx, dgains


def of_lane(lane: Projection) -> Sum:
    return lambda x, gains: torch.func.functional_call(lane, {"gains": gains}, x)[0]


def measured(case: Case, lane: Projection, bases: tuple[Tensor, ...], tokens: int, repeats: int) -> list[Row]:
    length = lane.context
    x = torch.randn(max(1, tokens // length), length, lane.hidden)
    dy, gains = torch.randn_like(x), 1 + 0.5 * torch.rand_like(lane.gains)
    operations = {LANE: of_lane(lane), LOOP: looped(*bases), AT_ONCE: at_once(*bases)}
    expected = step(operations[LANE], x, gains, dy)
    for name in (LOOP, AT_ONCE):
        for ours, theirs in zip(expected, step(operations[name], x, gains, dy), strict=True):
            apart = ((ours - theirs).abs().max() / theirs.abs().max()).item()
            if not apart <= 1e-4:
                raise ValueError(f"{case.name} at {length:,}: the lane and the {name} differ by {apart:.1e}; do not time what disagrees")
    found = interleaved({name: partial(step, operation, x, gains, dy) for name, operation in operations.items()}, repeats)
    target = TARGETS.get((case.name, length))
    rows = [case.speed(length, LANE, found[LANE], name, found[name], at_least=target) for name in (LOOP, AT_ONCE)]
    return [*(case.alone(length, name, found[name]) for name in (LOOP, AT_ONCE)), *rows]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 4096])
    parser.add_argument("--tokens", type=int, default=4096, help="a batch (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    code = ["wavestack.lanes.fourier", "wavestack.lanes.chebyshev"]
    sizes = {name: vars(options)[name] for name in ("repeats", "lengths", "tokens", "hidden")}
    with recording("lanes", options.reports, __doc__ or "", code, **sizes) as rows:
        for length in options.lengths:
            lane: Projection = Fourier(options.hidden, length, frequencies=64)
            rows += measured(Case("lanes", "fourier F=64"), lane, waves(length, 64), options.tokens, options.repeats)
            for order in (64, 4):
                lane = Chebyshev(options.hidden, length, order=order)
                bases = (polynomials(length, order),)
                rows += measured(Case("lanes", f"chebyshev K={order}"), lane, bases, options.tokens, options.repeats)


if __name__ == "__main__":
    main()
