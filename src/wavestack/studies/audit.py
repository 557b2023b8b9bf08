"""The audit: the published comparison replayed, and its faults mended, one after another and each alone.

A rung is told in two units: as it was published (a weighted cross-entropy of a few batches, padding among it, at first), and in nats a
token of the text that starts each validation document. The second one means the same on every rung.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy
import pandas

from wavestack import statistics
from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.evaluation.replay import batch_means, published_loss
from wavestack.params import Parameters, Run, Rung
from wavestack.schema import Replay
from wavestack.statistics import SEEDS, Paired

COLUMNS = (
    *("corpus", "kind", "mended", "ours", "theirs", "our_parameters", "their_parameters"),
    *("published_ours", "published_theirs", "published_gap", "published_low", "published_high", "held_out_ours", "held_out_theirs"),
    *("nats_ours", "nats_theirs", "nats_gap", "nats_low", "nats_high", "reason"),
)


def write_audit(parameters: Parameters, data: Path, reports: Path) -> dict[str, Any]:
    """Write `studies/audit.json` and `.csv`: a row a rung and corpus. Gaps are ours minus theirs; below zero, ours is better.

    Intervals need three seeds, and hold one by one: a ladder is a description, and no family of verdicts.

    Args:
        data: holds the runs' `rows.parquet`.
        reports: holds the runs' `replay.json` and `training.json`; gets the table.

    Raises:
        ValueError: two runs that are compared were scored on different rows.
    """
    audit = parameters.profile.studies.audit
    assert audit is not None
    scored = {run: _Scored(run, data, reports) for run in parameters.audit_runs()}
    rows = [_row(rung, corpus, audit.seeds, scored) for corpus in audit.corpora for rung in parameters.rungs()]
    result = {"seeds": list(audit.seeds), "rows": rows}
    write_json(reports / "studies" / "audit.json", result)
    write_csv(reports / "studies" / "audit.csv", rows, COLUMNS)
    return result


class _Scored:
    """What is known of a run; `failed` says why it has no loss."""

    def __init__(self, run: Run, data: Path, reports: Path):
        summary = read_json(reports / "runs" / str(run) / "replay.json")
        training = read_json(reports / "runs" / str(run) / "training.json")
        rows = pandas.read_parquet(data / "measures" / str(run) / "rows.parquet")
        self.valid, self.held_out = (rows[rows["split"] == split] for split in ("valid", "held out"))
        self.parameters = summary["parameters"]
        bad = next((found for found in (training, summary) if found["status"] != "ok"), None)
        self.failed = None if bad is None else f"{run} {bad['status']}: {bad['reason']}"


def _row(rung: Rung, corpus: str, seeds: Sequence[int], scored: Mapping[Run, _Scored]) -> dict[str, Any]:
    ours, theirs = ([scored[run] for run in side] for side in rung.runs(corpus, seeds))
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"corpus": corpus, "kind": rung.kind, "mended": rung.name, "ours": rung.ours, "theirs": rung.theirs}
    row |= {"our_parameters": ours[0].parameters, "their_parameters": theirs[0].parameters, "seeds": list(seeds)}
    failed = next((run.failed for run in (*ours, *theirs) if run.failed), None)
    if failed:
        return row | {"reason": failed}
    published = [[published_loss(run.valid, rung.replay) for run in side] for side in (ours, theirs)]
    row |= dict(zip(("published_ours", "published_theirs"), map(fmean, published), strict=True))
    row |= _gap("published", _over_batches(ours, theirs, rung.replay) if len(seeds) > 1 else _alone(*published))
    if all(len(run.held_out) for run in (*ours, *theirs)):
        held_out = [fmean(published_loss(run.held_out, rung.replay) for run in side) for side in (ours, theirs)]
        row |= dict(zip(("held_out_ours", "held_out_theirs"), held_out, strict=True))
    nats = [[run.valid["compared_nats"].sum() / run.valid["compared_tokens"].sum() for run in side] for side in (ours, theirs)]
    row |= dict(zip(("nats_ours", "nats_theirs"), (float(fmean(side)) for side in nats), strict=True))
    return row | _gap("nats", _over_rows(ours, theirs) if len(seeds) > 1 and len(ours[0].valid) > 1 else _alone(*nats))


def _alone(ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """A difference of which seeds alone are known."""
    gaps = numpy.subtract(ours, theirs)
    deviation = float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    return Paired(float(gaps.mean()), tuple(map(float, gaps)), deviation, 0.0)


def _over_batches(ours: Sequence[_Scored], theirs: Sequence[_Scored], replay: Replay) -> Paired:
    """The published unit over seeds and other batches: each batch counts as much as another, however many tokens it has."""
    first, second = (replay.scale * numpy.array([batch_means(run.valid, replay) for run in side]) for side in (ours, theirs))
    batches = first.shape[1]
    if batches == 1:
        return _alone(first[:, 0].tolist(), second[:, 0].tolist())
    return statistics.paired(first, second, numpy.ones(batches))


def _over_rows(ours: Sequence[_Scored], theirs: Sequence[_Scored]) -> Paired:
    tokens = ours[0].valid["compared_tokens"].to_numpy()
    for run in (*ours, *theirs):
        if list(run.valid["compared_tokens"]) != list(tokens):
            found = f"{len(tokens):,} rows of {tokens.sum():,} tokens and on {len(run.valid):,} of {run.valid['compared_tokens'].sum():,}"
            raise ValueError(f"runs of one rung were scored on {found}; runs of unequal tokenizers or contexts are not compared")
    first, second = (numpy.stack([run.valid["compared_nats"].to_numpy() for run in side]) for side in (ours, theirs))
    return statistics.paired(first, second, tokens.astype(float))


def _gap(unit: str, gap: Paired) -> dict[str, Any]:
    low, high = statistics.interval(gap) if len(gap.by_seed) >= SEEDS else (None, None)
    assert isfinite(gap.nats)
    return {f"{unit}_gap": gap.nats, f"{unit}_gaps": list(gap.by_seed), f"{unit}_low": low, f"{unit}_high": high}
