"""Measurements in real fresh processes."""

import dataclasses

import pandas
import pytest

from wavestack.profiling import length as lengths
from wavestack.profiling.process import Request
from wavestack.reading import load
from wavestack.training.checkpoint import Architecture

OVERRIDES = ["studies.lengths.seconds=0.05"]


@pytest.fixture
def request_of(transformer, budget):
    return Request(Architecture(transformer, budget, 50).to_json(), 16, 2, repeats=5, seconds=0.01, threads=1, device="cpu")


def test_a_length_is_measured_for_every_model(tmp_path):
    result = lengths.measure_length(load("params/smoke.yaml", OVERRIDES), 64, tmp_path / "data", tmp_path / "reports")
    assert (result["length"], result["batch"]) == (64, 4)
    for found in result["models"].values():
        assert found["status"] == "ok"
        assert found["steps"] >= 5
        low, high = found["seconds_quartiles"]
        assert 0 < low <= found["seconds_median"] <= high
        assert found["tokens_per_second"] == pytest.approx(256 / found["seconds_median"])
        assert 1e5 < found["peak_bytes"] < 1e9
    samples = pandas.read_csv(tmp_path / "data" / "length64.csv")
    assert samples.groupby("spec").size().to_dict() == {name: found["steps"] for name, found in result["models"].items()}


def test_peak_memory_is_that_of_the_activations(request_of):
    """Logits of 64 x 16 positions over 50,000 entries alone are 205 MB in float32, and their gradient as much."""
    wide = Architecture.from_json({**request_of.architecture, "vocabulary": 50_000}).to_json()
    found = lengths._in_fresh_process(dataclasses.replace(request_of, architecture=wide, batch=64), 60)
    assert 2 * 64 * 16 * 50_000 * 4 < found["peak_bytes"] < 8 * 64 * 16 * 50_000 * 4


def test_a_time_out_is_a_result(request_of):
    found = lengths._in_fresh_process(request_of, timeout=0.05)
    assert found == {"status": "timeout", "reason": "not done after 0.05 s"}


def test_what_cannot_fit_is_out_of_memory(request_of):
    found = lengths._in_fresh_process(dataclasses.replace(request_of, batch=10**13), 60)
    assert found["status"] == "out_of_memory"
    assert "memory" in found["reason"]


def test_any_other_failure_keeps_its_last_line(request_of):
    found = lengths._in_fresh_process(dataclasses.replace(request_of, length=1000), 60)
    assert found["status"] == "failed"
    assert "is beyond its context of 32" in found["reason"]


def test_one_failed_process_is_the_result_of_the_point():
    fine = {"status": "ok", "seconds": [1.0] * 5, "peak_bytes": 10}
    assert lengths._summary([fine, {"status": "timeout", "reason": "late"}], 10) == {"status": "timeout", "reason": "late"}
