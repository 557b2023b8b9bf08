"""Decoding one token at position 65,536 against one at position 128, and the bytes of the state there.

    python benchmarks/decoding.py [SPEC ...] [--repeats 15] [--far 65536]

SPEC is a name in the profile's model specs (default: wavestack), built with H = 256, 4 blocks, a vocabulary of 4,096 and T = 65,537, in
float32, on 1 and on 2 threads. The far state is made by prefilling random tokens in chunks. The transformer of equal parameters stands
beside it, with its KV cache; its far cache repeats a near one, since time and size do not depend on what is in it and prefilling would
take long. A measurement is the mean of several calls from the same state.

Targets, for what is no transformer: at most 1.1 times the time, and as many bytes.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from block import TRANSFORMER, equal_stack, specs_of, transformer_stack
from measure import Case, Spread, arguments, interleaved, recording
from torch import Tensor

from wavestack.lanes.attention import AttentionState
from wavestack.models.stack import ResidualStack

VOCABULARY = 4096
CHUNK = 2048  # positions, of prefill
CALLS = 20  # in one measurement: a single one is a few milliseconds


def prefilled(model: ResidualStack, positions: int) -> Any:
    """The state after so many random tokens."""
    state = None
    for start in range(0, positions, CHUNK):
        tokens = torch.randint(VOCABULARY, (1, min(CHUNK, positions - start)))
        _, state = model.advance(tokens, state)
    return state


def lengthened(state: Any, positions: int) -> Any:
    """A transformer's state, its cache repeated up to so many positions."""
    if isinstance(state, AttentionState):
        places = torch.arange(positions) % state.keys.shape[2]
        return AttentionState(positions, state.keys[:, :, places], state.values[:, :, places])
    return type(state)(lengthened(part, positions) for part in state) if isinstance(state, list | tuple) else state


def size(state: Any) -> int:
    """Bytes of the tensors of a state."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(size(part) for part in parts)


def decode(model: ResidualStack, token: Tensor, state: Any, calls: int) -> None:
    for _ in range(calls):
        model.advance(token, state)


def main() -> None:
    parser = arguments(__doc__, repeats=15)
    parser.add_argument("specs", nargs="*", metavar="SPEC", default=["wavestack"], help="default: wavestack")
    parser.add_argument("--params", type=Path, default=Path("params/quick.yaml"), help="the profile whose specs these are")
    parser.add_argument("--near", type=int, default=128)
    parser.add_argument("--far", type=int, default=65536)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(max(options.threads))
    torch.manual_seed(0)
    theirs, budget = transformer_stack(options.hidden, options.blocks, options.far + 1, VOCABULARY)
    chosen = specs_of(options.params, options.specs)
    models = {name: equal_stack(spec, budget, VOCABULARY) for name, spec in chosen.items()} | {TRANSFORMER: theirs}
    code = ["wavestack.models.transformer", *(entry for spec in chosen.values() for entry in spec.entries)]
    sizes = {name: vars(options)[name] for name in ("repeats", "near", "far", "hidden", "blocks", "threads")}
    sizes |= {"parameters": budget.parameters, "calls": CALLS, "specs": {name: dict(spec.knobs) for name, spec in chosen.items()}}
    near, far = (f"position {position:,}" for position in (options.near, options.far))
    token = torch.randint(VOCABULARY, (1, 1))
    with recording("decoding", options.reports, __doc__ or "", code, **sizes) as rows, torch.inference_mode():
        states = {}
        for name, model in models.items():
            states[name, near] = prefilled(model, options.near)
            is_theirs = name == TRANSFORMER
            states[name, far] = lengthened(states[name, near], options.far) if is_theirs else prefilled(model, options.far)
        for threads in options.threads:
            torch.set_num_threads(threads)
            for (
                name,
                model,
            ) in models.items():  # one after the other: a large cache would push the next model's weights out of the processor's
                work = {place: partial(decode, model, token, states[name, place], CALLS) for place in (near, far)}
                found = interleaved(work, options.repeats)
                case = Case("decoding", f"{name}, {threads} thread{'s' if threads > 1 else ''}")
                close, distant = (_of_one(found[place]) for place in (near, far))
                limit = None if name == TRANSFORMER else 1.1
                rows.append(case.alone(options.near, near, close))
                rows.append(case.cost(options.far, far, distant, near, close, at_most=limit))
        for name in models:
            case = Case("decoding", f"{name}, state", "bytes")
            close, distant = (Spread(*[size(states[name, place])] * 3) for place in (near, far))
            rows.append(case.alone(options.near, near, close))
            rows.append(case.cost(options.far, far, distant, near, close, at_most=None if name == TRANSFORMER else 1.0))


def _of_one(found: Spread) -> Spread:
    """Of one call, from those of several."""
    return Spread(found.median / CALLS, found.low / CALLS, found.high / CALLS)


if __name__ == "__main__":
    main()
