"""One sequence length of one sweep: all models measured in fresh processes that take turns, so that their ratios come from one job."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch
from scipy import stats

from wavestack.artifacts import write_csv, write_json
from wavestack.params import Parameters
from wavestack.profiling.others import OtherWork
from wavestack.profiling.peak import available_memory, matrix_peak_alone
from wavestack.profiling.process import Request
from wavestack.profiling.worker import Worker
from wavestack.schema import Lengths
from wavestack.statistics import LEVEL
from wavestack.training.checkpoint import Architecture

SAMPLES = ("spec", "length", "process", "turn", "seconds")
SHARE = 0.85  # of the memory that is free, for one process; the rest is for the models that wait for their turn
YARDSTICK = "(yardstick)"  # the first model at the sweep's own length, among the models; no spec has brackets in its name
SKIPPED = {"status": "skipped", "reason": "this machine has no CUDA device; on one that has, `snakemake --forcerun profile` measures it"}


def measure_length(parameters: Parameters, name: str, length: int, reports: Path) -> dict[str, Any]:
    """Measure every model of a sweep at one length.

    A measurement that fails is a result, too, with its reason: out_of_memory, timeout, refused (by the model), failed, or skipped (for
    want of a GPU).

    Args:
        name: of the sweep.
        reports: gets `length<length>.json`: medians; ratios of times from calls of one turn, to the first model's, and of the first
            model to itself at the sweep's yardstick; and how many cores other work took meanwhile. And `length<length>.csv`, every timed
            call, those of models that failed later, too.

    Raises:
        ValueError: there is no such sweep, or it has no such length.
    """
    study = parameters.profile.studies.lengths
    assert study is not None
    sweep = study.sweep(name)
    if length not in sweep.lengths:
        known = ", ".join(map(str, sweep.lengths))
        raise ValueError(f"{length} is none of the lengths of sweep '{name}' ({known}); add it there")
    budget = parameters.lengths_budget(sweep)
    memory = _limit() if sweep.device == "cpu" else None

    def request(spec: str, length: int) -> Request:
        return Request(
            Architecture(parameters.specs[spec], budget, study.vocabulary).to_json(),
            mode=sweep.mode,
            length=length,
            batch=sweep.sequences(length),
            threads=study.threads,
            device=sweep.device,
            precision=sweep.precision,
            compile=sweep.compile,
            memory=memory,
        )

    specs = sweep.specs or study.specs
    # beside the first model, which is held against it, and which all others are held against
    requests = {} if sweep.yardstick is None else {YARDSTICK: request(specs[0], sweep.yardstick)}
    requests |= {spec: request(spec, length) for spec in specs}
    meanwhile = OtherWork()
    there = sweep.device == "cpu" or torch.cuda.is_available()
    before = matrix_peak_alone(sweep.device, sweep.precision, study.threads, study.timeout) if there else None
    processes = [_in_turns(requests, study, sweep.device) for _ in range(study.processes)] if there else []
    times = {spec: [found[spec][1] for found in processes] for spec in requests}
    after = matrix_peak_alone(sweep.device, sweep.precision, study.threads, study.timeout) if there else None
    peaks = [peak for peak in (before, after) if peak is not None]
    models = {spec: _summary([found[spec][0] for found in processes], times[spec]) if there else SKIPPED for spec in specs}
    samples = [
        dict(zip(SAMPLES, (spec, requests[spec].length, process, turn, seconds), strict=True))
        for spec, by_process in times.items()
        for process, calls in enumerate(by_process)
        for turn, seconds in enumerate(calls)
    ]
    write_csv(reports / f"length{length}.csv", samples, SAMPLES)
    result = {
        "sweep": name,
        "mode": sweep.mode,
        "length": length,
        "batch": sweep.sequences(length),
        "device": sweep.device,
        "precision": sweep.precision,
        "compile": sweep.compile,
        "threads": study.threads,
        "matrix_peak": max(peaks, default=None),
        "matrix_peaks": peaks,  # before and after all calls, which lie apart where other work came or went
        "other_cores": meanwhile.cores() if there else None,
        "models": models,
        "ratios": _ratios({spec: times[spec] for spec, found in models.items() if found["status"] == "ok"}),
        "yardstick": None,
    }
    if sweep.yardstick is not None:
        told = [found[YARDSTICK][0] for found in processes] or [SKIPPED]
        first = times[specs[0]] if models[specs[0]]["status"] == "ok" else []
        result["yardstick"] = _yardstick(specs[0], sweep.yardstick, told, times[YARDSTICK], first)
    write_json(reports / f"length{length}.json", result)
    return result


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What `measure_length` found, a line a model."""
    for spec, found in result["models"].items():
        if found["status"] != "ok":
            yield f"{spec}: {found['status']}, {found['reason']}"
            continue
        low, high = found["seconds_quartiles"]
        told = [f"{spec}: {found['seconds_median']:.4g} s a call (quartiles {low:.4g} to {high:.4g})"]
        if found["peak_bytes"] is not None and result["mode"] != "decode":  # whose calls keep the past twice
            told.append(f"{found['peak_bytes'] / 2**20:,.1f} MiB")
        if (ratio := result["ratios"].get(spec)) is not None:
            told.append(f"{ratio['ratio']:.3g} times as long as {ratio['than']}")
        yield ", ".join(told)


