"""The audit: the published comparison replayed, and its faults mended, one after another and each alone.

A rung is told in two units: as it was published (a weighted cross-entropy of a few batches, padding among it, at first), and in nats a
token of the text of all validation rows, or, where contexts differ, of what starts each. The second one means the same on every rung, so
that in it a rung is held against the one that it mends: what a change does to the gap. Another order of changes might share it out in
another way.
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
from wavestack.statistics import SEEDS, Paired

COLUMNS = (
    *("corpus", "kind", "mended", "ours", "theirs", "budget"),
    *("our_parameters", "their_parameters", "our_non_embedding_parameters", "their_non_embedding_parameters"),
    *("published_ours", "published_theirs", "published_gap", "published_low", "published_high", "held_out_ours", "held_out_theirs"),
    *("nats_ours", "nats_theirs", "nats_gap", "nats_low", "nats_high", "change_gap", "change_low", "change_high", "reason"),
)


def write_audit(parameters: Parameters, data: Path, reports: Path) -> dict[str, Any]:
    """Write `studies/audit.json` and `.csv`: a row a rung and corpus. Gaps are ours minus theirs; below zero, ours is better.

    A rung's `change_gap` is its gap in nats beyond that of the rung that it mends: the one before it, and for a change alone the first.
    Intervals need three seeds, and hold one by one: a ladder is a description, and no family of verdicts.

    Args:
        data: holds the runs' `rows.parquet`.
        reports: holds the runs' `replay.json` and `training.json`; gets the table.

    Raises:
        ValueError: two runs of a corpus were scored on different rows.
    """
    audit = parameters.profile.studies.audit
    assert audit is not None
    rungs = parameters.rungs()
    mended = [None, *(rungs[place - 1] if rung.kind == "cumulative" else rungs[0] for place, rung in enumerate(rungs[1:], 1))]
    rows, text = [], {}
    for corpus in audit.corpora:
        scored = {run: _Scored(run, data, reports) for run in parameters.audit_runs() if run.corpus == corpus}
        whole = _check_rows(scored)
        text[corpus] = {"tokens": int(next(iter(scored.values())).tokens.sum()), "whole_rows": whole}
        rows += [_row(rung, before, corpus, audit.seeds, scored) for rung, before in zip(rungs, mended, strict=True)]
    result = {"seeds": list(audit.seeds), "text": text, "rows": rows}
    write_json(reports / "studies" / "audit.json", result)
    write_csv(reports / "studies" / "audit.csv", rows, COLUMNS)
    return result


class _Scored:
    """What is known of a run; `failed` says why it has no loss."""

    def __init__(self, run: Run, data: Path, reports: Path):
        self.summary = read_json(reports / "runs" / str(run) / "replay.json")
        training = read_json(reports / "runs" / str(run) / "training.json")
        rows = pandas.read_parquet(data / "measures" / str(run) / "rows.parquet")
        self.valid, self.held_out = (rows[rows["split"] == split] for split in ("valid", "held out"))
        bad = next((found for found in (training, self.summary) if found["status"] != "ok"), None)
        self.failed = None if bad is None else f"{run} {bad['status']}: {bad['reason']}"
        self.of = "compared"  # what is compared with other runs, of each validation row; or its whole "text"

    @property
    def tokens(self) -> numpy.ndarray:
        return self.valid[f"{self.of}_tokens"].to_numpy()

    @property
    def nats(self) -> numpy.ndarray:
        return self.valid[f"{self.of}_nats"].to_numpy()


def _check_rows(scored: Mapping[Run, _Scored]) -> bool:
    """Whether whole rows are compared: where every run's hold the same text, as those of equal contexts do."""
    first, *others = scored.items()
    if all(numpy.array_equal(found.valid["text_tokens"], first[1].valid["text_tokens"]) for _, found in others):
        for found in scored.values():
            found.of = "text"
        return True
    for run, found in others:
        if not numpy.array_equal(found.tokens, first[1].tokens):
            counts = [f"{len(each.tokens):,} rows of {each.tokens.sum():,} tokens" for each in (first[1], found)]
            raise ValueError(
                f"{first[0]} was scored on {counts[0]} and {run} on {counts[1]}; runs of unequal tokenizers or contexts are not compared"
            )
    return False


