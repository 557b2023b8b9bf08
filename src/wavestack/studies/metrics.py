"""What `dvc metrics diff` and the gate compare between two versions of the project: a few numbers a model, and the losses behind them.

`metrics.json` is small and its keys are stable: corpus, model, measure. A model of the ablation grid is named by its lanes, and by its
budget where that is not the comparison's. `losses.csv` has the nats of every document under every seed, so that two versions can be
compared seed by seed and document by document.
"""

from pathlib import Path
from typing import Any

import pandas

from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import Parameters, Run
from wavestack.studies.results import means, run_row

MEASURES = ("nats_per_token", "bits_per_byte", "perplexity", "word_perplexity", "parameters", "training_tokens")
LOSSES = ("corpus", "model", "seed", "document", "tokens", "nats")


def model_name(run: Run, usual: Run) -> str:
    """Of a run's model, whatever its seed: the spec, with its budget and variant where they are not the usual ones."""
    parts = [run.spec, run.budget if run.budget != usual.budget else "", run.variant if run.variant != usual.variant else ""]
    return " ".join(filter(None, parts))


def write_metrics(parameters: Parameters, data: Path, reports: Path) -> dict[str, Any]:
    """Write `metrics.json` and `losses.csv`.

    Args:
        data: holds the losses of each run's documents.
        reports: of the profile.

    Returns:
        {corpus: {model: {measure: mean over seeds}}}, with how many seeds there are and how many of them failed. A measure that a failed
        seed lacks is None; one that a corpus does not have (words of code) is left out.
    """
    usual = parameters.comparison_runs()[0]
    names = {run: model_name(run, usual) for run in parameters.compared_runs()}
    rows = [{**run_row(run, reports), "model": name} for run, name in names.items()]
    content: dict[str, Any] = {}
    for mean in means(rows, ("corpus", "model")):
        group = [row for row in rows if (row["corpus"], row["model"]) == (mean["corpus"], mean["model"])]
        failed = sum(row["status"] != "ok" for row in group)
        measured = {measure: mean[measure] for measure in MEASURES if mean[measure] is not None or failed}
        counts = {"seeds": len(group), "failed_seeds": failed}
        content.setdefault(mean["corpus"], {})[mean["model"]] = {**measured, **counts}
    write_json(reports / "metrics.json", content)
    write_csv(reports / "losses.csv", [row for run, name in names.items() for row in _losses(run, name, data, reports)], LOSSES)
    return content


def _losses(run: Run, name: str, data: Path, reports: Path) -> list[dict[str, Any]]:
    if read_json(reports / "runs" / str(run) / "metrics.json")["status"] != "ok":
        return []
    found = pandas.read_parquet(data / "measures" / str(run) / "documents.parquet").sort_values("document")
    frame = found[["document", "tokens", "nats"]].assign(corpus=run.corpus, model=name, seed=run.seed)
    return frame.to_dict("records")
