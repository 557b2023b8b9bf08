"""Complementarity put together over seeds, on results written by hand."""

import pandas
import pytest

from wavestack.artifacts import write_json
from wavestack.reading import ParameterError, load
from wavestack.studies.complementarity import write_complementarity


def parameters_of(seeds):
    study = f"studies.complementarity={{corpora: [pydocs], spec: wavestack, budget: tiny, seeds: {seeds}}}"
    return load("params/smoke.yaml", [study])


def write_run(folder, run, lost):
    """Three documents of 100, 300 and 600 tokens, of 3 nats a token; without a lane so much more."""
    tokens = [100, 300, 600]
    where = folder / "measures" / str(run)
    where.mkdir(parents=True)
    table = {"document": [0, 1, 2], "tokens": tokens}
    pandas.DataFrame({**table, "nats": [3.0 * n for n in tokens]}).to_parquet(where / "documents.parquet")
    without = [pandas.DataFrame({**table, "nats": [(3 + more) * n for n in tokens]}).assign(lane=lane) for lane, more in lost.items()]
    pandas.concat(without).iloc[::-1].to_parquet(where / "knockouts.parquet")
    part = {"tokens": 10, "lanes": {"fourier": 0.25 + 0.5 * (run.seed == 1), "recall": 0.5}}
    block = {"names": ["input", "fourier", "recall"], "cka": [[1.0, 0.5 + 0.25 * run.seed], [0.5, 1.0]], "effective_lanes": 2.0 + run.seed}
    block |= {"weights": part, "by_class": [{"class": "digits", **part}], "by_octave": [{"least": 4, **part}]}
    write_json(folder / "runs" / str(run) / "complementarity.json", {"lanes": list(lost), "tokens": 10, "blocks": [block]})


def test_seeds_are_put_together(tmp_path):
    parameters = parameters_of([0, 1])
    for run in parameters.complementarity_runs():
        write_run(tmp_path, run, {"fourier": 0.125, "recall": 0.5 + 0.25 * run.seed})
    found = write_complementarity(parameters, tmp_path, tmp_path)
    assert [entry["nats"] for entry in found["knockouts"]] == [pytest.approx([0.125, 0.125]), pytest.approx([0.5, 0.75])]
    assert found["knockouts"][1]["nats_per_token"] == pytest.approx(0.625)
    assert found["knockouts"][0]["reason"] == "too few seeds or documents for an interval"
    (block,) = found["blocks"]
    assert (block["corpus"], block["block"], block["names"]) == ("pydocs", 0, ["input", "fourier", "recall"])
    assert block["cka"] == [[1.0, 0.625], [0.5, 1.0]]
    assert (block["effective_lanes"], block["weights"]["lanes"]) == (2.5, {"fourier": 0.5, "recall": 0.5})
    assert block["by_octave"] == [{"least": 4, "tokens": 10, "lanes": {"fourier": 0.5, "recall": 0.5}}]


def test_one_seed_is_a_point(tmp_path):
    parameters = parameters_of([0])
    (run,) = parameters.complementarity_runs()
    write_run(tmp_path, run, {"fourier": 0.125})
    (entry,) = write_complementarity(parameters, tmp_path, tmp_path)["knockouts"]
    assert (entry["nats"], entry["low"], entry["reason"]) == ([pytest.approx(0.125)], None, "too few seeds or documents for an interval")


def test_three_seeds_give_intervals_that_hold_together(tmp_path):
    parameters = parameters_of([0, 1, 2])
    for run in parameters.complementarity_runs():
        write_run(tmp_path, run, {"fourier": 0.125 + 0.001 * (run.seed - 1), "recall": 0.5 + 0.01 * (run.seed - 1)})
    fourier, recall = write_complementarity(parameters, tmp_path, tmp_path)["knockouts"]
    assert 0 < fourier["low"] < 0.125 < fourier["high"]
    assert fourier["reason"] is None
    assert recall["high"] - recall["low"] > 5 * (fourier["high"] - fourier["low"])


def test_a_spec_of_one_lane_or_none_is_refused():
    with pytest.raises(ParameterError, match=r"studies\.complementarity\.spec: transformer has fewer than two lanes"):
        load("params/smoke.yaml", ["studies.complementarity={corpora: [pydocs], spec: transformer, budget: tiny, seeds: [0]}"])


def test_a_diverged_run_has_no_losses_and_is_named(tmp_path):
    parameters = parameters_of([0, 1, 2])
    for run in parameters.complementarity_runs():
        write_run(tmp_path, run, {"fourier": 0.125, "recall": 0.5})
    where = tmp_path / "measures" / str(parameters.complementarity_runs()[1]) / "documents.parquet"
    pandas.read_parquet(where).iloc[:0].to_parquet(where)
    fourier, _ = write_complementarity(parameters, tmp_path, tmp_path)["knockouts"]
    assert (fourier["nats"], fourier["nats_per_token"], fourier["low"], fourier["high"]) == ([], None, None, None)
    assert fourier["reason"] == "pydocs/wavestack/tiny/base/seed1 diverged"