def _limit() -> int | None:
    """Bytes that one process may take, before the machine would have to end some process, and maybe another one."""
    available = available_memory()
    return None if available is None else int(SHARE * available)


def _in_turns(requests: Mapping[str, Request], study: Lengths, device: str) -> dict[str, tuple[dict[str, Any], list[float]]]:
    """What each model's process told, and the seconds of its calls.

    On the CPU all processes are there at once, and call in turn, every second time in reverse: what slows the machine down slows all. On a
    GPU each would keep memory that the next one needs, so that there they come one after another.
    """
    groups = [dict([item]) for item in requests.items()] if device == "cuda" else [dict(requests)]
    seconds = study.seconds / len(groups)
    return {spec: found for group in groups for spec, found in _group(group, study, seconds).items()}


def _group(requests: Mapping[str, Request], study: Lengths, at_least: float) -> dict[str, tuple[dict[str, Any], list[float]]]:
    """Times of all models in turn; then the memory of each, in a process that has the machine for itself."""
    with ExitStack() as stack:
        workers = {spec: stack.enter_context(Worker(request, study.timeout)) for spec, request in requests.items()}
        seconds: dict[str, list[float]] = {spec: [] for spec in workers}
        order = list(workers)
        turns, spent = 0, 0.0
        while any(worker.status == "ok" for worker in workers.values()) and (turns < study.repeats or spent < at_least):
            for spec in order:
                answer = workers[spec].ask("call")
                if answer:
                    seconds[spec].append(answer["seconds"])
                    spent += answer["seconds"]
            order.reverse()
            turns += 1
        told = {spec: {**worker.facts, "status": worker.status, "reason": worker.reason} for spec, worker in workers.items()}
    for spec, found in told.items():
        if found["status"] == "ok" and spec != YARDSTICK:
            found |= _taken(requests[spec], study.timeout)
    return {spec: (told[spec], seconds[spec]) for spec in requests}


def _taken(request: Request, timeout: float) -> dict[str, Any]:
    """What a model's calls take of memory, and their FLOPs as PyTorch counts them; `unaccounted` says why not, where that fails.

    It may fail where times are known: a call whose memory is given back at once takes longer, and a trace takes far more than the call.
    """
    with Worker(replace(request, purpose="memory"), timeout) as worker:
        found = {**worker.ask("peak"), **worker.ask("account")}
        return {**found, "unaccounted": None if worker.status == "ok" else f"{worker.status}: {worker.reason}"}


def _summary(processes: Sequence[Mapping[str, Any]], times: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Medians over all timed calls of all processes; the first failure, if there is one."""
    for found in processes:
        if found["status"] != "ok":
            return {"status": found["status"], "reason": found["reason"]}
    seconds = [s for calls in times for s in calls]
    peaks = [found["peak_bytes"] for found in processes if "peak_bytes" in found]
    low, median, high = statistics.quantiles(seconds, n=4)
    first = processes[0]
    result = {
        "status": "ok",
        "calls": len(seconds),
        "seconds_median": median,
        "seconds_quartiles": [low, high],
        "tokens_per_second": first["call_tokens"] / median,
        "peak_bytes": int(statistics.median(peaks)) if peaks else None,
        "peak_bytes_by_process": peaks,
        **{key: _first(processes, key) for key in ("accounted_bytes", "unaccounted", "state_bytes", "flops", "counted_flops", "attention")},
        **{key: first[key] for key in ("parameters", "non_embedding_parameters", "dropout")},
    }
    # by the models' own formulas: PyTorch's counter takes causal attention for all of its matrix, and knows no Fourier transform
    result["flops_per_second"] = result["flops"] / median if result["flops"] else None
    return result


def _first(processes: Sequence[Mapping[str, Any]], key: str) -> Any:
    """What the first process that knows it tells: all of a model are alike, and one of them may have failed to say."""
    return next((found[key] for found in processes if found.get(key) is not None), None)


def _yardstick(
    spec: str, length: int, processes: Sequence[Mapping[str, Any]], yardstick: Sequence[Sequence[float]], first: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """The yardstick's time, and how much longer the first model's calls take; None of what failed."""
    failed = next((found["reason"] for found in processes if found["status"] != "ok"), None)
    known = failed is None
    both = known and bool(first)
    ratio = _ratio(first, yardstick) if both else {}
    return {
        "spec": spec,
        "length": length,
        "reason": f"{spec} itself failed" if known and not both else failed,
        "seconds_median": statistics.median(s for calls in yardstick for s in calls) if known else None,
        **{key: ratio.get(key) for key in ("ratio", "low", "high", "pairs")},
    }


def _ratios(times: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, dict[str, Any]]:
    """How much longer each model takes than the first."""
    if not times:
        return {}
    first, *others = times
    return {other: {"than": first, **_ratio(times[other], times[first])} for other in others}


def _ratio(theirs: Sequence[Sequence[float]], ours: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Of pairs of calls, the median with its interval.

    On the CPU the calls of a pair are of one turn, side by side; on a GPU they are the same one of two processes, one after another.
    """
    found = numpy.array([their / our for calls in zip(theirs, ours, strict=True) for their, our in zip(*calls, strict=False)])
    low, high = map(float, stats.quantile_test(found, q=1, p=0.5).confidence_interval(LEVEL))
    known = low <= high  # from six pairs on
    return {"ratio": float(numpy.median(found)), "low": low if known else None, "high": high if known else None, "pairs": len(found)}
