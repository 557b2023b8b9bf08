import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from wavestack.corpora.tokens import TokenFile
from wavestack.params import ModelSpec
from wavestack.schema import Training
from wavestack.training import loop
from wavestack.training.checkpoint import Architecture, Checkpoints, load, load_model, save
from wavestack.training.interruption import Interruption
from wavestack.training.loop import set_dropout, train
from wavestack.training.optimizer import adamw, learning_rate
from wavestack.training.processes import Processes, joined

TRAINING = Training(batch=4, validate_every=3, log_every=1, validation_tokens=300, learning_rate=3e-3)


def run(architecture, tokens, folder: Path, training=TRAINING, seed=0, interruption=None):
    splits = [TokenFile.open(tokens, split) for split in ("train", "valid")]
    alone = {"processes": Processes("cpu"), "interruption": interruption or Interruption()}
    return train(architecture, training, seed, *splits, Checkpoints(folder / "c", "mark"), folder / "curve.csv", 256, **alone)


@pytest.fixture
def architecture(wavestack, budget):
    return Architecture(wavestack, budget.model_copy(update={"tokens": 4 * 32 * 11}), 257)


class Killed(Exception):
    """Stands for SIGKILL: nothing is written after it."""


def test_learning_rate_by_hand():
    training = Training(batch=1, learning_rate=1.0, warmup=0.2, final_learning_rate=0.1)
    rates = [learning_rate(step, 11, training) for step in range(11)]
    assert rates[:3] == [0.5, 1.0, 1.0]  # two steps of warm-up, then the cosine's top
    assert rates[6] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 2)) / 2)
    assert rates[10] == pytest.approx(0.1)


def test_a_transposed_parameter_is_stepped_by_its_own_moments(architecture):
    model = architecture.build()
    assert adamw(model, TRAINING).param_groups[0]["fused"]
    layer = model.blocks[0].mlp.up
    layer.weight = torch.nn.Parameter(layer.weight.detach().T.contiguous().T)
    optimizer = adamw(model, TRAINING)
    layer.weight.grad = torch.ones(layer.weight.shape)
    generator = torch.Generator().manual_seed(0)
    moments = {
        name: torch.rand(layer.weight.shape, generator=generator) for name in ("exp_avg", "exp_avg_sq")
    }  # contiguous, as from a file
    optimizer.state[layer.weight] = {"step": torch.tensor(3.0), **{name: moment.clone() for name, moment in moments.items()}}
    before = layer.weight.detach().clone()
    optimizer.step()
    betas, rate = TRAINING.betas, TRAINING.learning_rate
    mean, square = (beta * moment + (1 - beta) for beta, moment in zip(betas, moments.values(), strict=True))
    expected = before * (1 - rate * TRAINING.weight_decay) - rate * mean / (1 - betas[0] ** 4) / (
        (square / (1 - betas[1] ** 4)).sqrt() + 1e-8
    )
    torch.testing.assert_close(layer.weight.detach(), expected)


def test_decay_is_on_matrices_only(architecture):
    model = architecture.build()
    model.add_lane("recall", features=4)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, free = ({names[id(p)] for p in group["params"]} for group in adamw(model, TRAINING).param_groups)
    assert "embedding.weight" in free
    assert {name for name in decayed if not name.endswith(".weight")} == set()
    assert "blocks.0.mlp.up.weight" in decayed
    for layer in ("branches.fourier.inputs", "branches.fourier.out", "mixer.gate", "added.recall.z", "added.recall.gate"):
        assert f"blocks.0.{layer}.weight" in decayed
    assert "blocks.0.branches.fourier.lane.gains" in free
    assert "blocks.0.branches.wavelet.lane.weights" in free
    assert "blocks.0.branches.wavelet.convolution.weight" in free
    assert {"blocks.0.branches.fourier.gain", "blocks.0.added.recall.gain"} <= free
    assert "blocks.0.norm.weight" in free
    assert decayed | free == set(names.values())


