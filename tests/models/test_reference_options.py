"""The published options of the published model, against loops over positions and numbers computed by hand."""

import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from wavestack import contract, registry
from wavestack.models.reference import RecallBias, Reference, alike, uneven
from wavestack.models.reference_lanes import PublishedRecall, ramped
from wavestack.params import ModelSpec
from wavestack.schema import Budget, knob_schema

KNOBS = {"hidden": 12, "frequencies": 9, "dropout": 0.0}


@pytest.mark.parametrize("decay", [1.0, 0.98, 0.5])
def test_recall_against_its_recurrence(decay):
    torch.manual_seed(0)
    lane = PublishedRecall(6, 4, decay, 1, 0.0).double()
    x = torch.randn(2, 30, 6, dtype=torch.float64)
    q, k, v = lane.qkv(x).split([4, 4, 6], -1)
    phi = lambda each: functional.elu(each) + 1  # noqa: E731
    memory, total, steps = torch.zeros(2, 4, 6, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64), []
    for t in range(30):
        memory = decay * memory + phi(k[:, t])[:, :, None] * v[:, t][:, None, :]
        total = decay * total + phi(k[:, t])
        steps.append((phi(q[:, t])[:, None, :] @ memory)[:, 0] / (phi(q[:, t]) * total).sum(-1, keepdim=True))
    torch.testing.assert_close(lane(x), lane.mlp(torch.stack(steps, 1)))


def test_recall_s_flops_are_of_its_layers_and_of_all_pairs():
    lane = PublishedRecall(6, 4, 1.0, 1, 0.0)
    assert lane.flops(10) == 2 * 10 * (6 * 14 + 36 + 36) + 2 * 100 * (4 + 6)


def test_a_recall_bias_counts_what_was_seen():
    """Decay 0.5, beta 2, gates half open: after the tokens 3, 1, 3 the count of 3 is 1 + 0.25 and that of 1 is 0.5."""
    bias = RecallBias(4, 0.5)
    with torch.no_grad():
        bias.beta.fill_(2.0)
        bias.gate.weight.zero_()
        bias.gate.bias.zero_()
    logits = bias(torch.zeros(1, 3, 5), torch.randn(1, 3, 4), torch.tensor([[3, 1, 3]]))
    torch.testing.assert_close(logits[0, 2], torch.tensor([0.0, 0.5, 0.0, 1.25, 0.0]))
    torch.testing.assert_close(logits[0, 0], torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0]))
    later = bias(torch.zeros(1, 1, 5), torch.randn(1, 1, 4), torch.tensor([[3, 1, 3]]))
    torch.testing.assert_close(later[0, 0], logits[0, 2])


def test_a_bias_says_nothing_at_first():
    torch.manual_seed(0)
    with_bias = Reference(50, 32, **KNOBS, recall_bias=0.9).eval()
    without = Reference(50, 32, **KNOBS).eval()
    without.load_state_dict(with_bias.state_dict(), strict=False)
    tokens = torch.randint(50, (2, 20))
    assert torch.equal(with_bias(tokens), without(tokens))


@pytest.mark.parametrize(
    "options",
    [{"recall": 4, "recall_decay": 0.98}, {"recall_bias": 0.9}, {"views": ("wavelet",)}, {"ramp": 100, "order": 9, "levels": 4}],
)
def test_options_break_nothing_but_what_the_model_declares(options):
    """Over the whole context nothing is broken at all, whatever the option; a model of running means alone breaks nothing anyway."""
    spec = ModelSpec("reference", {"hidden": 16, "frequencies": 9, "stretched": "context", **options})
    findings = contract.check(spec, Budget(hidden=1, blocks=1, context=64, parameters=1, tokens=1))
    assert [finding for finding in findings if not finding.passed or finding.declared] == []


def test_views_are_the_lanes_that_are_asked_for():
    model = Reference(50, 32, **KNOBS, views=("wavelet", "chebyshev"), recall=4)
    assert [type(lane).__name__ for lane in model.lanes] == ["PublishedChebyshev", "PublishedWavelet", "PublishedRecall"]
    whole = Reference(50, 32, **KNOBS)
    assert model.flops(32) != whole.flops(32)


