"""What a difference between two models may be called.

The two are trained with the same seeds, which share weights' randomness and the order of the data, and scored on the same documents. The
difference is in nats a token: the exponential of it is a ratio of perplexities. Two things are left to chance, the seed of a training and
the documents that happen to be in the split, and an interval must hold for other ones of both:

    variance = (variance between seeds) / seeds + variance of the documents' weighted mean, seeds averaged

with Student's t of seeds - 1 degrees of freedom, however many documents there are. With no difference between the models it is refuted at
most as often as the level says, at 2, 3 and 5 seeds (simulated in the tests; a percentile bootstrap over 3 seeds refutes 14% at 5%).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, inf, log1p, sqrt
from typing import NamedTuple

import numpy
from scipy import stats

LEVEL = 0.95
SEEDS = 3  # below, a study shows points: of two seeds an interval is true, and thirteen times as wide as their distance
POWER = 0.8


@dataclass(frozen=True)
class Paired:
    """A difference in nats a token, first minus second: below zero, the first predicts better."""

    nats: float  # mean over seeds
    by_seed: tuple[float, ...]
    seed_deviation: float  # standard deviation between seeds
    document_error: float  # standard error of the mean that comes from the choice of documents

    @property
    def freedom(self) -> int:
        return len(self.by_seed) - 1

    @property
    def error(self) -> float:
        """Standard error of the mean."""
        return sqrt(self.seed_deviation**2 / len(self.by_seed) + self.document_error**2)


def paired(first: numpy.ndarray, second: numpy.ndarray, tokens: numpy.ndarray) -> Paired:
    """The difference between two models.

    Args:
        first: seeds x documents, nats of each document under the first model.
        second: of the second one; the same seeds and documents.
        tokens: of each document.

    Raises:
        ValueError: there are fewer than two seeds or two documents, or the shapes differ.
    """
    if first.shape != second.shape or first.shape[1:] != tokens.shape:
        raise ValueError(f"expected the same seeds and documents, found {first.shape}, {second.shape} and {tokens.shape} of them")
    seeds, documents = first.shape
    if min(seeds, documents) < 2:
        raise ValueError(f"an interval needs 2 seeds and 2 documents at least, and there are {seeds} and {documents}")
    by_seed = (first - second).sum(1) / tokens.sum()
    mean, document_error = mean_over_documents((first - second).mean(0), tokens)
    return Paired(mean, tuple(map(float, by_seed)), float(by_seed.std(ddof=1)), document_error)


def mean_over_documents(nats: numpy.ndarray, tokens: numpy.ndarray) -> tuple[float, float]:
    """Nats a token, and the standard error that comes from the choice of documents (of a ratio: Cochran 1977, 6.2).

    Args:
        nats: of each document, a loss or a difference.
        tokens: of each document.
    """
    mean, count = nats.sum() / tokens.sum(), len(tokens)
    left = nats - mean * tokens  # beyond its share
    return float(mean), float(sqrt(count / (count - 1) * (left**2).sum()) / tokens.sum())


def interval(difference: Paired, level: float = LEVEL) -> tuple[float, float]:
    """Two-sided, in nats a token."""
    reach = float(stats.t.ppf((1 + level) / 2, difference.freedom)) * difference.error
    return difference.nats - reach, difference.nats + reach


def p_value(difference: Paired) -> float:
    """Two-sided, that a difference as large as this one shows where there is none."""
    if difference.error == 0:
        return 1.0 if difference.nats == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference.nats) / difference.error, difference.freedom))


def holm_levels(p_values: Sequence[float], level: float = LEVEL) -> list[float]:
    """The level of each comparison's interval, so that any of a family errs with a probability of at most 1 - level (Holm 1979).

    The smallest p is held against (1 - level)/m, the next one against (1 - level)/(m - 1), and so on until one is above; all after that
    one share its level, so that a comparison is decided if and only if its interval leaves zero out.
    """
    m = len(p_values)
    levels = [0.0] * m
    alpha, stopped = 1 - level, False
    for place, which in enumerate(sorted(range(m), key=lambda k: p_values[k])):
        if not stopped:
            alpha = (1 - level) / (m - place)
            stopped = p_values[which] >= alpha
        levels[which] = 1 - alpha
    return levels


class Interval(NamedTuple):
    """In nats a token."""

    low: float
    high: float
    level: float


def family(differences: Sequence[Paired | None]) -> list[Interval | None]:
    """Intervals of differences that are looked at together; None for one that there is not.

    What holds together is which of them leave zero out (Holm). That all cover at once is not promised: that would take all of them at the
    level of the first.
    """
    levels = iter(holm_levels([p_value(difference) for difference in differences if difference is not None]))
    found: list[Interval | None] = []
    for difference in differences:
        if difference is None:
            found.append(None)
        else:
            level = next(levels)
            found.append(Interval(*interval(difference, level), level))
    return found


def percent(nats: float) -> float:
    """A difference in nats a token as one of perplexity, in percent of the second model's."""
    return 100 * expm1(nats) if nats < 700 else inf


def seeds_to_resolve(difference: Paired, effect: float = 1.0, power: float = POWER, level: float = LEVEL, most: int = 1000) -> int | None:
    """How many seeds show an effect of so many percent with this power, if seeds and documents vary as they did here.

    None where more than `most` would not: the documents alone vary too much, and more text is needed.
    """
    nats = log1p(effect / 100)
    for seeds in range(2, most + 1):
        error = sqrt(difference.seed_deviation**2 / seeds + difference.document_error**2)
        if error == 0:
            return seeds
        least = stats.t.ppf((1 + level) / 2, seeds - 1)
        if stats.nct.sf(least, seeds - 1, nats / error) >= power:
            return seeds
    return None


def verdict(low: float, high: float) -> str:
    """Of the first model against the second, from the interval of their difference: better, worse, or no difference."""
    if low <= 0 <= high:
        return "no difference"
    return "better" if high < 0 else "worse"
