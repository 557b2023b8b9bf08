"""The ablation grid on results written by hand."""

import pandas
import pytest
from written import result

from wavestack.reading import load
from wavestack.studies.ablation import write_ablation


def test_ablation_names_the_lanes_of_every_subset(tmp_path):
    parameters = load("params/smoke.yaml", ["studies.ablation.lanes=[fourier, lookup, recall, wavelet]"])
    for run in parameters.ablation_runs():
        result(tmp_path, run, 3.0)
    found = {row["variant"]: row["lanes"] for row in write_ablation(parameters, tmp_path, tmp_path)["means"]}
    assert len(found) == 16
    assert found["lanes=none"] == []
    assert found["lanes=recall+wavelet"] == ["recall", "wavelet"]
    assert found["base"] == ["fourier", "lookup", "recall", "wavelet"]


SAVED = {"fourier": 0.1, "recall": 0.3, "wavelet": 0.2}


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_worth_of_lanes_that_save_each_its_own(tmp_path, seeds):
    """Each subset's loss is 4 less what each of its lanes saves, and seeds move all subsets alike, so that no interval is wide."""
    chosen = f"studies.ablation.seeds={list(range(seeds))}"
    parameters = load("params/smoke.yaml", ["studies.ablation.lanes=[fourier, recall, wavelet]", chosen])
    for run in parameters.ablation_runs():
        result(tmp_path, run, 4.0 + 0.01 * run.seed - sum(SAVED[lane] for lane in parameters.spec(run).lanes))
    worths = write_ablation(parameters, tmp_path, tmp_path)["worths"]
    assert {worth["lanes"][0]: worth["nats_per_token"] for worth in worths if worth["of"] == "lane"} == pytest.approx(SAVED)
    assert {worth["lanes"][0]: worth["nats_per_token"] for worth in worths if worth["of"] == "removal"} == pytest.approx(SAVED)
    pairs = [worth for worth in worths if worth["of"] == "pair"]
    assert len(pairs) == 3
    assert [worth["nats_per_token"] for worth in pairs] == pytest.approx([0, 0, 0], abs=1e-12)
    lane = worths[0]
    if seeds == 1:
        assert (lane["low"], lane["reason"]) == (None, "too few seeds or documents for an interval")
    else:
        assert (lane["low"], lane["high"]) == pytest.approx((0.1, 0.1))
        assert lane["reason"] is None
    table = pandas.read_csv(tmp_path / "studies" / "worths.csv")
    assert table["of"].tolist() == ["lane"] * 3 + ["removal"] * 3 + ["pair"] * 3
    assert table["lanes"].tolist() == [*SAVED, *SAVED, "fourier+recall", "fourier+wavelet", "recall+wavelet"]


def test_a_lane_and_its_twin_are_worth_something_and_either_can_go(tmp_path):
    """The second lane to join brings nothing: each has half of the first one's worth, and nothing is lost without either."""
    parameters = load("params/smoke.yaml", ["studies.ablation.lanes=[fourier, wavelet]"])
    for run in parameters.ablation_runs():
        result(tmp_path, run, 3.0 if {"fourier", "wavelet"} & set(parameters.spec(run).lanes) else 3.5)
    worths = write_ablation(parameters, tmp_path, tmp_path)["worths"]
    assert [(worth["of"], worth["nats_per_token"]) for worth in worths] == [
        ("lane", 0.25), ("lane", 0.25), ("removal", 0.0), ("removal", 0.0), ("pair", -0.5)
    ]  # fmt: skip


def test_each_question_is_a_family_of_its_own(tmp_path):
    """Three lanes' values, three removals and three pairs: the widest interval of each is one of three, not one of nine."""
    parameters = load("params/smoke.yaml", ["studies.ablation.lanes=[fourier, recall, wavelet]", "studies.ablation.seeds=[0, 1, 2]"])
    for run in parameters.ablation_runs():
        result(tmp_path, run, 4.0 + 0.01 * run.seed - sum(SAVED[lane] for lane in parameters.spec(run).lanes))
    worths = write_ablation(parameters, tmp_path, tmp_path)["worths"]
    for question in ("lane", "removal"):
        assert min(worth["level"] for worth in worths if worth["of"] == question) == 0.95
        assert max(worth["level"] for worth in worths if worth["of"] == question) == pytest.approx(1 - 0.05 / 3)


def test_lanes_have_no_worth_where_a_subset_diverged(tmp_path):
    parameters = load("params/smoke.yaml")
    for run in parameters.ablation_runs():
        result(tmp_path, run, 3.0, status="diverged" if run.variant == "lanes=none" else "ok")
    worth = write_ablation(parameters, tmp_path, tmp_path)["worths"][0]
    assert (worth["of"], worth["nats_per_token"]) == ("lane", None)
    assert worth["reason"] == "pydocs/wavestack/tiny/lanes=none/seed0 is missing or diverged"