@pytest.mark.parametrize("spec", [ModelSpec("transformer", {"head_width": 16}), None], ids=["transformer", "wavestack"])
def test_dropout_falls_on_what_every_layer_adds_and_only_in_training(architecture, spec):
    """Once after the embedding, and twice a block, on both that it adds to the stream."""
    model = (architecture if spec is None else replace(architecture, spec=spec)).build()
    tokens = torch.randint(257, (2, 32))
    plain = model.train()(tokens)
    set_dropout(model, 0.5)
    assert torch.equal(model.eval()(tokens), plain)
    assert not torch.allclose(model.train()(tokens), plain)
    dropped = []
    model.dropout.register_forward_hook(lambda module, x, y: dropped.append("embedding"))
    for place, block in enumerate(model.blocks):
        block.dropout.register_forward_hook(lambda module, x, y, place=place: dropped.append(place))
    model(tokens)
    assert dropped == ["embedding", *(place for place in range(len(model.blocks)) for _ in range(2))]


def test_it_learns(architecture, tokens, tmp_path):
    longer = Architecture(architecture.spec, architecture.budget.model_copy(update={"tokens": 4 * 32 * 100}), 257)
    progress = run(longer, tokens, tmp_path).progress
    assert progress.curve[0]["valid_nats"] == pytest.approx(math.log(257), abs=0.2)
    assert progress.best_nats < 3.0
    assert progress.step == 100


def test_accumulation_changes_nothing_but_rounding(architecture, tokens, tmp_path):
    whole = run(architecture, tokens, tmp_path / "a")
    parts = run(architecture, tokens, tmp_path / "b", TRAINING.model_copy(update={"accumulation": 4}))
    for a, b in zip(whole.progress.curve[1:], parts.progress.curve[1:], strict=True):
        assert a["train_nats"] == pytest.approx(b["train_nats"], rel=1e-4)


def test_the_best_weights_are_those_of_the_lowest_validation(architecture, tokens, tmp_path):
    """A learning rate that is far too high makes the loss rise again; the best is not the last."""
    wild = TRAINING.model_copy(update={"learning_rate": 3.0, "final_learning_rate": 1.0, "warmup": 0.3})
    trained = run(architecture, tokens, tmp_path, wild)
    measured = {row["step"]: row["valid_nats"] for row in trained.progress.curve if row["valid_nats"] is not None}
    assert trained.progress.best_nats == min(measured.values())
    assert trained.progress.best_step == min(measured, key=measured.get)
    assert trained.progress.best_step < 11
    assert not torch.equal(trained.best["embedding.weight"], trained.last["embedding.weight"])


@pytest.mark.parametrize("killed_at", [1, 4, 7, 11])
def test_a_resumed_training_is_bitwise_the_same(architecture, tokens, tmp_path, monkeypatch, killed_at):
    whole = run(architecture, tokens, tmp_path / "whole")
    honest = loop._step

    def killing(forward, model, optimizer, training, file, context, seed, step, steps, processes):
        if step == killed_at - 1:
            raise Killed
        return honest(forward, model, optimizer, training, file, context, seed, step, steps, processes)

    monkeypatch.setattr(loop, "_step", killing)
    with pytest.raises(Killed):
        run(architecture, tokens, tmp_path / "cut")
    monkeypatch.setattr(loop, "_step", honest)
    torch.manual_seed(12345)  # whatever the process did meanwhile
    resumed = run(architecture, tokens, tmp_path / "cut")
    assert [{**row} for row in resumed.progress.curve] == [{**row} for row in whole.progress.curve]
    assert (tmp_path / "cut" / "curve.csv").read_bytes() == (tmp_path / "whole" / "curve.csv").read_bytes()
    for name, tensor in whole.last.items():
        assert torch.equal(tensor, resumed.last[name]), name
    for name, tensor in whole.best.items():
        assert torch.equal(tensor, resumed.best[name]), name


