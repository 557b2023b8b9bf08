"""The comparison: every spec on every corpus at one budget; differences paired by seed and document, with intervals and verdicts."""

from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas

from wavestack import statistics
from wavestack.artifacts import write_csv, write_json
from wavestack.params import Parameters, Run
from wavestack.statistics import SEEDS, Interval, Paired
from wavestack.studies.calibration import uncalibrated
from wavestack.studies.results import COLUMNS, Split, means, paired_runs, require_equal_budgets, run_row


def write_comparison(parameters: Parameters, data: Path, reports: Path, split: Split = "valid") -> dict[str, Any]:
    """Put the runs' measures together into `studies/comparison.json` and `.csv`, or those of the test split into `studies/test.json`.

    All pairs of specs on all corpora are one family: their verdicts hold together (Holm).

    Args:
        data: holds the runs' losses of each document.
        reports: holds the runs' measures; gets the tables.

    Raises:
        ValueError: where runs on one corpus had unequal budgets, tokens or documents.
    """
    study = parameters.profile.studies.comparison
    runs = parameters.comparison_runs()
    rows = [run_row(run, reports, split) for run in runs]
    require_equal_budgets(rows)
    by_run = dict(zip(runs, rows, strict=True))
    pairs = [(corpus, spec, against) for corpus in study.corpora for spec, against in combinations(study.specs, 2)]
    entries, differences = [], []
    for corpus, spec, against in pairs:
        ours, theirs = ([run for run in runs if (run.corpus, run.spec) == (corpus, name)] for name in (spec, against))
        entries.append({"corpus": corpus, "spec": spec, "against": against, **_points(ours, theirs, by_run)})
        differences.append(paired_runs(ours, theirs, data, split) if len(ours) >= SEEDS and None not in entries[-1]["nats"] else None)
    uncertain = uncalibrated(parameters, reports)
    for entry, difference, sure in zip(entries, differences, statistics.family(differences), strict=True):
        entry |= _nothing(entry) if difference is None or sure is None else _judged(difference, sure, uncertain)
    sides = [[run for run in runs if (run.corpus, run.spec) == side] for side in product(study.corpora, study.specs)]
    scored = [side for side in sides if all(by_run[run]["status"] == "ok" for run in side)]  # the other seeds' would flatter
    slices = [row for side in scored for row in _slices(side, reports)] if split == "valid" else []
    result = {"rows": rows, "means": means(rows, ("corpus", "spec")), "differences": entries, "slices": slices}
    name = "comparison" if split == "valid" else "test"
    write_json(reports / "studies" / f"{name}.json", result)
    write_csv(reports / "studies" / f"{name}.csv", rows, COLUMNS)
    return result


def _slices(runs: Sequence[Run], reports: Path) -> list[dict[str, Any]]:
    """Nats a token of each slice of the likelihood, over runs that differ in their seed; none for older runs, which have no slices."""
    paths = [reports / "runs" / str(run) / "slices.csv" for run in runs]
    if not all(path.is_file() for path in paths):
        return []
    sums = pandas.concat([pandas.read_csv(path) for path in paths]).groupby(["kind", "least"], sort=False)[["tokens", "nats"]].sum()
    head = {"corpus": runs[0].corpus, "spec": runs[0].spec}
    return [
        {**head, "kind": kind, "least": int(least), "tokens": int(tokens) // len(runs), "nats_per_token": float(nats / tokens)}
        for (kind, least), tokens, nats in zip(sums.index, sums["tokens"], sums["nats"], strict=True)
    ]


def _points(ours: Sequence[Run], theirs: Sequence[Run], rows: dict[Run, dict[str, Any]]) -> dict[str, Any]:
    """Nats a token of `ours` minus those of `theirs`, seed by seed; None where a run diverged."""
    found = [(rows[run]["nats_per_token"], rows[other]["nats_per_token"]) for run, other in zip(ours, theirs, strict=True)]
    nats = [None if None in pair else pair[0] - pair[1] for pair in found]
    known = [value for value in nats if value is not None]
    percent = statistics.percent(fmean(known)) if len(known) == len(nats) else None
    return {"seeds": [run.seed for run in ours], "nats": nats, "perplexity_percent": percent}


def _judged(difference: Paired, sure: Interval, uncertain: str | None) -> dict[str, Any]:
    return {
        "level": sure.level,
        "low_percent": statistics.percent(sure.low),
        "high_percent": statistics.percent(sure.high),
        "p": statistics.p_value(difference),
        "seeds_for_one_percent": statistics.seeds_to_resolve(difference, level=sure.level),
        "verdict": "undecided" if uncertain else statistics.verdict(sure.low, sure.high),
        "reason": uncertain,
    }


def _nothing(entry: dict[str, Any]) -> dict[str, Any]:
    seeds = len(entry["seeds"])
    if None in entry["nats"]:
        reason = "a run is missing or diverged"
    elif seeds >= SEEDS:
        reason = "the split is one document, which gives no interval for others"
    else:
        reason = "1 seed gives a point, no interval" if seeds == 1 else f"{seeds} seeds give points, no interval"
    known = dict.fromkeys(("level", "low_percent", "high_percent", "p", "seeds_for_one_percent"))
    return {**known, "verdict": "undecided", "reason": reason}
