"""Trials, and the choice among them."""

import itertools

import pandas
import pytest

from wavestack.artifacts import write_json
from wavestack.reading import load
from wavestack.studies.tuning import choose, expected_best, write_tuning

TUNING = (
    "studies.tuning={corpora: [pydocs], specs: [transformer], budget: tiny, seeds: [0], trials: "
    "[{learning_rate: 0.01, weight_decay: 0.1, dropout: 0}, {learning_rate: 0.02, weight_decay: 0.1, dropout: 0},"
    " {learning_rate: 0.04, weight_decay: 0.1, dropout: 0.1}]}"
)


def tried(tmp_path, *losses):
    """The trials of TUNING came out like this; None where one diverged."""
    parameters = load("params/smoke.yaml", [TUNING])
    for run, nats in zip(parameters.tuning_runs(), losses, strict=True):
        training = {"status": "diverged" if nats is None else "ok", "reason": "nan" if nats is None else None, "best_valid_nats": nats}
        write_json(tmp_path / "runs" / str(run) / "training.json", training)
    return parameters


def test_the_best_trial_is_chosen_and_its_edges_are_told(tmp_path):
    parameters = tried(tmp_path, 3.2, 3.1, 3.0)
    found = choose(parameters, "pydocs", "transformer", tmp_path)
    assert found["chosen"] == {"learning_rate": 0.04, "weight_decay": 0.1, "dropout": 0.1}
    assert found["at_the_edge"] == ["learning_rate 0.04 is the largest that was tried", "dropout 0.1 is the largest that was tried"]
    assert found["expected_best"] == pytest.approx([3.1, (3.0 + 3.0 + 3.1) / 3, 3.0])  # of the pairs, two hold 3.0
    assert write_tuning(parameters, tmp_path)["choices"] == [found]
    table = pandas.read_csv(tmp_path / "studies" / "tuning.csv")
    assert table["chosen"].tolist() == [False, False, True]


def test_a_best_trial_inside_of_the_range_is_at_no_edge(tmp_path):
    """Zero dropout is none: nothing lies below it."""
    found = choose(tried(tmp_path, 3.2, 3.1, None), "pydocs", "transformer", tmp_path)
    assert found["at_the_edge"] == []
    assert [trial["status"] for trial in found["trials"]] == ["ok", "ok", "diverged"]
    assert found["expected_best"] == [None, pytest.approx((3.1 + 3.1 + 3.2) / 3), pytest.approx(3.1)]


def test_no_choice_among_trials_that_all_diverged(tmp_path):
    with pytest.raises(ValueError, match="every trial of transformer diverged"):
        choose(tried(tmp_path, None, None, None), "pydocs", "transformer", tmp_path)


def test_expected_best_against_all_choices():
    losses = [3.0, 2.5, 4.0, 3.5]
    for k in range(1, 5):
        every = [min(chosen) for chosen in itertools.combinations(losses, k)]
        assert expected_best(losses)[k - 1] == pytest.approx(sum(every) / len(every))
