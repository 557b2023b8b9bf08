"""The comparison: every spec on every corpus at one budget, and differences paired by seed."""

from itertools import combinations
from math import expm1
from pathlib import Path
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
    """Nats a token of `spec` minus those of `against`, seed by seed. Points: a verdict needs an interval, and that more seeds."""
    nats = {(row["spec"], row["seed"]): row["nats_per_token"] for row in rows if row["corpus"] == corpus}
    seeds = [seed for name, seed in nats if name == spec]
    pairs = [(nats[spec, seed], nats[against, seed]) for seed in seeds]
    paired = [first - second for first, second in pairs if first is not None and second is not None]
    complete = len(paired) == len(seeds)
    mean = sum(paired) / len(paired) if complete else None
    return {
        "corpus": corpus,
        "spec": spec,
        "against": against,
        "seeds": seeds,
        "nats": paired,
        "perplexity_percent": None if mean is None else 100 * expm1(mean),
        "verdict": "undecided",
        "reason": f"{len(seeds)} seeds give points, no interval" if complete else "a run is missing or diverged",
    }
