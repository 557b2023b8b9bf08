"""One sequence length: every model measured in fresh processes, taking turns, so that their ratios come from one job on one machine."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from wavestack.artifacts import write_csv, write_json
from wavestack.params import Parameters
from wavestack.profiling.process import Request
from wavestack.training.checkpoint import Architecture

SAMPLES = ("spec", "length", "process", "step", "seconds")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "MemoryError", "bad_alloc")


def measure_length(parameters: Parameters, length: int, data: Path, reports: Path) -> dict[str, Any]:
    """Measure a training step of every model of the lengths study at one length.

    A measurement that fails is a result too: its status is out_of_memory, timeout or failed, with the reason.

    Args:
        data: gets `length<length>.csv`, every timed step.
        reports: gets `length<length>.json`, the medians.
    """
    study = parameters.profile.studies.lengths
    assert study is not None
    if length not in study.lengths:
        known = ", ".join(map(str, study.lengths))
        raise ValueError(f"{length} is none of the study's lengths ({known}); add it to studies.lengths.lengths")
    batch = max(1, study.tokens // length)
    budget = parameters.lengths_budget()
    requests = {
        name: Request(
            architecture=Architecture(parameters.specs[name], budget, study.vocabulary).to_json(),
            length=length,
            batch=batch,
            repeats=study.repeats,
            seconds=study.seconds,
            threads=study.threads,
            device=study.device,
            precision=study.precision,
            compile=study.compile,
        )
        for name in study.specs
    }
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in requests}
    for _ in range(study.processes):
        for name, request in requests.items():
            measured[name].append(_in_fresh_process(request, study.timeout))
    samples = [
        dict(zip(SAMPLES, (name, length, process, step, seconds), strict=True))
        for name, processes in measured.items()
        for process, found in enumerate(processes)
        for step, seconds in enumerate(found.get("seconds", []))
    ]
    write_csv(data / f"length{length}.csv", samples, SAMPLES)
    result = {
        "length": length,
        "batch": batch,
        "threads": study.threads,
        "device": study.device,
        "precision": study.precision,
        "compile": study.compile,
        "models": {name: _summary(processes, batch * length) for name, processes in measured.items()},
    }
    write_json(reports / f"length{length}.json", result)
    return result


def _in_fresh_process(request: Request, timeout: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "wavestack.profiling.process", request.to_json()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"status": "timeout", "reason": f"not done after {timeout:g} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    killed = done.returncode == -9  # what the kernel does to a process that takes too much
    status = "out_of_memory" if killed or any(sign in done.stderr for sign in OUT_OF_MEMORY) else "failed"
    return {"status": status, "reason": "killed" if killed else last}


def _summary(processes: list[dict[str, Any]], tokens: int) -> dict[str, Any]:
    """Medians over all timed steps of all processes; the first failure, if there is one."""
    for found in processes:
        if found["status"] != "ok":
            return {"status": found["status"], "reason": found["reason"]}
    seconds = sorted(s for found in processes for s in found["seconds"])
    low, median, high = statistics.quantiles(seconds, n=4)
    return {
        "status": "ok",
        "steps": len(seconds),
        "seconds_median": median,
        "seconds_quartiles": [low, high],
        "tokens_per_second": tokens / median,
        "peak_bytes": int(statistics.median(found["peak_bytes"] for found in processes)),
    }
