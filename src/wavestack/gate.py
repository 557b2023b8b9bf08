"""Whether a model got worse: the metrics of two versions of the project, and for each a verdict that an error of chance is allowed for.

A loss is noise from seed to seed, and so a worsening is one when it is larger than a floor and larger than chance:

- where both versions have three seeds in common, seeds are paired (the same weights at the start, the same order of the data);
- otherwise the current seeds are set against the spread of the baseline's, of which there must be three at least;

with the documents' own variance in either case (`statistics.py`), one-sided, and corrected for the family by Holm's method, so that a
version that is no worse is refused in at most one of twenty cases, however many metrics there are. A metric that a worsening of 2% would be
lost in is not judged, unless its whole interval is on the better side: what cannot be seen is no pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import expm1, inf, log1p, sqrt
from typing import Any, Literal, Protocol

import numpy
import pandas
from scipy import stats

from wavestack.statistics import holm_levels, mean_over_documents

LEVEL = 0.95
FLOOR = 0.5  # percent of perplexity; a loss that is worse by less is none
SOUGHT = 2.0  # percent of perplexity: the worsening whose power is told
POWER = 0.5  # of finding it, below which a loss is not judged
BEYOND_DOUBT = 1e6  # standard errors; SciPy's noncentral t is NaN where there are some 1e13, as between a version and itself
SEEDS = 3  # whose spread says something
SIZE_TOLERANCE = 1.0  # percent, of parameters: what equal budgets allow

CANNOT_JUDGE = 2  # exit status
Status = Literal["pass", "regression", "cannot judge"]
Direction = Literal["lower", "equal"]
# what is judged; bits per byte and perplexities say the same as nats in other units
DIRECTIONS: dict[str, Direction] = {"nats_per_token": "lower", "parameters": "equal", "training_tokens": "equal", "failed_seeds": "lower"}


@dataclass(frozen=True)
class Verdict:
    """Of one metric. Effects and intervals of losses are in percent of perplexity, those of counts in percent."""

    metric: str  # corpus.model.measure
    direction: Direction
    baseline: float | None
    current: float | None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    power: float | None = None  # of finding a worsening of 2%
    verdict: Status = "cannot judge"
    reason: str = ""


class Version(Protocol):
    """One version of a profile's results."""

    def metrics(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """The content of `metrics.json`."""

    def losses(self) -> pandas.DataFrame | None:
        """`losses.csv`; None where there is none."""

    def text(self, corpus: str) -> Mapping[str, Any] | None:
        """What pins a corpus and its tokenizer; None where that is not known."""


@dataclass(frozen=True)
class Difference:
    """Of a loss between two versions, in nats a token: above zero the current one is worse."""

    nats: float
    error: float
    freedom: int

    @property
    def p_value(self) -> float:
        """Of being no worse, one-sided."""
        if self.error == 0:
            return float(self.nats <= 0)
        return float(stats.t.sf(self.nats / self.error, self.freedom))

    def interval(self, level: float) -> tuple[float, float]:
        reach = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error
        return self.nats - reach, self.nats + reach

    def power(self, nats: float, level: float) -> float:
        """Of being called worse where it is worse by so much."""
        least = stats.t.ppf(level, self.freedom)
        shift = nats / max(self.error, nats / BEYOND_DOUBT)
        return float(stats.nct.sf(least, self.freedom, shift))


def judge(baseline: Version, current: Version) -> list[Verdict]:
    """A verdict for every metric of either version, in the order of their names."""
    before, now = _flat(baseline.metrics()), _flat(current.metrics())
    known = {corpus: _texts_differ(baseline, current, corpus) for corpus in {name[0] for name in {**before, **now}}}
    verdicts: list[Verdict] = []
    family: list[tuple[int, Name, Difference]] = []
    for name in sorted({**before, **now}):
        verdict = _without_chance(name, before.get(name), now.get(name), known[name[0]])
        if verdict is None:
            difference = _difference(baseline.losses(), current.losses(), *name[:2])
            if isinstance(difference, str):
                verdict = _undecided(name, before[name], now[name], difference)
            else:
                family.append((len(verdicts), name, difference))
                verdict = _undecided(name, before[name], now[name], "")
        verdicts.append(verdict)
    levels = holm_levels([difference.p_value for _, _, difference in family], LEVEL)
    for (place, _, difference), level in zip(family, levels, strict=True):
        verdicts[place] = _by_chance(verdicts[place], difference, level)
    return verdicts


def exit_status(verdicts: Sequence[Verdict]) -> int:
    """0: nothing is worse. 1: something is. 2: something cannot be judged, which is never a pass."""
    found = {verdict.verdict for verdict in verdicts}
    return 1 if "regression" in found else CANNOT_JUDGE if "cannot judge" in found or not verdicts else 0


def to_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {"exit": exit_status(verdicts), "metrics": [asdict(verdict) for verdict in verdicts]}


Name = tuple[str, str, str]  # corpus, model, measure


def _flat(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[Name, Any]:
    return {
        (corpus, model, measure): value
        for corpus, models in metrics.items()
        for model, measures in models.items()
        for measure, value in measures.items()
        if measure in DIRECTIONS
    }


def _texts_differ(baseline: Version, current: Version, corpus: str) -> str | None:
    """What keeps the losses of a corpus from being compared."""
    before, now = baseline.text(corpus), current.text(corpus)
    if before is None or now is None:
        return f"which text it is of is not known in the {'baseline' if before is None else 'current version'}"
    for key in before:
        if before[key] != now.get(key):
            return f"the {key} is another one ({before[key]} before, {now.get(key)} now)"
    return None


def _undecided(name: Name, before: Any, now: Any, reason: str) -> Verdict:
    known = [value if isinstance(value, int | float) and abs(value) < inf else None for value in (before, now)]
    return Verdict(".".join(name), DIRECTIONS[name[2]], known[0], known[1], reason=reason)


def _without_chance(name: Name, before: Any, now: Any, texts: str | None) -> Verdict | None:
    """The verdict where no statistics are needed; None for a loss that is to be judged."""
    if before is None or now is None:
        side = "current version" if now is None else "baseline"
        return _undecided(name, before, now, f"it has no value in the {side}: a metric that is missing, renamed or new passes nothing")
    if not all(isinstance(value, int | float) and abs(value) < inf for value in (before, now)):
        return _undecided(name, before, now, f"it is no number ({before} before, {now} now)")
    if texts is not None:
        return _undecided(name, before, now, texts)
    if name[2] == "nats_per_token":
        return None
    effect = 100 * (now - before) / before if before else (inf if now > before else 0.0)
    if name[2] == "failed_seeds":
        worse, floor, reason = now > before, 0.0, f"{now:g} seeds failed, {before:g} before"
    else:
        floor = SIZE_TOLERANCE if name[2] == "parameters" else 0.0
        worse, reason = abs(effect) > floor, "losses of unequal budgets do not compare"
    effect_or_none = effect if abs(effect) < inf else None
    status: Status = "regression" if worse else "pass"
    direction = DIRECTIONS[name[2]]
    return Verdict(".".join(name), direction, before, now, effect_or_none, floor=floor, verdict=status, reason=reason if worse else "")


def _by_chance(verdict: Verdict, difference: Difference, level: float) -> Verdict:
    """The verdict of a loss at its level of the family."""
    low, high = (100 * expm1(end) for end in difference.interval(2 * level - 1))  # two-sided, whose lower end is the one-sided bound
    effect, power = 100 * expm1(difference.nats), difference.power(log1p(SOUGHT / 100), level)
    found = {"effect": effect, "low": low, "high": high, "floor": FLOOR, "power": power}
    if low > 0 and effect > FLOOR:
        return Verdict(**{**asdict(verdict), **found, "verdict": "regression", "reason": "worse than chance and floor allow"})
    if power < POWER and high > 0:
        reason = f"a worsening of {SOUGHT:g}% would be seen in {power:.0%} of cases; more seeds are needed"
        return Verdict(**{**asdict(verdict), **found, "reason": reason})
    return Verdict(**{**asdict(verdict), **found, "verdict": "pass"})


def _difference(before: pandas.DataFrame | None, now: pandas.DataFrame | None, corpus: str, model: str) -> Difference | str:
    """The difference with its error, or why there is none."""
    if before is None or now is None:
        return f"the {'baseline' if before is None else 'current version'} has no losses.csv"
    first, second = (_table(losses, corpus, model) for losses in (before, now))
    if len(first) == 0 or len(second) == 0:
        return f"losses.csv of the {'baseline' if len(first) == 0 else 'current version'} has no documents of it"
    if not first.columns.equals(second.columns):
        return "its losses are of other documents"
    weights = numpy.array([tokens for _, tokens in first.columns], dtype=float)
    if first.isna().any(axis=None) or second.isna().any(axis=None) or len(weights) < 2:
        return "fewer than two documents have losses under every seed"
    shared = sorted(set(first.index) & set(second.index))
    if len(shared) >= SEEDS:
        by_seed = (second.loc[shared].to_numpy() - first.loc[shared].to_numpy()).sum(1) / weights.sum()
        seeds = by_seed.std(ddof=1) / sqrt(len(shared))
        return _with_documents(first.loc[shared], second.loc[shared], weights, seeds, len(shared) - 1)
    if len(first) >= SEEDS:
        spread = (first.to_numpy().sum(1) / weights.sum()).std(ddof=1)
        seeds = spread * sqrt(1 / len(first) + 1 / len(second))
        return _with_documents(first, second, weights, seeds, len(first) - 1)
    return f"too few seeds: {len(first)} before, {len(second)} now, and {SEEDS} in common or in the baseline are needed"


def _table(losses: pandas.DataFrame, corpus: str, model: str) -> pandas.DataFrame:
    """Nats, seeds x documents with their tokens."""
    chosen = losses[(losses["corpus"] == corpus) & (losses["model"] == model)]
    return chosen.pivot_table(index="seed", columns=["document", "tokens"], values="nats", aggfunc="first")


def _with_documents(first: pandas.DataFrame, second: pandas.DataFrame, weights: numpy.ndarray, seeds: float, freedom: int) -> Difference:
    """The difference of the seeds' means, whose error is the seeds' and that of the choice of documents."""
    mean, documents = mean_over_documents(second.to_numpy().mean(0) - first.to_numpy().mean(0), weights)
    return Difference(mean, sqrt(seeds**2 + documents**2), freedom)
