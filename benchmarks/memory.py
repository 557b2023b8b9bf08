"""Peak training memory of a WaveStack block above that of the loaded block, against a transformer block of equal parameters.

    python benchmarks/memory.py [SPEC ...] [--repeats 7] [--length 4096]

One sequence, forward and backward, with the gradients of all parameters; the blocks are those of block.py. Three measurements:

- resident memory: the high-water mark (VmHWM, Linux only) of a fresh process a measurement, reset after the block is loaded and has been
  used once at a short length, which loads libraries. glibc keeps freed memory for later, and how much of it depends on what came before;
  the processes run with MALLOC_MMAP_THRESHOLD_=65536, under which it gives every tensor beyond 64 KiB back when it is freed. Without it
  the mark of one block varied by a factor of ten from step to step.
- tensors: the peak of what PyTorch's allocator has handed out in the step, from the profiler's record. The same in every run.
- saved for backward: distinct storages that autograd keeps from forward to backward, parameters and inputs left out.

Target: resident memory at most 1.0 times.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from block import TRANSFORMER, VOCABULARY, equal_stack, specs_of, transformer_stack
from measure import Case, Spread, arguments, recording
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from wavestack.lanes.lane import Lane
from wavestack.models.stack import Block

RESIDENT, TENSORS, SAVED = "resident memory", "tensors", "saved for backward"
WARM_UP = 256  # positions


def one(name: str, params: str, hidden: int, length: int, threads: int) -> dict[str, int]:
    """Bytes of each measurement of one block, in this process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, budget = transformer_stack(hidden, 1, length, VOCABULARY)
    if name != TRANSFORMER:
        model = equal_stack(specs_of(Path(params), [name])[name], budget, VOCABULARY)
    block = model.blocks[0]
    step(block, hidden, min(WARM_UP, length))
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM, see proc_pid_clear_refs(5)
    loaded = _status("VmRSS")
    step(block, hidden, length)
    found = {RESIDENT: _status("VmHWM") - loaded}
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step(block, hidden, length)
    assert recorded.profiler is not None
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()  # negative where memory is given back
        peak = max(peak, now)
    found[TENSORS] = peak
    found[SAVED] = saved(block, hidden, length)
    return found


def step(block: Block, hidden: int, length: int) -> None:
    x = torch.randn(1, length, hidden, requires_grad=True)
    y, _ = block(x)
    torch.autograd.grad(y, (x, *block.parameters()), torch.randn_like(y), allow_unused=True)


def saved(block: Block, hidden: int, length: int) -> int:
    """Bytes of the storages that the forward pass keeps for the backward pass, each once."""
    x = torch.randn(1, length, hidden, requires_grad=True)
    tables = [module.table for module in block.modules() if isinstance(module, Lane) and module.table is not None]
    present = {tensor.untyped_storage().data_ptr() for tensor in (x, *block.parameters(), *block.buffers(), *tables)}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in present:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y, _ = block(x)  # alive until here: no two storages share an address
    del y
    return sum(kept.values())


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def in_fresh_process(*request: str | int) -> dict[str, int]:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, "--one", json.dumps(request)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{request[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("specs", nargs="*", metavar="SPEC", default=["wavestack"], help="default: wavestack")
    parser.add_argument("--params", default="params/quick.yaml", help="the profile whose specs these are")
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", help="measure in this process and print JSON; what the fresh processes are called with")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*json.loads(options.one))))
        return
    torch.set_num_threads(options.threads)  # for the record
    chosen = specs_of(Path(options.params), options.specs)
    code = ["wavestack.models.transformer", *(entry for spec in chosen.values() for entry in spec.entries)]
    sizes = {name: vars(options)[name] for name in ("repeats", "length", "hidden")}
    sizes |= {"batch": 1, "MALLOC_MMAP_THRESHOLD_": 65536, "specs": {name: dict(spec.knobs) for name, spec in chosen.items()}}
    with recording("memory", options.reports, __doc__ or "", code, **sizes) as rows:
        names = [TRANSFORMER, *chosen]
        found: dict[str, list[dict[str, int]]] = {name: [] for name in names}
        for _ in range(options.repeats):
            for name in names:
                found[name].append(in_fresh_process(name, options.params, options.hidden, options.length, options.threads))
        for measured in (RESIDENT, TENSORS, SAVED):
            case = Case("memory", measured, "bytes")
            spreads = {name: Spread.of([process[measured] for process in found[name]]) for name in names}
            rows.append(case.alone(options.length, TRANSFORMER, spreads[TRANSFORMER]))
            for name in chosen:
                target = 1.0 if measured == RESIDENT else None
                rows.append(case.cost(options.length, name, spreads[name], TRANSFORMER, spreads[TRANSFORMER], at_most=target))


if __name__ == "__main__":
    main()