def test_lanes_that_say_the_same_or_the_opposite():
    """Two lanes alike and a third across: cosines of 1, 0 and 0, a mean of 1/3. Two opposite ones have -1."""
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])
    assert alike(torch.stack([a, 2 * a, b]).expand(2, 5, 3, 2)).item() == pytest.approx(0.1 / 9)
    assert alike(torch.stack([a, -a]).expand(2, 5, 2, 2)).item() == pytest.approx(0.1)


def test_lanes_of_unequal_energy():
    """Energies of 1 and 3: a standard deviation of 1 over a mean of 2."""
    views = torch.stack([torch.ones(4), math.sqrt(3) * torch.ones(4)]).expand(2, 5, 2, 4)
    assert uneven(views).item() == pytest.approx(0.1 / 4)
    assert uneven(torch.ones(2, 5, 3, 4)).item() == pytest.approx(0)


@pytest.mark.parametrize("diversity", ["cosine", "energy"])
def test_a_penalty_is_of_training_alone(diversity):
    torch.manual_seed(0)
    model = Reference(50, 32, **KNOBS, diversity=diversity)
    tokens = torch.randint(50, (2, 20))
    model(tokens)
    views = torch.stack([lane(model.positioned(model.embed(tokens))) for lane in model.lanes], 2)
    assert model.penalty.item() == pytest.approx({"cosine": alike, "energy": uneven}[diversity](views).item(), rel=1e-5)
    assert model.penalty.requires_grad
    model.eval()(tokens)
    assert model.penalty is None
    assert Reference(50, 32, **KNOBS).train().penalty is None


def test_the_ramp_goes_from_few_to_all():
    assert [ramped(4, 32, part) for part in (0, 0.25, 0.5, 1)] == [4, 11, 18, 32]
    assert [ramped(16, 9, part) for part in (0, 1)] == [9, 9]  # never more than there are
    assert [ramped(1, 3, part) for part in (0, 0.5, 1)] == [1, 2, 3]


def test_a_model_on_its_ramp_is_the_smaller_one_and_then_the_whole(monkeypatch):
    torch.manual_seed(0)
    knobs = {**KNOBS, "order": 8, "frequencies": 16, "levels": 3}
    growing, whole = Reference(50, 64, **knobs, ramp=10).eval(), Reference(50, 64, **knobs).eval()
    whole.load_state_dict(growing.state_dict(), strict=False)
    tokens = torch.randint(50, (2, 40))
    assert not torch.equal(growing(tokens), whole(tokens))
    for lane in whole.lanes[:1]:
        monkeypatch.setattr(lane, "order", 4)
    few = whole.lanes[2]
    monkeypatch.setattr(few, "view", lambda x, part: type(few).view(few, x, 0.0))
    assert torch.equal(growing(tokens), whole(tokens))
    monkeypatch.undo()
    growing.at_step(10)
    assert torch.equal(growing(tokens), whole(tokens))


def test_how_far_the_ramp_is_comes_with_the_weights():
    knobs = {**KNOBS, "order": 8, "ramp": 10}
    grown, fresh = Reference(50, 64, **knobs).eval(), Reference(50, 64, **knobs).eval()
    grown.at_step(7)
    fresh.load_state_dict(grown.state_dict())
    assert fresh.trained.item() == 7
    assert fresh.parameter_counts() == Reference(50, 64, **{**knobs, "ramp": 0}).parameter_counts()


@pytest.mark.parametrize(
    "wrong", [{"recall": -1}, {"recall_decay": 0.0}, {"recall_bias": 1.5}, {"views": ()}, {"views": ("recall",)}, {"diversity": "all"}]
)
def test_options_are_held_to_their_limits(wrong):
    with pytest.raises(ValidationError):
        knob_schema(registry.MODELS["reference"])(**wrong)
