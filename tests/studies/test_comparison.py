"""The comparison on results written by hand: the numbers in its tables are computed here."""

import math

import pandas
import pytest
from written import result

from wavestack.artifacts import read_json
from wavestack.reading import load
from wavestack.studies.calibration import write_calibration
from wavestack.studies.comparison import write_comparison
from wavestack.studies.results import MEASURES, means

SEEDS = ["studies.comparison.seeds=[0, 1]"]


def test_comparison_pairs_seeds(tmp_path):
    parameters = load("params/smoke.yaml", SEEDS)
    nats = {("wavestack", 0): 3.0, ("wavestack", 1): 3.2, ("transformer", 0): 3.1, ("transformer", 1): 3.1}
    for run in parameters.comparison_runs():
        result(tmp_path, run, nats[run.spec, run.seed])
    write_comparison(parameters, tmp_path, tmp_path)
    found = read_json(tmp_path / "studies" / "comparison.json")
    (difference,) = found["differences"]
    assert (difference["spec"], difference["against"], difference["seeds"]) == ("wavestack", "transformer", [0, 1])
    assert difference["nats"] == pytest.approx([-0.1, 0.1])
    assert difference["perplexity_percent"] == pytest.approx(0, abs=1e-9)
    assert (difference["verdict"], difference["reason"]) == ("undecided", "2 seeds give points, no interval")
    mean = next(row for row in found["means"] if row["spec"] == "wavestack")
    assert mean["nats_per_token"] == pytest.approx(3.1)
    assert mean["perplexity"] == pytest.approx(math.exp(3.1))  # of the mean loss
    assert mean["word_perplexity"] is None
    table = pandas.read_csv(tmp_path / "studies" / "comparison.csv")
    assert table["nats_per_token"].tolist() == [3.0, 3.2, 3.1, 3.1]


def test_slices_are_put_together_over_seeds(tmp_path):
    """Nats and tokens are summed before they are divided: 1 of 10 tokens and 9 of 30 are 10 of 40."""
    parameters = load("params/smoke.yaml", SEEDS)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0)
        if run.spec == "wavestack":
            tokens, nats = (10, 1.0) if run.seed == 0 else (30, 9.0)
            slices = pandas.DataFrame({"kind": ["seen", "back"], "least": [1, 0], "tokens": [tokens, 8], "nats": [nats, 2.0]})
            slices.to_csv(tmp_path / "runs" / str(run) / "slices.csv", index=False)
    found = write_comparison(parameters, tmp_path, tmp_path)["slices"]
    head = {"corpus": "pydocs", "spec": "wavestack"}
    assert found == [
        {**head, "kind": "seen", "least": 1, "tokens": 20, "nats_per_token": 0.25},
        {**head, "kind": "back", "least": 0, "tokens": 8, "nats_per_token": 0.25},
    ]  # the transformer's runs are older, and have none


def test_two_percent_is_told_in_percent_of_perplexity(tmp_path):
    parameters = load("params/smoke.yaml", ["studies.comparison.seeds=[0]"])
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0 + (math.log(1.02) if run.spec == "wavestack" else 0))
    (difference,) = write_comparison(parameters, tmp_path, tmp_path)["differences"]
    assert difference["perplexity_percent"] == pytest.approx(2.0)
    assert difference["reason"] == "1 seed gives a point, no interval"


def test_a_diverged_run_leaves_no_mean_and_no_difference(tmp_path):
    parameters = load("params/smoke.yaml", SEEDS)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0, status="diverged" if (run.spec, run.seed) == ("transformer", 1) else "ok")
    found = write_comparison(parameters, tmp_path, tmp_path)
    (difference,) = found["differences"]
    assert difference["nats"] == [0.0, None]
    assert difference["perplexity_percent"] is None
    assert difference["reason"] == "a run is missing or diverged"
    assert next(row for row in found["means"] if row["spec"] == "transformer")["nats_per_token"] is None


def test_a_spec_with_a_diverged_run_has_no_slices(tmp_path):
    parameters = load("params/smoke.yaml", SEEDS)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0, status="diverged" if (run.spec, run.seed) == ("transformer", 1) else "ok")
        slices = pandas.DataFrame({"kind": ["seen"], "least": [0], "tokens": [10], "nats": [30.0]})
        slices.to_csv(tmp_path / "runs" / str(run) / "slices.csv", index=False)
    found = write_comparison(parameters, tmp_path, tmp_path)["slices"]
    assert [(row["spec"], row["tokens"], row["nats_per_token"]) for row in found] == [("wavestack", 10, 3.0)]


