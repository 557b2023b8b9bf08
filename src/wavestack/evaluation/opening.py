"""Opening the test split: for frozen specs alone, by a step of its own, every opening of which is logged."""

from pathlib import Path
from typing import Any

from wavestack.artifacts import write_json, written_atomically
from wavestack.corpora.tokens import TokenFile
from wavestack.evaluation.run import score
from wavestack.openings import record
from wavestack.params import Parameters, Run
from wavestack.provenance import commit


def open_test(
    parameters: Parameters, run: Run, tokens: Path, trained: Path, data: Path, reports: Path, log: Path, fingerprint: str
) -> dict[str, Any]:
    """Score the best checkpoint of a run on the whole test split, which was not looked at before the spec was frozen.

    Args:
        tokens: folder of the corpus's token files.
        trained: holds the run's `best`.
        data: gets `test.parquet`, a row a document.
        reports: holds the run's `training.json`; gets `test.json`.
        log: CSV of all openings; gets a row before the split is read, so that one that is not finished counts, too.
        fingerprint: of the step, that is, of the model and of the code.

    Returns:
        The content of `test.json`.

    Raises:
        ValueError: code or parameters have uncommitted changes: what may still change is not frozen.
    """
    made = commit()
    if made["dirty"]:
        raise ValueError(f"the test split stays closed to {run}: code or parameters have uncommitted changes; commit what is to be tested")
    record(log, parameters.name, str(run), fingerprint, made["commit"])
    metrics, losses, _ = score(parameters, run, TokenFile.open(tokens, "test"), trained, reports)
    metrics["split"] = "test"
    with written_atomically(data / "test.parquet") as temporary:
        losses.to_parquet(temporary, index=False)
    write_json(reports / "test.json", metrics)
    return metrics
