"""Cost per token of every lane of constant state at S = 16,384, relative to S = 1,024: forward and backward, as many tokens a batch.

    python benchmarks/linear.py [LANE ...] [--repeats 31] [--short 1024] [--long 16384]

All registered lanes with their own defaults, and attention with a window of 256; without a window its state grows, and it is left out. Both
lengths are of one lane, declared for the longer one, and seconds compare as they are, in two ways:

- a batch of as many tokens: short sequences side by side. Lanes over a basis compute their kernel once for all of them.
- one sequence at a time: short ones one after the other, until they are as many tokens.

Target: at most 1.15 times, either way.
"""

import sys
from functools import partial
from typing import Any

import torch
from measure import Case, arguments, interleaved, recording
from torch import Tensor

from wavestack import registry
from wavestack.lanes.lane import Lane

KNOBS: dict[str, dict[str, Any]] = {"attention": {"window": 256}}


def inputs(lane: Lane, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """What the lane reads, and a gradient of what it gives."""
    return torch.randn(batch, length, lane.inputs, requires_grad=True), torch.randn(batch, length, lane.hidden)


def steps(lane: Lane, x: Tensor, dy: Tensor, calls: int) -> None:
    """Forward and backward; the gradients are thrown away."""
    for _ in range(calls):
        y, _ = lane(x)
        torch.autograd.grad(y, (x, *lane.parameters()), dy, allow_unused=True)


def main() -> None:
    parser = arguments(__doc__, repeats=31)
    parser.add_argument("lanes", nargs="*", metavar="LANE", help="only these (default: all that are registered)")
    parser.add_argument("--short", type=int, default=1024)
    parser.add_argument("--long", type=int, default=16384, help="also the tokens of a batch")
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    lanes = options.lanes or list(registry.LANES)
    code = [registry.LANES[name] for name in lanes]
    sizes = {name: vars(options)[name] for name in ("repeats", "short", "long", "hidden")}
    with recording("linear", options.reports, __doc__ or "", code, **sizes) as rows:
        for name in lanes:
            knobs = KNOBS.get(name, {})
            lane: Lane = registry.lane(name, {})(options.hidden, options.long, **knobs)
            long = inputs(lane, 1, options.long)
            rest = ", ".join([name, *(f"{knob} {value}" for knob, value in knobs.items())])
            together = options.long // options.short
            for way, batch, calls in (("a batch of as many tokens", together, 1), ("one sequence at a time", 1, together)):
                short = inputs(lane, batch, options.short)
                work = {options.short: partial(steps, lane, *short, calls), options.long: partial(steps, lane, *long, 1)}
                found = interleaved({f"S = {length:,}": run for length, run in work.items()}, options.repeats)
                case = Case("linear", f"{rest}, {way}")
                (near, base), (far, grown) = found.items()
                rows.append(case.alone(options.short, near, base))
                rows.append(case.cost(options.long, far, grown, near, base, at_most=1.15))
            print(f"{name}: {rows[-3].ratio:.2f} and {rows[-1].ratio:.2f}", file=sys.stderr)


if __name__ == "__main__":
    main()
