"""Tuning: the same trials for every spec on every corpus, judged by the lowest validation loss that each training saw."""

from collections.abc import Sequence
from math import comb
from pathlib import Path
from statistics import fmean
from typing import Any

from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import Parameters
from wavestack.variants import TRAINING, Variant

COLUMNS = ("corpus", "spec", *TRAINING.values(), "seeds", "nats_per_token", "status", "reason", "chosen")


def choose(parameters: Parameters, corpus: str, spec: str, reports: Path) -> dict[str, Any]:
    """Write `tuning/<corpus>/<spec>.json`: every trial with its loss, the best one, and where it stands at the edge of what was tried.

    Raises:
        ValueError: no trial went well.
    """
    trials: dict[str, list[dict[str, Any]]] = {}
    for run in parameters.tuning_runs(corpus, spec):
        trials.setdefault(run.variant, []).append(read_json(reports / "runs" / str(run) / "training.json"))
    rows = [{**Variant.parse(name).training, **_judged(found)} for name, found in trials.items()]
    finite = [row for row in rows if row["nats_per_token"] is not None]
    if not finite:
        raise ValueError(f"{corpus}: every trial of {spec} diverged; add trials with a lower learning rate")
    best = min(finite, key=lambda row: row["nats_per_token"])
    chosen = {key: best[key] for key in TRAINING.values()}
    edges = [_edge(key, value, {row[key] for row in rows}) for key, value in chosen.items()]
    result = {
        "corpus": corpus,
        "spec": spec,
        "trials": rows,
        "chosen": chosen,
        "at_the_edge": [edge for edge in edges if edge],
        "expected_best": expected_best([row["nats_per_token"] for row in rows]),
    }
    write_json(reports / "tuning" / corpus / f"{spec}.json", result)
    return result


def _judged(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean over seeds; a trial of which one diverged is none to choose."""
    failed = next((training for training in found if training["status"] != "ok"), None)
    return {
        "seeds": len(found),
        "nats_per_token": None if failed else fmean(training["best_valid_nats"] for training in found),
        "status": failed["status"] if failed else "ok",
        "reason": failed["reason"] if failed else None,
    }


def _edge(key: str, value: float, tried: set[float]) -> str | None:
    """Whether a better value may lie beyond what was tried; nothing lies below zero, and one value is no range."""
    if len(tried) > 1 and value == max(tried):
        return f"{key} {value:g} is the largest that was tried"
    if len(tried) > 1 and value == min(tried) and value > 0:
        return f"{key} {value:g} is the smallest that was tried"
    return None


def expected_best(losses: Sequence[float | None]) -> list[float | None]:
    """The lowest loss that k = 1 .. n of the trials give, on average over which k of them they are; None where it may be no loss at all.

    Sorted, the i-th of n is the lowest of k in comb(n - i, k - 1) of comb(n, k) choices (Dodge et al. 2019, arXiv:1909.03004, without
    replacement). A trial that diverged comes last.
    """
    ordered = sorted(loss for loss in losses if loss is not None)
    n, finite = len(losses), len(ordered)
    expected: list[float | None] = []
    for k in range(1, n + 1):
        if k <= n - finite:  # all k may be among those that diverged
            expected.append(None)
        else:
            expected.append(sum(loss * comb(n - i, k - 1) for i, loss in enumerate(ordered, start=1)) / comb(n, k))
    return expected


def write_tuning(parameters: Parameters, reports: Path) -> dict[str, Any]:
    """Put the choices together into `studies/tuning.json` and all trials into `studies/tuning.csv`."""
    study = parameters.profile.studies.tuning
    assert study is not None
    choices = [read_json(reports / "tuning" / corpus / f"{spec}.json") for corpus in study.corpora for spec in study.specs]
    rows = [
        {**trial, "corpus": choice["corpus"], "spec": choice["spec"], "chosen": choice["chosen"].items() <= trial.items()}
        for choice in choices
        for trial in choice["trials"]
    ]
    result = {"choices": choices}
    write_json(reports / "studies" / "tuning.json", result)
    write_csv(reports / "studies" / "tuning.csv", rows, COLUMNS)
    return result
