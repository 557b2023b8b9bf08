"""The log of finished runs."""

import subprocess
import sys

import pandas
import pytest

from wavestack.artifacts import write_json
from wavestack.experiments import COLUMNS, record
from wavestack.params import Run
from wavestack.report.experiments import write_experiments

RUN = Run("pydocs", "wavestack", "tiny", "lr=0.01", 3)
WRITER = """
import sys
from pathlib import Path
from wavestack.experiments import record
from wavestack.params import Run
for seed in range(20):
    record(Path(sys.argv[1]), sys.argv[3], Run("pydocs", "wavestack", "tiny", "base", seed), Path(sys.argv[2]))
"""


@pytest.fixture
def results(tmp_path):
    measured = {
        "status": "ok",
        "nats_per_token": 4.5,
        "bits_per_byte": 2.0,
        "perplexity": 90.0,
        "parameters": 7,
        "non_embedding_parameters": 5,
    }
    write_json(tmp_path / "metrics.json", {**measured, "training_tokens": 512})
    settings = {
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "dropout": None,
        "batch": 4,
        "precision": "float32",
        "device": "cpu",
        "threads": 1,
    }
    write_json(tmp_path / "training.json", {"training": settings})
    write_json(tmp_path / "train.timing.json", {"training": {"seconds": 2.5, "tokens_per_second": 204.8}})
    write_json(tmp_path / "train.provenance.json", {"fingerprint": "abc"})
    return tmp_path


def test_a_row_says_what_was_run_and_what_came_out(results):
    log = results / "experiments.csv"
    record(log, "smoke", RUN, results)
    (row,) = pandas.read_csv(log).to_dict("records")
    assert tuple(row) == COLUMNS
    said = {"profile": "smoke", "spec": "wavestack", "variant": "lr=0.01", "seed": 3, "nats_per_token": 4.5, "learning_rate": 0.01}
    assert {key: row[key] for key in said} == said
    assert (row["seconds"], row["fingerprint"]) == (2.5, "abc")
    assert len(row["commit"]) == 40
    assert row["cores"] >= 1


def test_writers_side_by_side_lose_no_row(results):
    log = results / "experiments.csv"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(log), str(results), name]) for name in ("a", "b", "c")]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    found = pandas.read_csv(log)
    assert sorted(zip(found["profile"], found["seed"], strict=True)) == [(name, seed) for name in "abc" for seed in range(20)]


def test_a_missing_result_adds_nothing(results):
    (results / "train.timing.json").unlink()
    with pytest.raises(ValueError, match=r"train.timing.json does not exist"):
        record(results / "experiments.csv", "smoke", RUN, results)
    assert not (results / "experiments.csv").exists()


def test_the_page_shows_every_row_the_newest_first(results):
    log, page = results / "experiments.csv", results / "experiments.html"
    with pytest.raises(ValueError, match=r"experiments.csv does not exist"):
        write_experiments(log, page)
    for name in ("first", "<b>second</b>"):
        record(log, name, RUN, results)
    runs = pandas.read_csv(log)
    runs["finished"] = ["2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]
    runs.to_csv(log, index=False)
    assert write_experiments(log, page) == 2
    text = page.read_text()
    assert 0 < text.index("&lt;b&gt;second") < text.index("<td>first</td>")
    assert "<td>4.5</td>" in text
    runs.assign(commit=None).to_csv(log, index=False)  # as outside of a checkout
    assert write_experiments(log, page) == 2
    runs[["finished"]].to_csv(log, index=False)
    with pytest.raises(ValueError, match=r"experiments.csv is no log of runs \(it lacks commit\); name reports/experiments.csv"):
        write_experiments(log, page)
