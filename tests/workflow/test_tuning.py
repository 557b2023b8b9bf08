"""The real Snakemake on what is tuned, calibrated and audited: from nothing to verdicts that are withheld, and what a choice reruns."""

import json
import shutil
from pathlib import Path

import pytest
from project import copy_of_the_project, planned, snakemake

PARAMS = "params/tuned.yaml"
TRIALS = ("0.01,wd=0.1,dropout=0", "0.001,wd=0.1,dropout=0.1")
TUNED = [f"pydocs/{spec}/tiny/tuned/seed{seed}" for spec in ("wavestack", "transformer") for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = copy_of_the_project(tmp_path_factory.mktemp("tuned") / "project")
    (folder / PARAMS).write_text((Path(__file__).parent / "tuned.yaml").read_text())
    return folder


def test_every_trial_is_trained_and_one_of_each_spec_chosen(project):
    """Trainings that are not built anew share the contract of their model, and rungs that are trained alike their runs."""
    jobs = planned(project, params=PARAMS)
    assert jobs["choose"] == {f"among the trials of {spec} on pydocs" for spec in ("wavestack", "transformer")}
    trials = [f"pydocs/{spec}/tiny/lr={rate}/seed0" for spec in ("wavestack", "transformer") for rate in TRIALS]
    audited = [f"pydocs/{spec}/tiny/mended={mended}/seed0" for spec in ("wavestack", "transformer") for mended in ("none", "padding")]
    assert jobs["train"] == {*trials, *audited, *TUNED, "pydocs/transformer/tiny/base/seed7"}
    assert jobs["contract"] == {"of wavestack, base", "of transformer, base"}
    assert jobs["evaluate"] == {*TUNED, "pydocs/transformer/tiny/base/seed7"}
    assert jobs["replay"] == {*audited, *(run for run in TUNED if run.endswith("seed0"))}


@pytest.fixture(scope="module")
def finished(project, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(project, folder)
    done = snakemake(folder, "--cores", "2", params=PARAMS)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.nightly
def test_from_nothing_to_a_verdict_that_is_withheld(finished):
    studies = finished / "reports" / "tuned" / "studies"
    (difference,) = json.loads((studies / "comparison.json").read_text())["differences"]
    assert difference["low_percent"] < difference["high_percent"]
    assert difference["verdict"] == "undecided"
    assert difference["reason"].startswith("the calibration failed: transformer on pydocs reached ")
    chosen = json.loads((finished / "reports/tuned/tuning/pydocs/wavestack.json").read_text())["chosen"]
    trained = json.loads((finished / "reports/tuned/runs" / TUNED[0] / "training.json").read_text())["training"]
    assert chosen.items() <= trained.items()
    rungs = json.loads((studies / "audit.json").read_text())["rows"]
    assert [(row["mended"], row["kind"]) for row in rungs] == [
        ("as published", "cumulative"), ("padding", "cumulative"), ("tuning", "cumulative"), ("padding", "alone")
    ]  # fmt: skip
    again = snakemake(finished, "--cores", params=PARAMS)
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.nightly
def test_a_new_trial_reruns_the_choices_and_what_takes_them(finished, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    path = project / PARAMS
    trial = "      - {learning_rate: 0.001, weight_decay: 0.1, dropout: 0.1}\n"
    path.write_text(path.read_text().replace(trial, trial + trial.replace("0.001", "0.003")))
    jobs = planned(project, params=PARAMS)
    assert jobs["train"] == {*(f"pydocs/{spec}/tiny/lr=0.003,wd=0.1,dropout=0.1/seed0" for spec in ("wavestack", "transformer")), *TUNED}
