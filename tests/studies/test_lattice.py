"""Shapley values and interactions against the average over all orders, and by what they must satisfy."""

import itertools
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavestack.studies.lattice import interaction_weights, removal_weights, shapley_weights, subsets

LANES = ("fourier", "recall", "wavelet")


def weighed(weights, losses):
    return sum(weight * losses[subset] for subset, weight in weights.items())


@st.composite
def games(draw, lanes=LANES):
    """A loss for every subset."""
    return {subset: draw(st.floats(1, 8)) for subset in subsets(lanes)}


@given(games())
def test_a_shapley_value_is_what_a_lane_saves_on_average_over_all_orders(losses):
    for lane in LANES:
        saved = 0.0
        for order in itertools.permutations(LANES):
            before = frozenset(order[: order.index(lane)])
            saved += losses[before] - losses[before | {lane}]
        assert weighed(shapley_weights(LANES, lane), losses) == pytest.approx(saved / factorial(len(LANES)), abs=1e-12)


@given(games())
def test_shapley_values_add_up_to_what_all_lanes_save(losses):
    values = [weighed(shapley_weights(LANES, lane), losses) for lane in LANES]
    assert sum(values) == pytest.approx(losses[frozenset()] - losses[frozenset(LANES)], abs=1e-12)


@given(games(LANES[:2]))
def test_a_lane_that_does_nothing_is_worth_nothing(losses):
    idle = losses | {subset | {"idle"}: loss for subset, loss in losses.items()}
    lanes = (*LANES[:2], "idle")
    assert weighed(shapley_weights(lanes, "idle"), idle) == pytest.approx(0, abs=1e-12)
    for lane in LANES[:2]:
        assert weighed(interaction_weights(lanes, lane, "idle"), idle) == pytest.approx(0, abs=1e-12)


@given(games(LANES[:2]))
def test_a_duplicated_lane_splits_its_value(losses):
    """With a twin that does what `recall` does, and no more beside it, either has half of what the two are worth as one."""
    lanes = ("fourier", "recall", "twin")

    def without_twin(subset):
        return frozenset("recall" if lane == "twin" else lane for lane in subset)

    twins = {subset: losses[without_twin(subset)] for subset in subsets(lanes)}
    both = [weighed(shapley_weights(lanes, lane), twins) for lane in ("recall", "twin")]
    assert both[0] == pytest.approx(both[1], abs=1e-12)
    # alone with `fourier`: first 1/3 of the orders, and half of the rest with one twin before the other
    alone, beside = losses[frozenset()] - losses[frozenset({"recall"})], losses[frozenset({"fourier"})] - losses[frozenset(LANES[:2])]
    assert both[0] == pytest.approx(alone / 3 + beside / 6, abs=1e-12)
    assert weighed(interaction_weights(lanes, "recall", "twin"), twins) == pytest.approx(-(alone + beside) / 2, abs=1e-12)
    assert [weighed(removal_weights(lanes, lane), twins) for lane in ("recall", "twin")] == [0, 0]


def test_interactions_by_hand():
    """Together 3 nats saved, apart 1 and 1: one nat that neither has alone."""
    losses = {frozenset(): 5.0, frozenset("a"): 4.0, frozenset("b"): 4.0, frozenset("ab"): 2.0}
    assert weighed(interaction_weights("ab", "a", "b"), losses) == 1.0
    assert weighed(shapley_weights("ab", "a"), losses) == 1.5
    assert weighed(removal_weights("ab", "a"), losses) == 2.0


def test_sums_are_in_the_order_of_the_lanes():
    """That of a set of names differs between processes, and with it the last digit of a sum."""
    assert [sorted(subset) for subset in shapley_weights(LANES, "recall")][::2] == [[], ["fourier"], ["wavelet"], ["fourier", "wavelet"]]
    many = [f"lane{number}" for number in range(9)]
    for weights in (shapley_weights(many, "lane4"), interaction_weights(many, "lane7", "lane2")):
        sizes_then_lanes = [(len(others), sorted(others)) for others in weights if not others & {"lane2", "lane4", "lane7"}]
        assert sizes_then_lanes == sorted(sizes_then_lanes)
