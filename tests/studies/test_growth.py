"""Exponents, shapes and crossovers against planted ones."""

import numpy
import pytest

from wavestack.studies.growth import Exponent, crossover, difference, exponent, shape, upper_half

LENGTHS = [128, 256, 512, 1024, 2048, 4096, 8192, 16384]


def noisy(values, seed, noise=0.03):
    generator = numpy.random.default_rng(seed)
    return {length: value * numpy.exp(noise * generator.standard_normal()) for length, value in zip(LENGTHS, values, strict=True)}


@pytest.mark.parametrize("planted", [1.0, 1.5])
def test_an_interval_holds_the_planted_exponent_as_often_as_it_says(planted):
    """1,000 sweeps with 3% of noise: 95% is 950, give or take 3 times 7."""
    held = 0
    for seed in range(1000):
        found = exponent(noisy([1e-6 * length**planted for length in LENGTHS], seed))
        held += found.low <= planted <= found.high
        assert abs(found.value - planted) < 0.05
    assert 929 <= held <= 971


def test_an_exponent_by_hand():
    found = exponent({1: 2.0, 2: 4.0, 4: 8.0})
    assert (found.value, found.low, found.high) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))
    assert found.lengths == (1, 2, 4)
    # logarithms 0, 1, 2 to base 2 against 0, 1, 1: slope 1/2, residuals -1/6, 1/3, -1/6, error sqrt(1/6 / 1 / 2), t of 1 degree 12.706
    found = exponent({1: 1.0, 2: 2.0, 4: 2.0})
    assert found.value == pytest.approx(0.5)
    assert found.high - found.value == pytest.approx(12.7062 * (1 / 12) ** 0.5, rel=1e-4)


def test_two_rounds_agree_as_often_as_the_interval_says():
    """1,000 pairs of sweeps, the second one with twice the noise: 95% is 950, give or take 3 times 7."""
    line = [1e-6 * length for length in LENGTHS]
    pairs = [(exponent(noisy(line, 2 * seed)), exponent(noisy(line, 2 * seed + 1, 0.06))) for seed in range(1000)]
    found = [difference(*pair) for pair in pairs]
    assert 929 <= sum(each.low <= 0 <= each.high for each in found) <= 971
    assert all(each.value == second.value - first.value for each, (first, second) in zip(found, pairs, strict=True))


def test_a_difference_by_hand():
    """Errors of 0.3 and 0.4 are one of 0.5; of 5 and 5 lengths, 0.25^2 / (0.09^2 / 3 + 0.16^2 / 3) = 5.564 degrees of freedom, t 2.4941."""
    t = 3.182446  # of 3 degrees
    first, second = Exponent(1.0, 1 - 0.3 * t, 1 + 0.3 * t, (1, 2, 4, 8, 16)), Exponent(1.2, 1.2 - 0.4 * t, 1.2 + 0.4 * t, (1, 2, 4, 8, 16))
    found = difference(first, second)
    assert found.value == pytest.approx(0.2)
    assert found.high - found.value == pytest.approx(2.4941 * 0.5, rel=1e-3)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_points_on_a_line_differ_by_what_they_differ():
    exact = [Exponent(value, value, value, (1, 2, 4)) for value in (1.0, 1.5)]
    assert difference(*exact).low == difference(*exact).high == 0.5


def test_two_points_have_no_exponent():
    assert exponent({128: 1.0, 256: 2.0}) is None
    assert exponent({128: 0.0, 256: 2.0, 512: 3.0}) is None


def test_the_upper_half_is_of_the_logarithms():
    assert [length for length in LENGTHS if length >= upper_half(LENGTHS)] == [2048, 4096, 8192, 16384]


@pytest.mark.parametrize(("quadratic", "expected"), [(0.0, "linear"), (0.3, "quadratic")])
def test_the_shape_is_the_planted_one(quadratic, expected):
    """A term of 30% at the greatest length is found in every sweep; where there is none, one in twenty may be taken in."""
    values = [1e-3 + (1 - quadratic) * length / 16384 + quadratic * (length / 16384) ** 2 for length in LENGTHS]
    found = [shape(noisy(values, seed)) for seed in range(200)]
    assert sum(each.chosen == expected for each in found) >= 190
    if quadratic:
        assert numpy.mean([each.quadratic_share for each in found]) == pytest.approx(quadratic, rel=0.1)


def test_a_shape_needs_eight_lengths():
    assert shape(dict.fromkeys(LENGTHS[:7], 1.0)) is None


def test_where_curves_cross():
    """Ratios of 1/2 at 1,024 and 2 at 4,096 are 1 half-way between, in logarithms."""
    found = crossover({256: (0.4, 0.3, 0.5), 1024: (0.5, 0.25, 0.9), 4096: (2.0, 1.5, 4.0)})
    assert found.where == "inside"
    assert found.length == pytest.approx(2048)
    assert 1024 < found.low < found.length < found.high < 4096


def test_a_crossing_that_is_undone_is_none():
    ratio = {128: 2.0, 512: 0.5, 1024: 0.5, 2048: 2.0}
    assert crossover({length: (value, value, value) for length, value in ratio.items()}).length == pytest.approx(1448.2, rel=1e-3)


@pytest.mark.parametrize(("ratio", "where"), [(2.0, "always"), (0.5, "never")])
def test_curves_that_do_not_cross(ratio, where):
    found = crossover(dict.fromkeys(LENGTHS, (ratio, None, None)))
    assert (found.length, found.where) == (None, where)


def test_an_end_that_is_not_known():
    found = crossover({1024: (0.5, None, None), 4096: (2.0, 1.5, 4.0)})
    assert (found.length, found.low, found.high) == (pytest.approx(2048), None, None)
