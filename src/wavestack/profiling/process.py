"""One measurement, in a process of its own: seconds of training steps, and memory above the loaded model.

Run as `python -m wavestack.profiling.process REQUEST`, with the request as JSON; prints one line of JSON.
"""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from wavestack.device import autocast, available
from wavestack.provenance import peak_memory
from wavestack.schema import Training
from wavestack.training.checkpoint import Architecture
from wavestack.training.optimizer import adamw


@dataclass(frozen=True)
class Request:
    """What to measure: training steps of one model at one length."""

    architecture: dict[str, Any]
    length: int
    batch: int
    repeats: int  # at least so many timed steps
    seconds: float  # and more of them within this time
    threads: int
    device: str
    precision: str = "float32"
    compile: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def measure(request: Request) -> dict[str, Any]:
    """Seconds of each timed step (forward, backward, optimiser), and bytes at the peak above the loaded model."""
    torch.set_num_threads(request.threads)
    torch.manual_seed(0)
    architecture = Architecture.from_json(request.architecture)
    model = architecture.build().to(available(request.device))
    forward = torch.compile(model) if request.compile else model
    optimizer = adamw(model, Training(batch=request.batch))
    tokens = torch.randint(architecture.vocabulary, (request.batch, request.length + 1), device=request.device)
    loaded = _restart_peak(request.device)

    def step() -> None:
        with autocast(request.device, request.precision):
            logits = forward(tokens[:, :-1])
        functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if request.device == "cuda":
            torch.cuda.synchronize()

    step()  # warm-up: allocations, the optimiser's state
    seconds: list[float] = []
    while len(seconds) < request.repeats or sum(seconds) < request.seconds:
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return {"status": "ok", "seconds": seconds, "peak_bytes": _peak(request.device) - loaded}


def _restart_peak(device: str) -> int:
    """Forget the high-water mark and give the memory that the loaded model takes."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")  # 5: reset VmHWM (proc_pid_clear_refs(5))
    return _peak(device)


def _peak(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return peak_memory()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Request(**json.loads(sys.argv[1])))) + "\n")
