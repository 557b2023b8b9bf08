"""The comparison: every spec on every corpus at one budget; differences paired by seed and document, with intervals and verdicts."""

from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pandas

from wavestack.artifacts import write_csv, write_json
from wavestack.params import Parameters, Run
from wavestack.studies.calibration import uncalibrated
from wavestack.studies.differences import has_interval, judge, points
from wavestack.studies.results import COLUMNS, Split, means, paired_runs, require_equal_budgets, require_equal_text, run_row


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
    require_equal_text(runs, reports, split)
    by_run = dict(zip(runs, rows, strict=True))
    pairs = [(corpus, spec, against) for corpus in study.corpora for spec, against in combinations(study.specs, 2)]
    entries, differences = [], []
    for corpus, spec, against in pairs:
        ours, theirs = ([run for run in runs if (run.corpus, run.spec) == (corpus, name)] for name in (spec, against))
        entries.append({"corpus": corpus, "spec": spec, "against": against, **points(ours, theirs, by_run)})
        differences.append(paired_runs(ours, theirs, data, split) if has_interval(entries[-1]) else None)
    judge(entries, differences, uncalibrated(parameters, reports))
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