def test_divergence_is_a_result(architecture, tokens, tmp_path, monkeypatch):
    honest = loop.functional.cross_entropy
    losses = itertools.count(1)
    poisoned = SimpleNamespace(cross_entropy=lambda *given, **how: honest(*given, **how) * (math.nan if next(losses) == 8 else 1))
    monkeypatch.setattr(loop, "functional", poisoned)
    trained = run(architecture, tokens, tmp_path)
    assert trained.progress.status == "diverged"
    assert trained.progress.reason == "the loss is not finite at step 8"
    assert trained.progress.step == 7
    assert trained.progress.best_nats is not None
    assert all(torch.isfinite(tensor).all() for tensor in trained.last.values())  # the step that failed was not taken


def test_a_validation_that_is_not_finite_is_a_divergence(architecture, tokens, tmp_path, monkeypatch):
    """One document of NaN among many: pandas' own sum would leave it out and call the rest an improvement."""
    honest, calls = loop.document_losses, itertools.count(1)

    def poisoned(*given):
        losses = honest(*given)
        if next(calls) == 3:
            losses.loc[0, "nats"] = math.nan
        return losses

    monkeypatch.setattr(loop, "document_losses", poisoned)
    progress = run(architecture, tokens, tmp_path).progress
    assert (progress.status, progress.reason) == ("diverged", "the validation loss is not finite at step 6")
    assert progress.best_step == 3
    assert progress.curve[-1]["valid_nats"] is None


def test_a_missing_gpu_is_refused():
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"), joined("cuda", 1):
            pass


@pytest.mark.parametrize("spec", ["wavestack", "transformer"])
def test_bfloat16_autocast_trains(request, spec, budget, tokens, tmp_path):
    short = Architecture(request.getfixturevalue(spec), budget.model_copy(update={"tokens": 4 * 32 * 3}), 257)
    half = run(short, tokens, tmp_path / "b", TRAINING.model_copy(update={"precision": "bfloat16"})).progress
    full = run(short, tokens, tmp_path / "f").progress
    assert half.curve[-1]["train_nats"] == pytest.approx(full.curve[-1]["train_nats"], rel=0.02)
    assert half.curve[-1]["train_nats"] != full.curve[-1]["train_nats"]


@pytest.mark.nightly  # compiling takes a minute
def test_a_compiled_training_has_the_same_losses(architecture, tokens, tmp_path):
    plain = run(architecture, tokens, tmp_path / "plain").progress
    compiled = run(architecture, tokens, tmp_path / "compiled", TRAINING.model_copy(update={"compile": True})).progress
    for a, b in zip(plain.curve[1:], compiled.curve[1:], strict=True):
        assert a["train_nats"] == pytest.approx(b["train_nats"], rel=1e-4)


