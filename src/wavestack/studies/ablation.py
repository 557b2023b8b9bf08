"""The ablation grid: one spec with every subset of its lanes, at the same total parameters, and what each lane is worth."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy

from wavestack import statistics
from wavestack.artifacts import write_csv, write_json
from wavestack.params import Parameters, Run
from wavestack.statistics import SEEDS, Paired
from wavestack.studies.lattice import Subset, Weights, interaction_weights, shapley_weights
from wavestack.studies.results import COLUMNS, document_nats, means, require_equal_budgets, run_row

WORTHS = ("corpus", "of", "lanes", "nats_per_token", "low", "high", "level", "reason")


def write_ablation(parameters: Parameters, data: Path, reports: Path) -> dict[str, Any]:
    """Put the runs' measures together into `studies/ablation.json` and `.csv`, and the lanes' worths into `studies/worths.csv`.

    Args:
        data: holds the runs' losses of each document.
        reports: holds the runs' measures; gets the tables.

    Raises:
        ValueError: where runs on one corpus had unequal budgets or documents.
    """
    study = parameters.profile.studies.ablation
    assert study is not None
    spec = parameters.specs[study.spec]
    runs = parameters.ablation_runs()
    rows = [run_row(run, reports) for run in runs]
    require_equal_budgets(rows)
    averaged = [{**mean, "lanes": list(spec.variant(mean["variant"]).lanes)} for mean in means(rows, ("corpus", "variant"))]
    worths = _worths(parameters, dict(zip(runs, rows, strict=True)), data)
    result = {"rows": rows, "means": averaged, "worths": worths}
    write_json(reports / "studies" / "ablation.json", result)
    write_csv(reports / "studies" / "ablation.csv", rows, COLUMNS)
    write_csv(reports / "studies" / "worths.csv", [{**worth, "lanes": "+".join(worth["lanes"])} for worth in worths], WORTHS)
    return result


def _worths(parameters: Parameters, rows: Mapping[Run, dict[str, Any]], data: Path) -> list[dict[str, Any]]:
    """The Shapley value of each lane and the interaction of each pair on each corpus, in nats a token; one family of intervals."""
    study = parameters.profile.studies.ablation
    assert study is not None
    spec = parameters.specs[study.spec]
    lanes = [lane for lane in spec.lanes if lane in (study.lanes or spec.lanes)]
    asked: list[tuple[str, tuple[str, ...], Weights]] = [("lane", (lane,), shapley_weights(lanes, lane)) for lane in lanes]
    asked += [("pair", pair, interaction_weights(lanes, *pair)) for pair in combinations(lanes, 2)]
    found, differences = [], []
    for corpus in study.corpora:
        runs: dict[Subset, list[Run]] = {}
        for run in (run for run in rows if run.corpus == corpus):
            runs.setdefault(frozenset(spec.variant(run.variant).lanes), []).append(run)
        lost = [run for of in runs.values() for run in of if rows[run]["nats_per_token"] is None]
        documents = None if lost or len(study.seeds) < SEEDS else _documents(runs, data)
        for of, named, weights in asked:
            entry: dict[str, Any] = {"corpus": corpus, "of": of, "lanes": list(named), "seeds": list(study.seeds)}
            entry["nats"] = None if lost else _by_seed(weights, runs, rows)
            entry["nats_per_token"] = None if lost else fmean(entry["nats"])
            missing = None if documents else "too few seeds or documents for an interval"
            entry["reason"] = f"{lost[0]} is missing or diverged" if lost else missing
            found.append(entry)
            differences.append(None if documents is None else _weighed(weights, documents))
    for entry, sure in zip(found, statistics.family(differences), strict=True):
        entry |= {"low": None, "high": None, "level": None} if sure is None else sure._asdict()
    return found


def _documents(runs: Mapping[Subset, Sequence[Run]], data: Path) -> Mapping[Subset, tuple[numpy.ndarray, numpy.ndarray]] | None:
    """Nats and tokens of each document under each subset; None where there is one document, which says nothing of others."""
    found = {subset: document_nats(of, data) for subset, of in runs.items()}
    return found if all(len(tokens) > 1 for _, tokens in found.values()) else None


def _by_seed(weights: Weights, runs: Mapping[Subset, Sequence[Run]], rows: Mapping[Run, dict[str, Any]]) -> list[float]:
    seeds = range(len(next(iter(runs.values()))))
    return [sum(weight * rows[runs[subset][seed]]["nats_per_token"] for subset, weight in weights.items()) for seed in seeds]


def _weighed(weights: Weights, documents: Mapping[Subset, tuple[numpy.ndarray, numpy.ndarray]]) -> Paired:
    nats = sum(weight * documents[subset][0] for subset, weight in weights.items())
    _, tokens = next(iter(documents.values()))
    return statistics.paired(numpy.asarray(nats), numpy.zeros_like(nats), tokens)
