"""What lanes of a tiny model do, against what is known of it."""

import numpy
import pytest
import torch

from wavestack import budget as budgets
from wavestack.corpora.tokenizer import load_tokenizer
from wavestack.corpora.tokens import TokenFile
from wavestack.evaluation.complementarity import Watched, knockouts, silenced
from wavestack.evaluation.likelihood import document_losses
from wavestack.evaluation.token_classes import TokenClasses


@pytest.fixture
def model(wavestack, budget):
    torch.manual_seed(0)
    return budgets.build(wavestack, budget, 257).eval()


@pytest.fixture
def valid(tokens):
    return TokenFile.open(tokens, "valid")


@pytest.fixture
def classes(tokens):
    return TokenClasses(load_tokenizer(tokens / "tokenizer.json"))


def losses(model, valid):
    with torch.no_grad():
        return document_losses(model, valid, range(len(valid)), model.context, 4096)["nats"].to_numpy()


def test_a_lane_that_writes_nothing_is_no_loss_and_one_that_is_all_is_a_great_one(model, valid):
    """Wavelets write nothing, and Fourier so much that everything else drowns."""
    with torch.no_grad():
        for block in model.blocks:
            block.branches["wavelet"].out.weight.zero_()
            block.branches["fourier"].out.weight.mul_(50)
    whole, lost = losses(model, valid), knockouts(model, valid, 4096)
    assert set(lost["lane"]) == {"chebyshev", "fourier", "wavelet"}
    by_lane = {lane: part["nats"].to_numpy() for lane, part in lost.groupby("lane")}
    numpy.testing.assert_array_equal(by_lane["wavelet"], whole)
    changed = {lane: numpy.abs(nats - whole).sum() for lane, nats in by_lane.items()}
    assert changed["fourier"] > 10 * changed["chebyshev"] > 0
    assert lost.groupby("lane")["tokens"].sum().tolist() == [valid.borders[-1]] * 3


def test_a_silenced_lane_comes_back_whatever_happens(model, valid):
    before = losses(model, valid)
    with silenced(model, "fourier"):
        assert (losses(model, valid) != before).any()
    numpy.testing.assert_array_equal(losses(model, valid), before)
    with pytest.raises(RuntimeError), silenced(model, "fourier"):
        raise RuntimeError
    numpy.testing.assert_array_equal(losses(model, valid), before)


def test_weights_are_means_over_blocks_classes_and_places(model, valid, classes):
    """Against the model's own gates, token by token."""
    text = valid.document(3)[:20]
    watched = Watched(model, classes)
    watched.add(text)
    watched.add(text[:5])
    gates = model.gates(torch.from_numpy(text.astype(numpy.int64))[None])[:, 0].double()  # blocks x S x L
    both = torch.cat([gates, gates[:, :5]], 1)
    found = watched.summary()
    assert found["tokens"] == 25
    for place, block in enumerate(found["blocks"]):
        assert block["names"] == ["input", "chebyshev", "fourier", "wavelet"]
        assert list(block["weights"]["lanes"].values()) == pytest.approx(both[place].mean(0).tolist())
        entropy = -(both[place] * both[place].log()).sum(1)
        assert block["effective_lanes"] == pytest.approx(float(entropy.exp().mean()))
        assert [part["least"] for part in block["by_octave"]] == [1, 2, 4, 8, 16]
        assert [part["tokens"] for part in block["by_octave"]] == [2, 4, 6, 8, 5]
        assert list(block["by_octave"][0]["lanes"].values()) == pytest.approx(gates[place, 0].tolist())
        assert sum(part["tokens"] for part in block["by_class"]) == 25
        assert block["by_class"][0]["class"] == "end of text"
        assert list(block["by_class"][0]["lanes"].values()) == pytest.approx(gates[place, 0].tolist())


@pytest.mark.parametrize(("bias", "expected"), [(0.0, 3.0), (1e4, 1.0)])
def test_effective_lanes_are_all_or_one_at_the_ends(model, valid, classes, bias, expected):
    """Equal weights, and one that is far above the others."""
    watched = Watched(model, classes)
    for block in model.blocks:
        block.mixer.weights = lambda u, views: torch.softmax(torch.tensor([bias, 0.0, 0.0]), 0).expand(*u.shape[:2], 3)
    watched.add(valid.document(3)[:20])
    assert [block["effective_lanes"] for block in watched.summary()["blocks"]] == pytest.approx([expected] * 2)


def test_a_lane_is_like_itself_and_a_repeated_one_is_too(model, valid, classes):
    """Two lanes with the same weights say the same."""
    with torch.no_grad():
        for block in model.blocks:
            first, second = block.branches["chebyshev"], block.branches["fourier"]
            second.lane = first.lane
            second.inputs.weight.copy_(first.inputs.weight)
            second.convolution.weight.copy_(first.convolution.weight)
    watched = Watched(model, classes)
    watched.add(valid.document(3)[:30])
    for block in watched.summary()["blocks"]:
        assert block["cka"][1][2] == pytest.approx(1, abs=1e-6)
        assert block["cka"][1][3] < 0.999


def test_a_mixer_that_weighs_nothing_has_likeness_alone(wavestack, budget, valid, classes):
    mixed = wavestack.__class__("wavestack", {**wavestack.knobs, "mixer": "mlp"})
    watched = Watched(budgets.build(mixed, budget, 257).eval(), classes)
    watched.add(valid.document(3)[:30])
    (first, *_) = watched.summary()["blocks"]
    assert set(first) == {"names", "cka"}
