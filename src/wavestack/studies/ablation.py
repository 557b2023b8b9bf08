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
from wavestack.studies.lattice import Subset, Weights, interaction_weights, removal_weights, shapley_weights
from wavestack.studies.results import COLUMNS, document_nats, means, require_equal_budgets, require_equal_text, run_row

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
    require_equal_text(runs, reports)
    averaged = [{**mean, "lanes": list(spec.variant(mean["variant"]).lanes)} for mean in means(rows, ("corpus", "variant"))]
    worths = _worths(parameters, dict(zip(runs, rows, strict=True)), data)
    result = {"rows": rows, "means": averaged, "worths": worths}
    write_json(reports / "studies" / "ablation.json", result)
    write_csv(reports / "studies" / "ablation.csv", rows, COLUMNS)
    write_csv(reports / "studies" / "worths.csv", [{**worth, "lanes": "+".join(worth["lanes"])} for worth in worths], WORTHS)
    return result


def _worths(parameters: Parameters, rows: Mapping[Run, dict[str, Any]], data: Path) -> list[dict[str, Any]]:
    """What each lane is worth on each corpus, what is lost without it, and what each pair interacts, in nats a token.

    Each of the three questions is a family of its own, over all corpora: the verdicts on its answers hold together.
    """
    study = parameters.profile.studies.ablation
    assert study is not None
    spec = parameters.specs[study.spec]
    lanes = [lane for lane in spec.lanes if lane in (study.lanes or spec.lanes)]
    asked: list[tuple[str, tuple[str, ...], Weights]] = [("lane", (lane,), shapley_weights(lanes, lane)) for lane in lanes]
    asked += [("removal", (lane,), removal_weights(lanes, lane)) for lane in lanes]
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
            differences.append(None if documents is None else _weighed(weights, *documents))
    for question in {of: None for of, *_ in asked}:
        family = [place for place, entry in enumerate(found) if entry["of"] == question]
        for place, interval in zip(family, statistics.family([differences[place] for place in family]), strict=True):
            found[place] |= {"low": None, "high": None, "level": None} if interval is None else interval._asdict()
    return found


def _by_seed(weights: Weights, runs: Mapping[Subset, Sequence[Run]], rows: Mapping[Run, dict[str, Any]]) -> list[float]:
    seeds = range(len(next(iter(runs.values()))))
    return [sum(weight * rows[runs[subset][seed]]["nats_per_token"] for subset, weight in weights.items()) for seed in seeds]


def _documents(runs: Mapping[Subset, Sequence[Run]], data: Path) -> tuple[dict[Subset, numpy.ndarray], numpy.ndarray] | None:
    """Nats of each document under each subset, seeds x documents, and the documents' tokens; None where there is one document."""
    nats, tokens = document_nats([run for of in runs.values() for run in of], data)
    by_subset = dict(zip(runs, nats.reshape(len(runs), -1, len(tokens)), strict=True))
    return (by_subset, tokens) if len(tokens) > 1 else None


def _weighed(weights: Weights, nats: Mapping[Subset, numpy.ndarray], tokens: numpy.ndarray) -> Paired:
    total = numpy.sum([weight * nats[subset] for subset, weight in weights.items()], axis=0)
    return statistics.paired(total, numpy.zeros_like(total), tokens)
