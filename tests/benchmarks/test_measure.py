"""What benchmarks share: medians, turns, and which way a ratio goes."""

import measure
import pytest
from measure import Case, Spread

from wavestack.artifacts import read_json
from wavestack.report.sections.speed import OF_A_BENCHMARK


def test_spread_is_median_and_quartiles():
    assert Spread.of([5, 1, 2, 4, 3]) == Spread(median=3, low=2, high=4)


def test_speed_is_theirs_over_ours_and_cost_is_ours_over_theirs():
    slow, fast = Spread(4.0, 3.0, 5.0), Spread(2.0, 1.0, 3.0)
    speed = Case("x", "y").speed(512, "ours", fast, "theirs", slow, at_least=2)
    assert (speed.ratio, speed.target, speed.met, speed.against_median) == (2.0, "at least 2", True, 4.0)
    assert Case("x", "y").speed(512, "ours", fast, "theirs", slow, at_least=2.01).met is False
    cost = Case("x", "y", "bytes").cost(512, "ours", slow, "theirs", fast, at_most=1.9)
    assert (cost.ratio, cost.target, cost.met, cost.unit) == (2.0, "at most 1.9", False, "bytes")
    assert Case("x", "y").cost(512, "ours", slow, "theirs", fast, at_most=2).met is True


def test_nothing_against_nothing_is_met_without_a_ratio():
    none = Spread(0, 0, 0)
    row = Case("x", "y", "bytes").cost(512, "ours", none, "theirs", none, at_most=1)
    assert (row.ratio, row.met) == (None, True)


def test_contenders_take_turns_and_the_first_round_does_not_count(monkeypatch):
    calls: list[str] = []
    clock = iter(range(1000))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    found = measure.interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, repeats=5)
    rounds = [calls[i : i + 2] for i in range(0, len(calls), 2)]
    assert len(rounds) == 6
    assert all(sorted(one) == ["a", "b"] for one in rounds)
    assert len({tuple(one) for one in rounds}) == 2  # in both orders
    assert found == {"a": Spread(1, 1, 1), "b": Spread(1, 1, 1)}


def test_quartiles_need_repeats():
    with pytest.raises(ValueError, match="at least 2 repeats"):
        measure.interleaved({"a": lambda: None}, repeats=1)


def test_results_stand_beside_what_made_them(tmp_path):
    with measure.recording("x", tmp_path, "What it is.\n\nAnd more.", ["wavestack.lanes.fourier"], repeats=3) as rows:
        rows.append(Case("x", "y").alone(512, "ours", Spread(1.0, 0.5, 1.5)))
    assert (tmp_path / "x.csv").read_text().startswith("benchmark,case,length,")
    assert set(OF_A_BENCHMARK) < set((tmp_path / "x.csv").read_text().splitlines()[0].split(","))
    made = read_json(tmp_path / "x.provenance.json")
    assert made["settings"] == {"about": "What it is.", "repeats": 3, "threads": 1}
    assert made["command"].startswith("python ")
    assert made["versions"]["torch"]
    assert "benchmarks/measure.py" in made["inputs"]
