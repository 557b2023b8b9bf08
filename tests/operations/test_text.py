"""A final checkpoint and the tokenizer that belongs to it."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from wavestack.corpora.tokenizer import train_tokenizer
from wavestack.operations.text import open_checkpoint
from wavestack.params import Run
from wavestack.schema import Tokenizer
from wavestack.training.checkpoint import Architecture, load, save, save_model

RUN = Run.parse("words/mine/tiny/lanes=fourier+wavelet/seed3")


@pytest.fixture
def architecture(wavestack, budget):
    return Architecture(wavestack, budget, 257)


@pytest.fixture
def data(architecture, tmp_path) -> Path:
    """A profile's data as the workflow leaves them, with a checkpoint and a tokenizer."""
    torch.manual_seed(4)
    save_model(tmp_path / "data/tiny/runs" / str(RUN) / "best", architecture.build(), architecture, {"run": asdict(RUN)})
    train_tokenizer(Tokenizer(kind="bytes"), Path("unread")).save(tmp_path / "data/tiny/tokens/words/tokenizer.json")
    return tmp_path / "data/tiny"


def best(data: Path) -> Path:
    return data / "runs" / str(RUN) / "best"


@pytest.mark.parametrize("ending", ["", ".json", ".safetensors"])
def test_both_are_found_from_the_checkpoint_s_name(data, architecture, ending):
    model, text = open_checkpoint(best(data).with_suffix(ending))
    torch.manual_seed(4)
    tokens = torch.arange(20)[None]
    assert torch.equal(model(tokens), architecture.build()(tokens))
    assert not model.training
    assert (text.size, text.end_of_text) == (257, 256)


def test_a_relative_name_will_do(data, monkeypatch):
    monkeypatch.chdir(best(data).parent)
    assert open_checkpoint(Path("best"))[1].size == 257


def test_lanes_that_joined_are_there(data, architecture):
    model = architecture.build()
    model.add_lane("recall", features=4)
    save_model(best(data), model, architecture, {"run": asdict(RUN)})
    assert list(open_checkpoint(best(data))[0].added) == ["recall"]


def test_a_checkpoint_elsewhere_needs_the_tokenizer_s_name(data, tmp_path):
    tokenizer = data / "tokens/words/tokenizer.json"
    best(data).parent.rename(tmp_path / "copied")
    with pytest.raises(ValueError, match=r"tokens/words/tokenizer\.json does not exist|name it with --tokenizer"):
        open_checkpoint(tmp_path / "copied/best")
    assert open_checkpoint(tmp_path / "copied/best", tokenizer)[1].size == 257


def test_a_checkpoint_of_no_run_needs_the_tokenizer_s_name(data, architecture):
    save_model(best(data), architecture.build(), architecture, {})
    with pytest.raises(ValueError, match=r"its tokenizer is not known; name it with --tokenizer"):
        open_checkpoint(best(data))
    assert open_checkpoint(best(data), data / "tokens/words/tokenizer.json")[1].size == 257


def test_what_is_missing_is_named(data):
    (data / "tokens/words/tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"tokens/words/tokenizer\.json does not exist"):
        open_checkpoint(best(data))
    best(data).with_suffix(".safetensors").unlink()
    with pytest.raises(ValueError, match=r"best\.safetensors does not exist, though its JSON does"):
        open_checkpoint(best(data))
    best(data).with_suffix(".json").unlink()
    with pytest.raises(ValueError, match=r"best\.json does not exist"):
        open_checkpoint(best(data))


def test_a_checkpoint_to_resume_from_is_no_final_one(data):
    tensors, facts = load(best(data))
    del facts["architecture"]
    save(best(data), tensors, facts)
    with pytest.raises(ValueError, match="is no final checkpoint"):
        open_checkpoint(best(data))


def test_a_tokenizer_of_another_vocabulary_is_told(data, wavestack, budget):
    other = Architecture(wavestack, budget, 300)
    save_model(best(data), other.build(), other, {"run": asdict(RUN)})
    with pytest.raises(ValueError, match=r"tokenizer\.json has 257 entries, and the model 300; name the run's own"):
        open_checkpoint(best(data))
