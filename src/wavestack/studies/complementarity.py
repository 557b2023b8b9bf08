"""Complementarity: what the lanes of trained models do, put together over seeds; knock-outs with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy
import pandas

from wavestack import statistics
from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import Parameters, Run
from wavestack.statistics import SEEDS, Paired
from wavestack.studies.results import document_nats

COLUMNS = ("corpus", "spec", "lane", "seeds", "nats_per_token", "low", "high", "level", "reason")


def write_complementarity(parameters: Parameters, data: Path, reports: Path) -> dict[str, Any]:
    """Write `studies/complementarity.json`, and its knock-outs as `.csv`.

    Knock-outs of all lanes on all corpora are one family: their verdicts hold together (Holm).

    Args:
        data: holds the runs' `knockouts.parquet` and `documents.parquet`.
        reports: holds the runs' `complementarity.json`; gets the tables.

    Returns:
        knockouts: what is lost without each lane, in nats a token. blocks: of each corpus and block the means over seeds of what
        `evaluation.complementarity` measured.
    """
    study = parameters.profile.studies.complementarity
    assert study is not None
    entries: list[dict[str, Any]] = []
    differences: list[Paired | None] = []
    blocks: list[dict[str, Any]] = []
    for corpus in study.corpora:
        runs = [run for run in parameters.complementarity_runs() if run.corpus == corpus]
        found = [read_json(reports / "runs" / str(run) / "complementarity.json") for run in runs]
        blocks += [{"corpus": corpus, "block": place, **_mean(list(each))} for place, each in enumerate(zip(*_blocks(found), strict=True))]
        unscored = next((run for run in runs if pandas.read_parquet(data / "measures" / str(run) / "documents.parquet").empty), None)
        for lane in found[0]["lanes"]:
            entry = {"corpus": corpus, "spec": study.spec, "lane": lane, "seeds": list(study.seeds)}
            if unscored is not None:
                entries.append(entry | {"nats": [], "nats_per_token": None, "reason": f"{unscored} diverged"})
                differences.append(None)
                continue
            whole, tokens = document_nats(runs, data)
            lost = _knocked_out(runs, lane, data)
            by_seed = ((lost - whole).sum(1) / tokens.sum()).tolist()
            reason = None if len(runs) >= SEEDS and len(tokens) > 1 else "too few seeds or documents for an interval"
            entries.append(entry | {"nats": by_seed, "nats_per_token": fmean(by_seed), "reason": reason})
            differences.append(None if reason else statistics.paired(lost, whole, tokens))
    for entry, interval in zip(entries, statistics.family(differences), strict=True):
        entry |= {"low": None, "high": None, "level": None} if interval is None else interval._asdict()
    result = {"knockouts": entries, "blocks": blocks}
    write_json(reports / "studies" / "complementarity.json", result)
    write_csv(reports / "studies" / "complementarity.csv", entries, COLUMNS)
    return result


def _knocked_out(runs: Sequence[Run], lane: str, data: Path) -> numpy.ndarray:
    """Nats of each document without a lane, runs x documents, in the order of the split."""
    tables = [pandas.read_parquet(data / "measures" / str(run) / "knockouts.parquet") for run in runs]
    return numpy.stack([table[table["lane"] == lane].sort_values("document")["nats"].to_numpy() for table in tables])


def _blocks(found: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    return [seed["blocks"] for seed in found]


def _mean(seeds: Sequence[Any]) -> Any:
    """Of the same content by seed: numbers are averaged, lists and dicts entry by entry, and names are what they are.

    A class of tokens that one seed's sample has, another's has, too: they look at the same documents.
    """
    first = seeds[0]
    if isinstance(first, dict):
        return {key: _mean([seed[key] for seed in seeds]) for key in first}
    if isinstance(first, list):
        return [_mean(list(each)) for each in zip(*seeds, strict=True)]
    return first if isinstance(first, str | int) else fmean(seeds)
