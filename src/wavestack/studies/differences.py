"""What differences between specs come to that are looked at together: seed by seed, and as a family with intervals and verdicts."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from wavestack import statistics
from wavestack.params import Run
from wavestack.statistics import SEEDS, Interval, Paired


def points(ours: Sequence[Run], theirs: Sequence[Run], rows: Mapping[Run, Mapping[str, Any]]) -> dict[str, Any]:
    """Nats a token of `ours` minus those of `theirs`, seed by seed; None where a run diverged."""
    found = [(rows[run]["nats_per_token"], rows[other]["nats_per_token"]) for run, other in zip(ours, theirs, strict=True)]
    nats = [None if None in pair else pair[0] - pair[1] for pair in found]
    known = [value for value in nats if value is not None]
    percent = statistics.percent(fmean(known)) if len(known) == len(nats) else None
    return {"seeds": [run.seed for run in ours], "nats": nats, "perplexity_percent": percent}


def has_interval(entry: Mapping[str, Any]) -> bool:
    """Whether there are seeds enough, and none of them diverged."""
    return len(entry["nats"]) >= SEEDS and None not in entry["nats"]


def judge(entries: Sequence[dict[str, Any]], differences: Sequence[Paired | None], uncertain: str | None) -> None:
    """Add to each entry what may be said of it; their verdicts hold together (Holm).

    Args:
        entries: with their `points`.
        differences: of each entry, over seeds and documents; None where there is no interval.
        uncertain: why there is no verdict, whatever the interval; None where there may be one.
    """
    for entry, difference, sure in zip(entries, differences, statistics.family(differences), strict=True):
        entry |= _nothing(entry) if difference is None or sure is None else _judged(difference, sure, uncertain)


def _judged(difference: Paired, sure: Interval, uncertain: str | None) -> dict[str, Any]:
    return {
        "level": sure.level,
        "low_percent": statistics.percent(sure.low),
        "high_percent": statistics.percent(sure.high),
        "p": statistics.p_value(difference),
        "seeds_for_one_percent": statistics.seeds_to_resolve(difference, level=sure.level),
        "verdict": "undecided" if uncertain else statistics.verdict(sure.low, sure.high),
        "reason": uncertain,
    }


def _nothing(entry: Mapping[str, Any]) -> dict[str, Any]:
    seeds = len(entry["seeds"])
    if None in entry["nats"]:
        reason = "a run is missing or diverged"
    elif seeds >= SEEDS:
        reason = "the split is one document, which gives no interval for others"
    else:
        reason = "1 seed gives a point, no interval" if seeds == 1 else f"{seeds} seeds give points, no interval"
    known = dict.fromkeys(("level", "low_percent", "high_percent", "p", "seeds_for_one_percent"))
    return {**known, "verdict": "undecided", "reason": reason}
