"""Sequence lengths put together."""

from wavestack.artifacts import write_json
from wavestack.reading import load
from wavestack.studies.lengths import write_lengths


def test_lengths_keep_failed_measurements(tmp_path):
    ok = {"status": "ok", "steps": 5, "seconds_median": 1.0, "seconds_quartiles": [0.9, 1.1], "tokens_per_second": 256.0, "peak_bytes": 7}
    failed = {"status": "out_of_memory", "reason": "killed"}
    for length in (64, 128):
        point = {"length": length, "batch": 256 // length, "models": {"wavestack": ok, "transformer": failed if length == 128 else ok}}
        write_json(tmp_path / "profile" / f"length{length}.json", point)
    rows = write_lengths(load("params/smoke.yaml"), tmp_path)["rows"]
    assert len(rows) == 4
    lost = next(row for row in rows if row["status"] != "ok")
    assert (lost["spec"], lost["length"], lost["batch"], lost["status"], lost["reason"]) == (
        "transformer",
        128,
        2,
        "out_of_memory",
        "killed",
    )
    assert lost["tokens_per_second"] is None
