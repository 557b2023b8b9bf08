"""Studies on results written by hand: the numbers in their tables are computed here."""

import math

import pandas
import pytest

from wavestack.artifacts import read_json, write_json
from wavestack.params import load
from wavestack.studies.ablation import write_ablation
from wavestack.studies.comparison import write_comparison
from wavestack.studies.lengths import write_lengths
from wavestack.studies.results import MEASURES, means

SEEDS = ["studies.comparison.seeds=[0, 1]"]


def result(reports, run, nats, parameters=56_000, tokens=20_480, status="ok"):
    metrics = {"status": status, "reason": None, "parameters": parameters, "non_embedding_parameters": parameters - 16_000}
    metrics |= {"training_tokens": tokens, "best_step": 20, "steps": 20}
    if status == "ok":
        metrics |= {"nats_per_token": nats, "perplexity": math.exp(nats), "bits_per_byte": nats / 2, "word_perplexity": None}
    write_json(reports / "runs" / str(run) / "metrics.json", metrics)
    write_json(reports / "runs" / str(run) / "train.timing.json", {"training": {"seconds": 2.0, "tokens_per_second": 10.0}})


def test_comparison_pairs_seeds(tmp_path):
    parameters = load("params/smoke.yaml", SEEDS)
    nats = {("wavestack", 0): 3.0, ("wavestack", 1): 3.2, ("transformer", 0): 3.1, ("transformer", 1): 3.1}
    for run in parameters.comparison_runs():
        result(tmp_path, run, nats[run.spec, run.seed])
    write_comparison(parameters, tmp_path)
    found = read_json(tmp_path / "studies" / "comparison.json")
    (difference,) = found["differences"]
    assert (difference["spec"], difference["against"], difference["seeds"]) == ("wavestack", "transformer", [0, 1])
    assert difference["nats"] == pytest.approx([-0.1, 0.1])
    assert difference["perplexity_percent"] == pytest.approx(0, abs=1e-9)
    assert difference["verdict"] == "undecided"
    mean = next(row for row in found["means"] if row["spec"] == "wavestack")
    assert mean["nats_per_token"] == pytest.approx(3.1)
    assert mean["perplexity"] == pytest.approx(math.exp(3.1))  # of the mean loss
    assert mean["word_perplexity"] is None
    table = pandas.read_csv(tmp_path / "studies" / "comparison.csv")
    assert table["nats_per_token"].tolist() == [3.0, 3.2, 3.1, 3.1]


def test_two_percent_is_told_in_percent_of_perplexity(tmp_path):
    parameters = load("params/smoke.yaml")
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0 + (math.log(1.02) if run.spec == "wavestack" else 0))
    (difference,) = write_comparison(parameters, tmp_path)["differences"]
    assert difference["perplexity_percent"] == pytest.approx(2.0)
    assert difference["reason"] == "1 seed gives a point, no interval"


def test_a_diverged_run_leaves_no_mean_and_no_difference(tmp_path):
    parameters = load("params/smoke.yaml", SEEDS)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0, status="diverged" if (run.spec, run.seed) == ("transformer", 1) else "ok")
    found = write_comparison(parameters, tmp_path)
    (difference,) = found["differences"]
    assert difference["nats"] == [0.0, None]
    assert difference["perplexity_percent"] is None
    assert difference["reason"] == "a run is missing or diverged"
    assert next(row for row in found["means"] if row["spec"] == "transformer")["nats_per_token"] is None


@pytest.mark.parametrize(
    ("change", "told"), [({"parameters": 57_000}, "57,000 parameters"), ({"tokens": 20_000}, "20,000 training tokens")]
)
def test_unequal_budgets_are_refused_with_both_values(tmp_path, change, told):
    parameters = load("params/smoke.yaml")
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0, **(change if run.spec == "transformer" else {}))
    with pytest.raises(ValueError, match=rf"transformer/base has {told}.*wavestack/base.*unequal budgets are not compared"):
        write_comparison(parameters, tmp_path)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"pydocs/wavestack/tiny/base/seed0/metrics\.json does not exist"):
        write_comparison(load("params/smoke.yaml"), tmp_path)


def test_ablation_names_the_lanes_of_every_subset(tmp_path):
    parameters = load("params/smoke.yaml", ["studies.ablation.lanes=[fourier, recall, wavelet]"])
    for run in parameters.ablation_runs():
        result(tmp_path, run, 3.0)
    found = {row["variant"]: row["lanes"] for row in write_ablation(parameters, tmp_path)["means"]}
    assert len(found) == 8
    assert found["lanes=none"] == []
    assert found["lanes=recall+wavelet"] == ["recall", "wavelet"]
    assert found["base"] == ["fourier", "recall", "wavelet"]


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


def test_means_keep_the_order_of_appearance():
    rows = [{"spec": spec, "seed": seed, **dict.fromkeys(MEASURES, 1.0 + seed)} for spec in ("b", "a") for seed in (0, 1)]
    assert [(row["spec"], row["seeds"], row["seconds"]) for row in means(rows, ("spec",))] == [("b", [0, 1], 1.5), ("a", [0, 1], 1.5)]
