"""The ablation grid: one spec with every subset of its lanes, at the same total parameters."""

from pathlib import Path
from typing import Any

from wavestack.artifacts import write_csv, write_json
from wavestack.params import Parameters
from wavestack.studies.results import COLUMNS, means, require_equal_budgets, run_row


def write_ablation(parameters: Parameters, reports: Path) -> dict[str, Any]:
    """Put the runs' measures together into `studies/ablation.json` and `.csv`.

    Raises:
        ValueError: where runs on one corpus had unequal budgets.
    """
    study = parameters.profile.studies.ablation
    assert study is not None
    rows = [run_row(run, reports) for run in parameters.ablation_runs()]
    require_equal_budgets(rows)
    averaged = [
        {**mean, "lanes": list(parameters.specs[study.spec].variant(mean["variant"]).lanes)} for mean in means(rows, ("corpus", "variant"))
    ]
    result = {"rows": rows, "means": averaged}
    write_json(reports / "studies" / "ablation.json", result)
    write_csv(reports / "studies" / "ablation.csv", rows, COLUMNS)
    return result
