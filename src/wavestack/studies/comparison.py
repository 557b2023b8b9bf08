"""The comparison: every spec on every corpus at one budget, and differences paired by seed."""

from itertools import combinations
from math import expm1
from pathlib import Path
from statistics import fmean
from typing import Any

from wavestack.artifacts import write_csv, write_json
from wavestack.params import Parameters
from wavestack.studies.results import COLUMNS, means, require_equal_budgets, run_row


def write_comparison(parameters: Parameters, reports: Path) -> dict[str, Any]:
    """Put the runs' measures together into `studies/comparison.json` and `.csv`.

    Raises:
        ValueError: where runs on one corpus had unequal budgets.
    """
    study = parameters.profile.studies.comparison
    rows = [run_row(run, reports) for run in parameters.comparison_runs()]
    require_equal_budgets(rows)
    differences = [_difference(corpus, spec, against, rows) for corpus in study.corpora for spec, against in combinations(study.specs, 2)]
    result = {"rows": rows, "means": means(rows, ("corpus", "spec")), "differences": differences}
    write_json(reports / "studies" / "comparison.json", result)
    write_csv(reports / "studies" / "comparison.csv", rows, COLUMNS)
    return result


def _difference(corpus: str, spec: str, against: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Nats a token of `spec` minus those of `against`, seed by seed; None where a run diverged. Points: a verdict needs intervals."""
    nats = {(row["spec"], row["seed"]): row["nats_per_token"] for row in rows if row["corpus"] == corpus}
    seeds = [seed for name, seed in nats if name == spec]
    pairs = [(nats[spec, seed], nats[against, seed]) for seed in seeds]
    paired = [None if None in pair else pair[0] - pair[1] for pair in pairs]
    known = [nats for nats in paired if nats is not None]
    complete = len(known) == len(seeds)
    return {
        "corpus": corpus,
        "spec": spec,
        "against": against,
        "seeds": seeds,
        "nats": paired,
        "perplexity_percent": 100 * expm1(fmean(known)) if complete else None,
        "verdict": "undecided",
        "reason": f"{_points(len(seeds))}, no interval" if complete else "a run is missing or diverged",
    }


def _points(seeds: int) -> str:
    return "1 seed gives a point" if seeds == 1 else f"{seeds} seeds give points"
