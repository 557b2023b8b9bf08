"""The numbers that versions are compared by."""

import pandas
import pytest
from written import result

from wavestack.artifacts import read_json
from wavestack.gate import exit_status, judge
from wavestack.operations.versions import Version
from wavestack.params import Run
from wavestack.reading import load
from wavestack.studies.metrics import model_name, write_metrics


@pytest.fixture
def parameters():
    return load("params/smoke.yaml", ["studies.comparison.seeds=[0, 1]", "studies.ablation.seeds=[0]"])


def test_metrics_are_means_under_stable_keys(tmp_path, parameters):
    for run in parameters.compared_runs():
        result(tmp_path, run, 4.0 + 0.1 * run.seed + 0.5 * (run.variant != "base"))
    write_metrics(parameters, tmp_path, tmp_path)
    content = read_json(tmp_path / "metrics.json")
    assert set(content) == {"pydocs"}
    assert set(content["pydocs"]) == {"wavestack", "transformer", "wavestack lanes=none", "wavestack lanes=wavelet"}
    found = content["pydocs"]["wavestack"]
    assert (found["nats_per_token"], found["seeds"], found["failed_seeds"]) == (pytest.approx(4.05), 2, 0)
    assert "word_perplexity" not in found  # the corpus of this test has none
    losses = pandas.read_csv(tmp_path / "losses.csv")
    assert len(losses) == 6 * 3
    chosen = losses[(losses["model"] == "wavestack") & (losses["seed"] == 1)]
    assert chosen["nats"].tolist() == pytest.approx([410, 1230, 2460])


def test_models_of_another_budget_are_not_mixed_with_those_of_the_comparison(tmp_path):
    half = "{hidden: 32, blocks: 2, context: 64, parameters: 40000, tokens: 10240}"
    parameters = load("params/smoke.yaml", [f"budgets.half={half}", "studies.ablation.budget=half"])
    for run in parameters.compared_runs():
        result(tmp_path, run, 4.0 if run.budget == "tiny" else 5.0)
    content = write_metrics(parameters, tmp_path, tmp_path)["pydocs"]
    assert set(content) == {"wavestack", "transformer", "wavestack half lanes=none", "wavestack half lanes=wavelet"}
    assert content["wavestack"]["nats_per_token"] == 4.0
    losses = pandas.read_csv(tmp_path / "losses.csv")
    assert not losses.duplicated(["corpus", "model", "seed", "document"]).any()


def test_models_that_are_not_tuned_are_not_mixed_with_those_that_are():
    tuned, plain, cut = (Run("pydocs", "wavestack", "tiny", variant, 0) for variant in ("tuned", "base", "lanes=none,tuned"))
    assert [model_name(run, tuned) for run in (tuned, plain, cut)] == ["wavestack", "wavestack base", "wavestack lanes=none,tuned"]
    assert [model_name(run, plain) for run in (tuned, plain)] == ["wavestack tuned", "wavestack"]


def test_a_failed_seed_is_counted_and_leaves_no_losses(tmp_path, parameters):
    for run in parameters.compared_runs():
        result(tmp_path, run, 4.0, status="diverged" if (run.spec, run.seed) == ("transformer", 1) else "ok")
    write_metrics(parameters, tmp_path, tmp_path)
    found = read_json(tmp_path / "metrics.json")["pydocs"]["transformer"]
    assert (found["failed_seeds"], found["nats_per_token"], found["parameters"]) == (1, None, 56_000)
    assert len(pandas.read_csv(tmp_path / "losses.csv")) == 5 * 3
    assert exit_status(judge(Version(tmp_path), Version(tmp_path))) == 2