def test_any_two_of_a_corpus_have_equal_budgets(tmp_path):
    """Each is within 1% of the first one, and they are not of one another; and a first one that diverged hides nothing."""
    parameters = load("params/smoke.yaml", [*SEEDS, "studies.comparison.specs=[wavestack, transformer, transformer-masked]"])
    counts = {"wavestack": 56_000, "transformer": 56_500, "transformer-masked": 55_500}
    for run in parameters.comparison_runs():
        status = "diverged" if run.spec == "wavestack" and run.seed == 0 else "ok"
        result(tmp_path, run, 3.0, parameters=counts[run.spec], status=status)
    with pytest.raises(ValueError, match=r"transformer/base has 56,500 parameters and transformer-masked/base 55,500; runs of unequal"):
        write_comparison(parameters, tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("change", "told"), [({"parameters": 57_000}, "57,000 parameters"), ({"tokens": 21_000}, "21,000 training tokens")]
)
def test_unequal_budgets_are_refused_with_both_values(tmp_path, change, told):
    parameters = load("params/smoke.yaml")
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0, **(change if run.spec == "transformer" else {}))
    with pytest.raises(ValueError, match=rf"transformer/base has {told}.*wavestack/base.*unequal budgets are not compared"):
        write_comparison(parameters, tmp_path, tmp_path)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"pydocs/wavestack/tiny/base/seed0/metrics\.json does not exist"):
        write_comparison(load("params/smoke.yaml"), tmp_path, tmp_path)


CALIBRATED = [
    "studies.calibration={corpus: pydocs, spec: transformer, budget: tiny, seed: 7, at_most: 1.9}",
    "studies.comparison.seeds=[0, 1, 2]",
]


def compared(tmp_path, parameters, calibration=1.88):
    """WaveStack is ahead by 0.1 nats, give or take 0.001 a seed."""
    [run] = parameters.calibration_runs()
    result(tmp_path, run, calibration)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0 if run.spec == "transformer" else 2.9 + 0.001 * (run.seed - 1))
    write_calibration(parameters, tmp_path)
    (difference,) = write_comparison(parameters, tmp_path, tmp_path)["differences"]
    return difference


def test_three_seeds_and_a_calibrated_baseline_give_a_verdict(tmp_path):
    found = compared(tmp_path, load("params/smoke.yaml", CALIBRATED))
    assert (found["verdict"], found["reason"]) == ("better", None)
    # nats of -0.1 with a deviation of 0.001 between seeds; documents are all alike. t of 2 degrees of freedom is 4.3027
    reach = 4.3027 * 0.001 / math.sqrt(3)
    assert found["low_percent"] == pytest.approx(100 * math.expm1(-0.1 - reach), rel=1e-4)
    assert found["high_percent"] == pytest.approx(100 * math.expm1(-0.1 + reach), rel=1e-4)
    assert found["level"] == pytest.approx(0.95)
    assert found["seeds_for_one_percent"] == 3  # 2 would need a t of 12.7


def test_no_verdict_of_an_uncalibrated_baseline(tmp_path):
    found = compared(tmp_path, load("params/smoke.yaml", CALIBRATED), calibration=1.91)
    assert found["verdict"] == "undecided"
    assert found["reason"] == "the calibration failed: transformer on pydocs reached 1.910 nats per token, and at most 1.9 is known"
    assert found["low_percent"] < found["high_percent"] < 0  # the interval is shown all the same


def test_runs_that_were_scored_on_other_documents_are_refused(tmp_path):
    parameters = load("params/smoke.yaml", CALIBRATED)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0)
    documents = pandas.DataFrame({"document": [0, 1], "tokens": [100, 301], "nats": [1.0, 2.0]})
    documents.to_parquet(tmp_path / "measures/pydocs/transformer/tiny/base/seed1/documents.parquet")
    with pytest.raises(ValueError, match=r"wavestack.* 3 documents of 1,000 tokens .*transformer.*seed1 on 2 of 401; .* are not compared"):
        write_comparison(parameters, tmp_path, tmp_path)


def test_one_document_gives_no_interval(tmp_path):
    parameters = load("params/smoke.yaml", CALIBRATED)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0)
        one = pandas.DataFrame({"document": [0], "tokens": [100], "nats": [300.0]})
        one.to_parquet(tmp_path / "measures" / str(run) / "documents.parquet")
    result(tmp_path, *parameters.calibration_runs(), 1.0)
    write_calibration(parameters, tmp_path)
    (difference,) = write_comparison(parameters, tmp_path, tmp_path)["differences"]
    assert (difference["level"], difference["verdict"]) == (None, "undecided")
    assert difference["reason"] == "the split is one document, which gives no interval for others"


def test_means_keep_the_order_of_appearance():
    rows = [{"spec": spec, "seed": seed, **dict.fromkeys(MEASURES, 1.0 + seed)} for spec in ("b", "a") for seed in (0, 1)]
    assert [(row["spec"], row["seeds"], row["seconds"]) for row in means(rows, ("spec",))] == [("b", [0, 1], 1.5), ("a", [0, 1], 1.5)]
