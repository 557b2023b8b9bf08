"""How time and memory grow with the sequence length: exponents, the shape of a curve, and where two curves cross.

An exponent is the slope of a straight line through the logarithms, fitted by least squares, with Student's interval of its slope: it holds
the noise of the measurements and how far they are from a power law. The shape is a choice between a + b S and a + b S + c S^2, fitted to
relative errors and compared by Akaike's criterion with its correction for few points (Burnham and Anderson 2002, section 2.4).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log
from typing import Literal

import numpy
from scipy import optimize, stats

from wavestack.statistics import LEVEL

POINTS = 3  # that an exponent's interval needs
SHAPE_POINTS = 8  # that the criterion needs: of six it finds a quadratic term of a half in less than a third of all cases, at 3% of noise


@dataclass(frozen=True)
class Exponent:
    """Of a power law of the length: 1 is linear."""

    value: float
    low: float
    high: float
    lengths: tuple[int, ...]


def exponent(points: Mapping[int, float], level: float = LEVEL) -> Exponent | None:
    """Of what was measured at each length; None for fewer than three lengths, or where it is not above zero."""
    if len(points) < POINTS or min(points.values()) <= 0:
        return None
    lengths = sorted(points)
    x, y = numpy.log(lengths), numpy.log([points[length] for length in lengths])
    slope, intercept = map(float, numpy.polyfit(x, y, 1))
    freedom = len(lengths) - 2
    error = float(numpy.sqrt(((y - slope * x - intercept) ** 2).sum() / freedom / ((x - x.mean()) ** 2).sum()))
    reach = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    return Exponent(slope, slope - reach, slope + reach, tuple(lengths))


def difference(first: Mapping[int, float], second: Mapping[int, float]) -> Exponent | None:
    """What was measured twice has the same exponent, but for noise, where this interval holds zero: the second's less the first's.

    It is the slope of their ratio, over the lengths that both have. How far the curve is from a power law is in both and cancels, so that
    the interval holds noise alone.
    """
    return exponent({length: second[length] / first[length] for length in first.keys() & second.keys() if first[length] > 0})


def upper_half(lengths: Collection[int]) -> float:
    """Where it begins: the middle of their range, in logarithms."""
    return (min(lengths) * max(lengths)) ** 0.5


@dataclass(frozen=True)
class Shape:
    """Which of two curves describes the points better, and by how much."""

    chosen: Literal["linear", "quadratic"]
    advantage: float  # of the chosen one, in units of the criterion: above 2 it is worth saying, above 10 beyond doubt
    quadratic_share: float  # of the quadratic term in its curve at the greatest length
    terms: tuple[float, ...]  # a, b and c of the chosen curve, a + b S + c S^2 (a straight line has no c)


def shape(points: Mapping[int, float]) -> Shape | None:
    """None for fewer than eight lengths, where the criterion cannot choose, or where one is not above zero."""
    if len(points) < SHAPE_POINTS or min(points.values()) <= 0:
        return None
    lengths = numpy.array(sorted(points), dtype=float)
    values = numpy.array([points[length] for length in sorted(points)])
    powers = (lengths / lengths.max())[:, None] ** numpy.arange(3)
    criteria, fitted = [], []
    for degree in (1, 2):
        # no coefficient below zero: what takes time takes no less of it where there is more
        terms, distance = optimize.nnls(powers[:, : degree + 1] / values[:, None], numpy.ones(len(values)))
        criteria.append(_criterion(distance**2, len(values), degree + 2))  # the variance is a parameter, too
        fitted.append(terms)
    linear, quadratic = criteria
    share = float(fitted[1][2] / fitted[1].sum())
    chosen = 0 if linear <= quadratic else 1
    terms = tuple(float(term / lengths.max() ** power) for power, term in enumerate(fitted[chosen]))
    return Shape("quadratic" if chosen else "linear", abs(linear - quadratic), share, terms)


def _criterion(squares: float, points: int, parameters: int) -> float:
    """Akaike's, corrected, of Gaussian errors; squares that vanish are a perfect fit and no infinite one."""
    fit = points * log(max(squares, points * 1e-12) / points)
    return fit + 2 * parameters + 2 * parameters * (parameters + 1) / (points - parameters - 1)


@dataclass(frozen=True)
class Crossover:
    """From which length on one model takes less than another, by straight lines between the points, in logarithms.

    `length` is None where it never does, or at every length: `where` says which, and that it is unresolved where one end of the ratios'
    intervals never does and the other one always. `low` and `high` are where the ends cross; None where an end does not within the range,
    or is not known.
    """

    length: float | None
    low: float | None
    high: float | None
    where: Literal["inside", "always", "never", "unresolved"]


Ratio = tuple[float, float | None, float | None]  # with the ends of its interval


def crossover(ratios: Mapping[int, Ratio]) -> Crossover | None:
    """Where the ratio of theirs to ours goes above 1 for good.

    Args:
        ratios: at each length, the ratio of what they take to what we take, with its interval.
    """
    if len(ratios) < 2:
        return None
    lengths = sorted(ratios)
    value = _rises_above_one(lengths, [ratios[length][0] for length in lengths])
    ends: list[float | None] = []
    for end in (2, 1):  # the upper ends cross first
        known = [ratio for length in lengths if (ratio := ratios[length][end]) is not None]
        ends.append(_rises_above_one(lengths, known) if len(known) == len(lengths) else None)
    low, high = (end if end is not None and 0 < end < inf else None for end in ends)
    if ends == [0, inf]:
        return Crossover(None, None, None, "unresolved")
    if 0 < value < inf:
        return Crossover(value, low, high, "inside")
    return Crossover(None, low, high, "always" if value == 0 else "never")


def _rises_above_one(lengths: Sequence[int], ratios: Sequence[float]) -> float:
    """The length after which no ratio is below 1: 0 where none ever is, infinity where the last one is."""
    below = [place for place, ratio in enumerate(ratios) if ratio < 1]
    if not below:
        return 0
    last = below[-1]
    if last == len(lengths) - 1:
        return inf
    (s, r), (s_next, r_next) = ((log(lengths[place]), log(ratios[place])) for place in (last, last + 1))
    return exp(s - r * (s_next - s) / (r_next - r))
