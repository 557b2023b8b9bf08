"""Statistics against numbers worked out by hand, against scipy's own tests, and by simulation at the numbers of seeds in use."""

from math import log

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wavestack.statistics import Paired, holm_levels, interval, p_value, paired, percent, seeds_to_resolve, verdict

TOKENS = numpy.array([100.0, 300.0])


def of_seeds(*nats: float, document_error: float = 0.0) -> Paired:
    return Paired(float(numpy.mean(nats)), nats, float(numpy.std(nats, ddof=1)), document_error)


def test_by_hand():
    second = numpy.zeros((2, 2))
    first = numpy.array([[-10.0, -30.0], [-20.0, -20.0]])  # both seeds: -40 nats over 400 tokens
    found = paired(first, second, TOKENS)
    assert found.by_seed == (-0.1, -0.1)
    assert found.seed_deviation == 0
    # seeds averaged, the documents have -15 and -25; -0.1 a token would be -10 and -30, so -5 and +5 are left: sqrt(2/1 * 50) / 400
    assert found.document_error == pytest.approx(10 / 400)
    assert found.error == pytest.approx(10 / 400)
    low, high = interval(found)
    assert (low, high) == pytest.approx((-0.1 - 12.7062 / 40, -0.1 + 12.7062 / 40), rel=1e-5)  # t of 1 degree of freedom


def test_without_documents_it_is_the_paired_t_test():
    draw = numpy.random.default_rng(0)
    first, second = draw.normal(4, 0.1, 5), draw.normal(4, 0.1, 5)
    documents = numpy.array([500.0, 1000.0])  # each as the whole: nothing depends on which documents there are
    found = paired(first[:, None] * documents, second[:, None] * documents, documents)
    expected = stats.ttest_rel(first, second)
    assert found.document_error == pytest.approx(0, abs=1e-12)
    assert p_value(found) == pytest.approx(expected.pvalue)
    assert interval(found) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 2\), \(2, 2\)"):
        paired(numpy.zeros((3, 2)), numpy.zeros((2, 2)), TOKENS)
    with pytest.raises(ValueError, match=r"2 seeds .* there are 1"):
        paired(numpy.zeros((1, 2)), numpy.zeros((1, 2)), TOKENS)


def test_no_variation_at_all():
    assert p_value(of_seeds(0.0, 0.0)) == 1
    assert p_value(of_seeds(0.1, 0.1)) == 0


def test_holm_by_hand():
    """At 5% of four: 0.01 against 0.0125, 0.02 against 0.0167 and no further; what is above shares that level."""
    levels = holm_levels([0.04, 0.01, 0.02, 0.9])
    assert levels == pytest.approx([1 - 0.05 / 3, 1 - 0.0125, 1 - 0.05 / 3, 1 - 0.05 / 3])
    assert holm_levels([]) == []


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=8))
def test_a_comparison_is_decided_where_its_interval_leaves_zero_out(means):
    differences = [of_seeds(mean - 0.1, mean + 0.05, mean + 0.05) for mean in means]
    p_values = [p_value(difference) for difference in differences]
    levels = holm_levels(p_values)
    decided = [not low <= 0 <= high for low, high in map(interval, differences, levels)]
    # Holm's procedure in its usual words: in the order of the p-values until the first that is too large
    expected, going = {}, True
    for place, which in enumerate(sorted(range(len(means)), key=lambda k: p_values[k])):
        going = going and p_values[which] < 0.05 / (len(means) - place)
        expected[which] = going
    assert decided == [expected[which] for which in range(len(means))]


def test_percent_of_perplexity():
    assert percent(log(1.03)) == pytest.approx(3)
    assert percent(log(0.97)) == pytest.approx(-3)


def test_seeds_to_resolve_an_effect():
    """Against scipy's own non-central t: with that many seeds the power is reached, with one fewer it is not."""
    difference = of_seeds(0.01, -0.01, 0.0)
    seeds = seeds_to_resolve(difference, effect=1.0)
    draw = numpy.random.default_rng(1)

    def power(n: int) -> float:
        samples = draw.normal(log(1.01), 0.01, (20_000, n))
        return float(numpy.mean(stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05))

    assert power(seeds) > 0.79
    assert power(seeds - 1) < 0.80
    assert seeds_to_resolve(of_seeds(0.0, 0.0), effect=1.0) == 2
    assert seeds_to_resolve(of_seeds(0.01, -0.01, document_error=0.01), effect=1.0) is None  # no number of seeds makes up for the text


def test_verdicts():
    assert verdict(-0.2, -0.1) == "better"
    assert verdict(0.1, 0.2) == "worse"
    assert verdict(-0.1, 0.2) == verdict(0.0, 0.2) == "no difference"
