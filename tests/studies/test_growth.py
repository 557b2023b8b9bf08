"""Exponents, shapes and crossovers against planted ones."""

import numpy
import pytest

from wavestack.studies.growth import crossover, difference, exponent, shape, upper_half

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


@pytest.mark.parametrize("bend", [0, 1 / 16384])
@pytest.mark.parametrize("steeper", [0, 0.05])
def test_a_difference_of_rounds_is_found_as_often_as_the_interval_says(steeper, bend):
    """1,000 pairs of sweeps, the second with twice the noise, of a line and of a curve that is none: 95% is 950, give or take 3 times 7."""
    pairs = []
    for seed in range(1000):
        first = [1e-6 * length * (1 + bend * length) for length in LENGTHS]
        second = [value * length**steeper for value, length in zip(first, LENGTHS, strict=True)]
        pairs.append((noisy(first, 2 * seed, 0.01), noisy(second, 2 * seed + 1, 0.02)))
    found = [difference(*pair) for pair in pairs]
    assert 929 <= sum(each.low <= steeper <= each.high for each in found) <= 971
    assert steeper == 0 or sum(each.low > 0 for each in found) > 950
    for each, (first, second) in zip(found, pairs, strict=True):
        assert each.value == pytest.approx(exponent(second).value - exponent(first).value)


def test_a_difference_is_of_the_lengths_that_both_have():
    curve = {length: length * (1 + length / 4096) for length in LENGTHS}
    found = difference(curve, {length: 2 * value for length, value in curve.items() if length < 8192})
    assert found.value == pytest.approx(0, abs=1e-12)
    assert found.lengths == (128, 256, 512, 1024, 2048, 4096)
    assert difference(curve, {128: 1.0, 256: 2.0}) is None
    assert difference({}, curve) is None


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


@pytest.mark.parametrize("planted", [(2.0, 0.5, 0.0), (2.0, 0.5, 1e-3)])
def test_terms_are_those_of_the_chosen_curve(planted):
    found = shape({length: planted[0] + planted[1] * length + planted[2] * length**2 for length in LENGTHS})
    assert found.chosen == ("quadratic" if planted[2] else "linear")
    assert found.terms == pytest.approx(planted if planted[2] else planted[:2])


def test_a_shape_needs_eight_lengths():
    assert shape(dict.fromkeys(LENGTHS[:7], 1.0)) is None


def test_what_takes_nothing_has_no_shape():
    assert shape({length: float(length > 128) for length in LENGTHS}) is None


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


@pytest.mark.parametrize(
    ("ratios", "where", "low", "high"),
    [
        ([(1.1, 1.05, 1.2), (1.2, 1.1, 1.3)], "always", None, None),
        ([(1.1, 0.5, 1.2), (2.05, 2.0, 2.1)], "always", None, 2048),  # surely from there
        ([(0.45, 0.4, 0.5), (0.9, 0.8, 2.0)], "never", 2048, None),  # maybe from there
        ([(1.1, 0.9, 1.2), (1.1, 0.9, 1.2)], "unresolved", None, None),  # the ends say the opposite
        ([(0.9, 0.8, 1.1), (0.9, 0.8, 1.1)], "unresolved", None, None),
        ([(0.99, 0.9, 1.1), (1.01, 0.9, 1.1)], "unresolved", None, None),  # though the values cross
    ],
)
def test_ends_that_say_otherwise(ratios, where, low, high):
    found = crossover(dict(zip((1024, 4096), ratios, strict=True)))
    assert (found.length, found.where) == (None, where)
    assert (found.low, found.high) == (low and pytest.approx(low), high and pytest.approx(high))


def test_an_end_that_is_not_known():
    found = crossover({1024: (0.5, None, None), 4096: (2.0, 1.5, 4.0)})
    assert (found.length, found.low, found.high) == (pytest.approx(2048), None, None)