class TestCheckpoints:
    def test_a_model_comes_back_with_identical_logits(self, architecture, tmp_path):
        model = architecture.build()
        save(tmp_path / "best", model.state_dict(), {"architecture": architecture.to_json()})
        x = torch.randint(257, (2, 30))
        assert torch.equal(load_model(tmp_path / "best")(x), model.eval()(x))

    def test_a_resumable_checkpoint_is_no_final_one(self, architecture, tmp_path):
        Checkpoints(tmp_path, "mark").save(1, architecture.build().state_dict(), {})
        with pytest.raises(ValueError, match="step00000001 is no final checkpoint; expected the best or last of a run"):
            load_model(tmp_path / "step00000001")

    @pytest.mark.parametrize("damage", ["flip", "cut", "gone", "json"])
    def test_a_damaged_checkpoint_is_named_and_the_previous_one_used(self, tmp_path, caplog, damage):
        checkpoints = Checkpoints(tmp_path, "mark")
        for step in (1, 2, 3):
            checkpoints.save(step, {"x": torch.full((100,), float(step))}, {})
        assert len(list(tmp_path.glob("*.safetensors"))) == 2  # the two newest
        newest = tmp_path / "step00000003.safetensors"
        content = newest.read_bytes()
        if damage == "flip":
            newest.write_bytes(content[:-7] + bytes([content[-7] ^ 1]) + content[-6:])
        elif damage == "cut":
            newest.write_bytes(content[:-1])
        elif damage == "gone":
            newest.unlink()
        else:
            newest.with_suffix(".json").write_text("{")
        tensors, facts = checkpoints.load(checkpoints.newest())
        assert facts["step"] == 2
        assert tensors["x"][0] == 2
        assert "step00000003" in caplog.text

    def test_those_of_other_code_or_parameters_are_removed(self, tmp_path, caplog):
        """Left there, their higher steps would push out the new training's own."""
        Checkpoints(tmp_path, "then").save(5, {"x": torch.zeros(1)}, {})
        now = Checkpoints(tmp_path, "now")
        assert now.newest() is None
        assert "other code or parameters" in caplog.text
        now.save(1, {"x": torch.ones(1)}, {})
        assert now.newest() == 1
        assert len(list(tmp_path.iterdir())) == 2

    def test_lanes_in_any_order_come_back_as_they_were(self, budget, tmp_path):
        """Gates belong to places, and JSON sorts keys."""
        lanes = {"wavelet": {"wavelet": "haar", "levels": 1}, "chebyshev": {"order": 2}, "fourier": {"frequencies": 3}}
        architecture = Architecture(ModelSpec("wavestack", {"lanes": lanes}), budget, 257)
        model = architecture.build()
        save(tmp_path / "best", model.state_dict(), {"architecture": architecture.to_json()})
        x = torch.randint(257, (2, 30))
        assert torch.equal(load_model(tmp_path / "best")(x), model.eval()(x))

    @pytest.mark.parametrize(("damaged", "resumed"), [((50,), 40), ((40, 50), None)])
    def test_damaged_ones_of_later_steps_do_not_push_out_new_ones(self, tmp_path, damaged, resumed):
        checkpoints = Checkpoints(tmp_path, "mark")
        for step in (40, 50):
            checkpoints.save(step, {"x": torch.zeros(9)}, {})
        for step in damaged:
            (tmp_path / f"step{step:08d}.safetensors").write_bytes(b"damaged")
        again = Checkpoints(tmp_path, "mark")
        assert again.newest() == resumed
        began = resumed or 0
        again.save(began + 3, {"x": torch.ones(9)}, {})
        assert self.steps(tmp_path) == [*([resumed] if resumed else []), began + 3]
        again.save(began + 6, {"x": torch.ones(9)}, {})
        assert self.steps(tmp_path) == [began + 3, began + 6]
        assert Checkpoints(tmp_path, "mark").newest() == began + 6

    def test_saved_again_where_it_was_resumed_it_keeps_the_one_before(self, tmp_path):
        for step in (40, 50):
            checkpoints = Checkpoints(tmp_path, "mark")
            checkpoints.newest()
            checkpoints.save(step, {"x": torch.zeros(9)}, {})
        again = Checkpoints(tmp_path, "mark")
        assert again.newest() == 50
        again.save(50, {"x": torch.zeros(9)}, {})
        assert self.steps(tmp_path) == [40, 50]

    @staticmethod
    def steps(folder: Path) -> list[int]:
        """Of the checkpoints that are there, each in two files."""
        weights, facts = (sorted(int(path.stem[4:]) for path in folder.glob(f"step*.{kind}")) for kind in ("safetensors", "json"))
        assert weights == facts
        return facts

    def test_facts_that_are_not_those_written_are_refused(self, tmp_path):
        save(tmp_path / "a", {"x": torch.zeros(3)}, {"best_nats": 2.125, "curve": [[1, 2.5]]})
        facts = (tmp_path / "a.json").read_text()
        (tmp_path / "a.json").write_text(facts.replace("2.125", "1.125"))
        with pytest.raises(ValueError, match=r"a\.json is not what was written"):
            load(tmp_path / "a")
        (tmp_path / "a.json").write_text(json.dumps(json.loads(facts)))  # spelled otherwise
        assert load(tmp_path / "a")[1]["best_nats"] == 2.125

    def test_a_wrong_hash_is_refused(self, tmp_path):
        save(tmp_path / "a", {"x": torch.zeros(3)}, {})
        save(tmp_path / "b", {"x": torch.ones(3)}, {})
        (tmp_path / "a.safetensors").write_bytes((tmp_path / "b.safetensors").read_bytes())
        with pytest.raises(ValueError, match=r"a\.safetensors is not what was written"):
            load(tmp_path / "a")