def _row(rung: Rung, before: Rung | None, corpus: str, seeds: Sequence[int], scored: Mapping[Run, _Scored]) -> dict[str, Any]:
    ours, theirs = _sides(rung, corpus, seeds, scored)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"corpus": corpus, "kind": rung.kind, "mended": rung.name, "ours": rung.ours, "theirs": rung.theirs, "budget": rung.budget}
    for whose, side in (("our", ours), ("their", theirs)):
        row |= {f"{whose}_{which}": side[0].summary[which] for which in ("parameters", "non_embedding_parameters")}
    row["seeds"] = list(seeds)
    failed = next((run.failed for run in (*ours, *theirs) if run.failed), None)
    if failed:
        return row | {"reason": failed}
    published = [[published_loss(run.valid, rung.replay) for run in side] for side in (ours, theirs)]
    row |= dict(zip(("published_ours", "published_theirs"), map(fmean, published), strict=True))
    first, second = (rung.replay.scale * numpy.array([batch_means(run.valid, rung.replay) for run in side]) for side in (ours, theirs))
    row |= _told(
        "published", _difference(first - second, numpy.ones(first.shape[1]))
    )  # a batch counts as another, however many tokens it has
    if all(len(run.held_out) for run in (*ours, *theirs)):
        held_out = [fmean(published_loss(run.held_out, rung.replay) for run in side) for side in (ours, theirs)]
        row |= dict(zip(("held_out_ours", "held_out_theirs"), held_out, strict=True))
    nats = [fmean(float(run.nats.sum()) for run in side) / int(ours[0].tokens.sum()) for side in (ours, theirs)]
    row |= dict(zip(("nats_ours", "nats_theirs"), nats, strict=True))
    gaps = _gaps(ours, theirs)
    row |= _told("nats", _difference(gaps, ours[0].tokens))
    earlier = ([], []) if before is None else _sides(before, corpus, seeds, scored)
    if before is not None and not any(run.failed for side in earlier for run in side):
        row |= _told("change", _difference(gaps - _gaps(*earlier), ours[0].tokens))
    return row


def _sides(rung: Rung, corpus: str, seeds: Sequence[int], scored: Mapping[Run, _Scored]) -> tuple[list[_Scored], list[_Scored]]:
    ours, theirs = ([scored[run] for run in side] for side in rung.runs(corpus, seeds))
    return ours, theirs


def _gaps(ours: Sequence[_Scored], theirs: Sequence[_Scored]) -> numpy.ndarray:
    """Nats of each validation row under our model beyond theirs: seeds x rows."""
    first, second = (numpy.stack([run.nats for run in side]) for side in (ours, theirs))
    return numpy.asarray(first - second)


def _difference(gaps: numpy.ndarray, weights: numpy.ndarray) -> Paired:
    """Of seeds x rows (or batches); of one seed or row alone what the others say of chance is all that is known."""
    if min(gaps.shape) > 1:
        return statistics.paired(gaps, numpy.zeros_like(gaps), weights.astype(float))
    by_seed = gaps.sum(1) / weights.sum()
    deviation = float(by_seed.std(ddof=1)) if len(by_seed) > 1 else 0.0
    return Paired(float(by_seed.mean()), tuple(map(float, by_seed)), deviation, 0.0)


def _told(unit: str, gap: Paired) -> dict[str, Any]:
    low, high = statistics.interval(gap) if len(gap.by_seed) >= SEEDS else (None, None)
    assert isfinite(gap.nats)
    return {f"{unit}_gap": gap.nats, f"{unit}_gaps": list(gap.by_seed), f"{unit}_low": low, f"{unit}_high": high}
