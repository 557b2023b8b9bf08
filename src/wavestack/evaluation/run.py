"""The measures of one run on one split."""

from pathlib import Path
from typing import Any

import numpy
import pandas
import torch

from wavestack.allocation import keep_freed_memory
from wavestack.artifacts import read_json, write_csv, write_json, written_atomically
from wavestack.corpora.tokens import TokenFile
from wavestack.device import available, round_products
from wavestack.evaluation.likelihood import Window, by_document, scored_windows, summary
from wavestack.evaluation.slices import by_slice
from wavestack.params import Parameters, Run
from wavestack.training.checkpoint import load_model


def evaluate_run(parameters: Parameters, run: Run, tokens: Path, trained: Path, data: Path, reports: Path) -> dict[str, Any]:
    """Score the best checkpoint of a run on the whole validation split.

    Args:
        tokens: folder of the corpus's token files.
        trained: holds the run's `best`.
        data: gets `documents.parquet`, a row a document.
        reports: holds the run's `training.json`; gets `metrics.json` and `slices.csv`, deterministic values only.

    Returns:
        The content of `metrics.json`. A run that diverged is not scored, and says so.
    """
    split = TokenFile.open(tokens, "valid")
    metrics, losses, scored = score(parameters, run, split, trained, reports)
    slices = by_slice(split, scored, TokenFile.open(tokens, "train").counts())
    write_csv(reports / "slices.csv", slices.to_dict("records"), list(slices))
    with written_atomically(data / "documents.parquet") as temporary:
        losses.to_parquet(temporary, index=False)
    metrics["split"] = "valid"
    write_json(reports / "metrics.json", metrics)
    return metrics


def score(
    parameters: Parameters, run: Run, split: TokenFile, trained: Path, reports: Path
) -> tuple[dict[str, Any], pandas.DataFrame, list[tuple[Window, numpy.ndarray]]]:
    """What is known of the best checkpoint of a run on a split; its losses by document, and by window. Of a run that diverged, none."""
    keep_freed_memory()
    training = read_json(reports / "training.json")
    model = load_model(trained / "best")
    total, non_embedding = model.parameter_counts()
    metrics = {
        "status": training["status"],
        "reason": training["reason"],
        "parameters": total,
        "non_embedding_parameters": non_embedding,
        "training_tokens": training["tokens"],
        "best_step": training["best_step"],
        "steps": training["steps"],
    }
    documents = range(len(split)) if training["status"] == "ok" else []
    training_parameters = parameters.training(run)
    torch.set_num_threads(training_parameters.threads)
    torch.use_deterministic_algorithms(training_parameters.device == "cpu")
    round_products(training_parameters.device, "float32")
    model.to(available(training_parameters.device))
    scored = list(scored_windows(model, split, documents, model.context, parameters.profile.evaluation.batch_tokens))
    losses = by_document(split, documents, scored)
    if len(losses):
        metrics |= summary(losses, parameters.corpora[run.corpus].words != "none")
    return metrics, losses, scored
