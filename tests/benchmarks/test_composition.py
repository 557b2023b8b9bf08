"""A lane joins a trained model, learns alone, and leaves it as it was."""

import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pandas
import pytest

from wavestack.corpora.tokenizer import train_tokenizer
from wavestack.corpora.tokens import TokenFile
from wavestack.params import Run
from wavestack.schema import Tokenizer, Training
from wavestack.training.checkpoint import Architecture, Checkpoints, save_model
from wavestack.training.interruption import Interruption
from wavestack.training.loop import train
from wavestack.training.processes import Processes

ROOT = Path(__file__).parents[2]
RUN = Run.parse("words/mine/tiny/base/seed0")


@pytest.fixture
def checkpoint(wavestack, transformer, budget, tokens, tmp_path):
    """Called with a spec's name: its checkpoint, trained for some steps, as the workflow leaves it."""

    def trained(name: str) -> Path:
        architecture = Architecture({"wavestack": wavestack, "transformer": transformer}[name], budget, 257)
        splits = [TokenFile.open(tokens, split) for split in ("train", "valid")]
        alone = {"processes": Processes("cpu"), "interruption": Interruption()}
        found = train(
            architecture, Training(batch=4), 0, *splits, Checkpoints(tmp_path / "c", "mark"), tmp_path / "curve.csv", 256, **alone
        )
        model = architecture.build()
        model.load_state_dict(found.best)
        path = tmp_path / "data/tiny/runs" / str(RUN) / "best"
        save_model(path, model, architecture, {"run": asdict(RUN)})
        shutil.copytree(tokens, tmp_path / "data/tiny/tokens/words", dirs_exist_ok=True)
        train_tokenizer(Tokenizer(kind="bytes"), Path("unread")).save(tmp_path / "data/tiny/tokens/words/tokenizer.json")
        return path

    return trained


def called(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "benchmarks/composition.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_losses_before_and_after(checkpoint, tmp_path):
    done = called(checkpoint("wavestack"), "--lane", "recall", "--steps", 30, "--reports", tmp_path)
    assert done.returncode == 0, done.stderr
    trained, added, alone, removed = pandas.read_csv(tmp_path / "composition/words.csv").to_dict("records")
    assert added["logits_changed"] == removed["logits_changed"] == 0
    assert added["nats"] == trained["nats"] == removed["nats"]
    assert alone["nats"] < trained["nats"]  # this corpus repeats itself, and the model was hardly trained
    assert added["parameters"] == alone["parameters"] > trained["parameters"] == removed["parameters"]
    assert (tmp_path / "composition/words.provenance.json").is_file()


def test_what_has_no_lanes_is_told(checkpoint, tmp_path):
    done = called(checkpoint("transformer"), "--reports", tmp_path)
    assert done.returncode == 1
    assert "holds a Transformer, which has no lanes" in done.stderr
    assert not (tmp_path / "composition").exists()
