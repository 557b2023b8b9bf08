"""Reading the results of runs."""

from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any, Literal

import numpy
import pandas

from wavestack import statistics
from wavestack.artifacts import read_json
from wavestack.params import Run
from wavestack.statistics import Paired

Split = Literal["valid", "test"]
MEASURED = {"valid": "metrics.json", "test": "test.json"}
DOCUMENTS = {"valid": "documents.parquet", "test": "test.parquet"}
# What a study's table says of a run, beside which run it is.
MEASURES = (
    "status",
    "parameters",
    "non_embedding_parameters",
    "training_tokens",
    "best_step",
    "steps",
    "nats_per_token",
    "bits_per_byte",
    "perplexity",
    "word_perplexity",
    "seconds",
    "tokens_per_second",
)
COLUMNS = ("corpus", "spec", "budget", "variant", "seed", *MEASURES)


def run_row(run: Run, reports: Path, split: Split = "valid") -> dict[str, Any]:
    """One run as a row of COLUMNS; a measure that a diverged run does not have is None. Seconds are those of training steps."""
    folder = reports / "runs" / str(run)
    found = {**read_json(folder / MEASURED[split]), **read_json(folder / "train.timing.json")["training"]}
    return {**asdict(run), **{measure: found.get(measure) for measure in MEASURES}}


def require_equal_text(runs: Sequence[Run], reports: Path, split: Split = "valid") -> None:
    """ValueError naming both where runs on one corpus were scored on other text, or on other tokens of it.

    Of what has an interval the documents are looked at one by one (`document_nats`); a single seed has none.
    """
    first: dict[str, tuple[Run, str]] = {}
    for run in runs:
        found = read_json(reports / "runs" / str(run) / MEASURED[split])
        if found["status"] == "ok":
            scored = f"{found['documents']:,} documents of {found['tokens']:,} tokens"
            other, told = first.setdefault(run.corpus, (run, scored))
            if told != scored:
                raise ValueError(
                    f"{other} was scored on {told} and {run} on {scored}; runs of unequal tokenizers or splits are not compared"
                )


def document_nats(runs: Sequence[Run], data: Path, split: Split = "valid") -> tuple[numpy.ndarray, numpy.ndarray]:
    """Nats of each document under runs that are compared, runs x documents, and the documents' tokens.

    Raises:
        ValueError: one was scored on other documents than another.
    """
    scored = [pandas.read_parquet(data / "measures" / str(run) / DOCUMENTS[split]).sort_values("document") for run in runs]
    tokens = scored[0]["tokens"].to_numpy()
    for run, losses in zip(runs, scored, strict=True):
        if list(losses["tokens"]) != list(tokens):
            raise ValueError(
                f"{runs[0]} was scored on {len(tokens):,} documents of {tokens.sum():,} tokens and {run} on {len(losses):,} of "
                f"{losses['tokens'].sum():,}; runs of unequal tokenizers or splits are not compared"
            )
    return numpy.stack([losses["nats"].to_numpy() for losses in scored]), tokens.astype(float)


def paired_runs(ours: Sequence[Run], theirs: Sequence[Run], data: Path, split: Split = "valid") -> Paired | None:
    """The difference over seeds and documents; None where there is one document, which says nothing of others.

    Raises:
        ValueError: one was scored on other documents than another.
    """
    nats, tokens = document_nats([*ours, *theirs], data, split)
    return statistics.paired(nats[: len(ours)], nats[len(ours) :], tokens) if len(tokens) > 1 else None


def means(rows: list[dict[str, Any]], by: tuple[str, ...]) -> list[dict[str, Any]]:
    """Rows with the same `by`, averaged over their seeds in the order of first appearance; None where a seed lacks the measure.

    Perplexities are averaged as the exponentials that they are: the mean one is that of the mean loss.
    """
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    averaged = []
    for key, group in groups.items():
        values = {measure: [row[measure] for row in group] for measure in MEASURES if measure != "status"}
        mean = {
            measure: None if None in found else (geometric_mean if measure.endswith("perplexity") else fmean)(found)
            for measure, found in values.items()
        }
        averaged.append({**dict(zip(by, key, strict=True)), "seeds": [row["seed"] for row in group], **mean})
    return averaged


def require_equal_budgets(rows: list[dict[str, Any]]) -> None:
    """ValueError naming the two values where runs on one corpus do not share parameters (within 1%) and training tokens.

    One that diverged was ended early, and is not looked at.
    """
    for corpus in dict.fromkeys(row["corpus"] for row in rows):
        ended = [row for row in rows if row["corpus"] == corpus and row["status"] == "ok"]
        for measure, tolerance in (("parameters", 0.01), ("non_embedding_parameters", 0.01), ("training_tokens", 0.0)):
            least, most = (extreme(ended, key=itemgetter(measure), default=None) for extreme in (min, max))
            if least and most and least[measure] < (1 - tolerance) * most[measure]:
                raise ValueError(
                    f"{corpus}: {most['spec']}/{most['variant']} has {most[measure]:,} {measure.replace('_', ' ')} and "
                    f"{least['spec']}/{least['variant']} {least[measure]:,}; runs of unequal budgets are not compared"
                )
