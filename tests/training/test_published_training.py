"""How the published models were trained: decay on everything, rows of documents, a penalty, a ramp."""

from pathlib import Path

import numpy
import pytest
import torch

from wavestack.corpora.tokens import TokenFile
from wavestack.params import ModelSpec
from wavestack.schema import Budget, Training
from wavestack.training import loop
from wavestack.training.checkpoint import Architecture, Checkpoints
from wavestack.training.interruption import Interruption
from wavestack.training.loop import train
from wavestack.training.optimizer import adamw
from wavestack.training.processes import Processes

ROWS = Training(batch=8, rows="documents", learning_rate=3e-3, validate_every=2, log_every=1, validation_tokens=300, dropout=0.0)
BUDGET = Budget(hidden=1, blocks=1, context=48, parameters=1, tokens=8 * 48 * 6)


def architecture(**knobs) -> Architecture:
    return Architecture(ModelSpec("reference", {"hidden": 12, "frequencies": 9, "dropout": 0.0, **knobs}), BUDGET, 257)


def run(built, tokens, folder: Path, training=ROWS):
    splits = [TokenFile.open(tokens, split) for split in ("train", "valid")]
    alone = {"processes": Processes("cpu"), "interruption": Interruption()}
    return train(built, training, 0, *splits, Checkpoints(folder / "c", "mark"), folder / "curve.csv", 256, **alone)


def test_decay_on_everything():
    model = architecture().build()
    decayed, free = adamw(model, ROWS.model_copy(update={"decay": "all", "weight_decay": 0.25})).param_groups
    assert decayed["weight_decay"] == 0.25
    assert {id(parameter) for parameter in decayed["params"]} == {id(parameter) for parameter in model.parameters()}
    assert free["params"] == []


@pytest.mark.parametrize("padding", [True, False])
def test_a_batch_in_parts_is_the_batch_where_rows_have_unequal_text(tokens, tmp_path, padding):
    """Parts weigh what they hold: without padding, one of short rows counts less."""
    whole = run(architecture(), tokens, tmp_path / "a", ROWS.model_copy(update={"padding": padding}))
    parts = run(architecture(), tokens, tmp_path / "b", ROWS.model_copy(update={"padding": padding, "accumulation": 8}))
    for a, b in zip(whole.progress.curve[1:], parts.progress.curve[1:], strict=True):
        assert a["train_nats"] == pytest.approx(b["train_nats"], rel=1e-4)
    for name, tensor in whole.last.items():
        torch.testing.assert_close(parts.last[name], tensor, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_step_of_nothing_but_padding_changes_nothing(tmp_path, accumulation):
    """Documents of one byte: a row has no target but padding, which is not trained on."""
    stream = numpy.array([256, *[65, 256] * 4], dtype="<u2")
    file = TokenFile(stream, numpy.arange(0, 9, 2), numpy.ones(4, dtype=numpy.int64), None, 257, 256)
    model = architecture().build()
    optimizer = adamw(model, ROWS)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training = ROWS.model_copy(update={"batch": 4, "accumulation": accumulation})
    assert loop._step(model, model, optimizer, training, file, 48, 0, 0, 6, Processes("cpu")) == (0.0, None)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_penalty_is_trained_on_and_is_in_no_loss_that_is_told(tokens, tmp_path):
    """The first loss is of the same weights with and without it; then they part."""
    with_penalty = run(architecture(diversity="cosine"), tokens, tmp_path / "a").progress.curve
    without = run(architecture(), tokens, tmp_path / "b").progress.curve
    assert with_penalty[1]["train_nats"] == without[1]["train_nats"]
    assert with_penalty[0]["valid_nats"] == without[0]["valid_nats"]
    assert with_penalty[-1]["train_nats"] != without[-1]["train_nats"]


class Killed(Exception):
    """Stands for SIGKILL."""


def test_a_ramp_goes_on_where_it_was(tokens, tmp_path, monkeypatch):
    built = architecture(order=8, levels=4, ramp=5)
    whole = run(built, tokens, tmp_path / "whole")
    assert whole.last["trained"].item() == 5  # before the last of six steps
    honest = loop._step

    def killing(*given):
        if given[-3] == 4:
            raise Killed
        return honest(*given)

    monkeypatch.setattr(loop, "_step", killing)
    with pytest.raises(Killed):
        run(built, tokens, tmp_path / "cut")
    monkeypatch.setattr(loop, "_step", honest)
    resumed = run(built, tokens, tmp_path / "cut")
    assert resumed.progress.curve == whole.progress.curve
    for name, tensor in whole.last.items():
        assert torch.equal(tensor, resumed.last[name]), name
    assert resumed.best["trained"].item() == max(0, resumed.progress.best_step - 1)
