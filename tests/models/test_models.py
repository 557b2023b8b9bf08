"""The blocks' formulas written out, their first weights, and what they refuse."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from tests.lanes import naive
from wavestack import budget as budgets
from wavestack import contract
from wavestack.lanes.attention import rotary_table, rotate
from wavestack.models.transformer import Transformer
from wavestack.models.wavestack import WaveStack
from wavestack.params import ModelSpec


def rms(x: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def swiglu(x: Tensor, mlp: nn.Module) -> Tensor:
    return (silu(x @ mlp.gate.weight.T) * (x @ mlp.up.weight.T)) @ mlp.out.weight.T


def view(branch: nn.Module, u: Tensor) -> Tensor:
    """norm(lane(silu(short_causal_conv(inputs(u)))))"""
    return rms(branch.lane(silu(naive.causal_filter(u @ branch.inputs.weight.T, branch.convolution.weight)))[0])


def written(branch: nn.Module, u: Tensor, mixed: Tensor) -> Tensor:
    return (branch.gain * silu(u @ branch.z.weight.T) * mixed) @ branch.out.weight.T


def random_block(model: nn.Module) -> nn.Module:
    """Gains and filters start at values that would hide a fault."""
    contract.randomise(model, 0)
    return model.blocks[0]


def test_wavestack_block_is_its_formula(wavestack, budget):
    block = random_block(budgets.build(wavestack, budget, 50))
    x = torch.randn(2, 20, budget.hidden)
    u = rms(x, block.norm.weight)
    gates = torch.softmax(u @ block.mixer.gate.weight.T, -1)
    assert list(block.branches) == ["chebyshev", "fourier", "wavelet"]
    y = x
    for place, branch in enumerate(block.branches.values()):
        assert len(branch.convolution.weight) == 3
        y = y + written(branch, u, gates[..., place, None] * view(branch, u))
    y = y + swiglu(rms(y, block.mlp_norm.weight), block.mlp)
    torch.testing.assert_close(block(x)[0], y, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("mixer", ["gated", "sigmoid"])
def test_a_block_with_an_added_lane_is_its_formula(wavestack, budget, mixer):
    """The base lanes' sum, and the added lane under exp(g) / sum of the base lanes' exp(g), or under its own sigmoid."""
    model = budgets.build(ModelSpec("wavestack", {**wavestack.knobs, "mixer": mixer}), budget, 50)
    model.add_lane("recall", features=4)
    block = random_block(model)
    x = torch.randn(2, 20, budget.hidden)
    u = rms(x, block.norm.weight)
    base, g = u @ block.mixer.gate.weight.T, u @ block.added["recall"].gate.weight.T
    if mixer == "gated":
        weights, weight = base.exp() / base.exp().sum(-1, keepdim=True), g.exp() / base.exp().sum(-1, keepdim=True)
    else:
        weights, weight = 1 / (1 + (-base).exp()), 1 / (1 + (-g).exp())
    y = x + written(block.added["recall"], u, weight * view(block.added["recall"], u))
    for place, branch in enumerate(block.branches.values()):
        y = y + written(branch, u, weights[..., place, None] * view(branch, u))
    y = y + swiglu(rms(y, block.mlp_norm.weight), block.mlp)
    torch.testing.assert_close(block(x)[0], y, atol=2e-5, rtol=1e-5)


def test_without_lanes_the_block_falls_back_on_an_identity_branch(wavestack, budget):
    block = random_block(budgets.build(wavestack.variant("lanes=none"), budget, 50))
    assert list(block.branches) == ["identity"]
    branch = block.branches["identity"]
    x = torch.randn(1, 9, budget.hidden)
    u = rms(x, block.norm.weight)
    passed_on = rms(silu(naive.causal_filter(u @ branch.inputs.weight.T, branch.convolution.weight)))
    y = x + written(branch, u, passed_on)  # the only gate is 1
    y = y + swiglu(rms(y, block.mlp_norm.weight), block.mlp)
    torch.testing.assert_close(block(x)[0], y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("convolution", [0, 4])
def test_transformer_block_is_its_formula(convolution):
    block = random_block(Transformer(40, 16, 1, 32, 8, head_width=8, convolution=convolution))
    x = torch.randn(2, 12, 16)
    u = rms(x, block.norm.weight)
    if convolution:
        u = naive.causal_filter(u, block.convolution.weight)
    q, k, v = (u @ block.qkv.weight.T).double().view(2, 12, 3, 2, 8).permute(2, 0, 3, 1, 4)  # B x heads x S x width
    q, k = naive.rotary(rms(q, block.attention.query_norm.weight)), naive.rotary(rms(k, block.attention.key_norm.weight))
    y = x + naive.attention(q, k, v, None).transpose(1, 2).reshape(2, 12, 16).float() @ block.out.weight.T
    y = y + swiglu(rms(y, block.mlp_norm.weight), block.mlp)
    torch.testing.assert_close(block(x)[0], y, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("knobs", [{"explicit_mask": True}, {"window": 40}])
@torch.no_grad()
def test_a_mask_or_a_wide_window_changes_no_logit(budget, knobs):
    torch.manual_seed(0)
    plain, other = (budgets.build(ModelSpec("transformer", {"head_width": 4, **more}), budget, 50) for more in ({}, knobs))
    other.load_state_dict(plain.state_dict())
    tokens = torch.randint(50, (2, 32))
    torch.testing.assert_close(other(tokens), plain(tokens), atol=1e-5, rtol=1e-4)
    _, state = other.advance(tokens[:, :20])
    torch.testing.assert_close(other.advance(tokens[:, 20:], state)[0], plain(tokens)[:, 20:], atol=1e-5, rtol=1e-4)


def test_rotary_scores_depend_on_the_distance_alone():
    angles = rotary_table(32, 8)
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(t, s):
        return (rotate(q, angles[t : t + 1]) * rotate(k, angles[s : s + 1])).sum().item()

    assert score(9, 4) == pytest.approx(score(29, 24), abs=1e-5)
    assert score(9, 4) != pytest.approx(score(9, 3), abs=1e-3)


class TestInitialWeights:
    """0.02 everywhere, divided by sqrt(2 blocks) where the residual stream is written; the first loss is that of guessing."""

    @pytest.fixture
    def wide(self, budget):
        return budget.model_copy(update={"hidden": 128, "parameters": 800_000})

    @staticmethod
    def first_loss(model):
        x = torch.randint(1000, (4, 32))
        return nn.functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten()).item()

    def test_transformer(self, wide):
        torch.manual_seed(0)
        model = budgets.build(ModelSpec("transformer", {"head_width": 32}), wide, 1000)
        assert model.embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert model.blocks[0].qkv.weight.std().item() == pytest.approx(0.02, rel=0.03)
        for layer in (model.blocks[0].out, model.blocks[1].mlp.out):
            assert layer.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * wide.blocks), rel=0.03)
        assert self.first_loss(model) == pytest.approx(math.log(1000), abs=0.1)

    def test_wavestack(self, wavestack, wide):
        torch.manual_seed(0)
        model = budgets.build(wavestack, wide, 1000)
        branch = model.blocks[1].branches["fourier"]
        for layer in (branch.inputs, branch.z, model.blocks[1].mlp.up):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        for layer in (branch.out, model.blocks[1].mlp.out):
            assert layer.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * wide.blocks), rel=0.05)
        assert torch.equal(branch.gain, torch.full((48,), 3.0))  # three lanes, each under a gate of about a third
        assert self.first_loss(model) == pytest.approx(math.log(1000), abs=0.1)


class TestTooLong:
    @pytest.mark.parametrize("lane", ["chebyshev", "fourier"])
    def test_a_basis_ends_at_t(self, wavestack, budget, lane):
        said = f"{lane.title()} lane: position 32 is beyond its context of 32; shorten the input or train with a larger context"
        assert self.refusals(budgets.build(wavestack.variant(f"lanes={lane}"), budget, 50)) == [said, said]

    @pytest.mark.parametrize(
        "spec",
        [
            ModelSpec("transformer", {"head_width": 8}),
            ModelSpec("wavestack", {"lanes": {"wavelet": {}}, "mixer": "sequence"}),
            ModelSpec("wavestack", {"lanes": {"wavelet": {}, "attention": {"head_width": 6, "blocks": [1]}}}),
        ],
        ids=["transformer", "mixer", "lane-of-one-block"],
    )
    def test_attention_ends_at_t(self, budget, spec):
        said = "attention: position 32 is beyond its context of 32; shorten the input, train with a larger context, or use a window"
        assert self.refusals(budgets.build(spec, budget, 50)) == [said, said]

    @staticmethod
    def refusals(model) -> list[str]:
        """What is said of position 32: of a sequence that is too long, and of one token more after one that is not."""
        _, state = model.advance(torch.zeros(1, 32, dtype=torch.long))
        said = []
        for length, past in ((33, None), (1, state)):
            with pytest.raises(ValueError, match="position 32") as caught:
                model.advance(torch.zeros(1, length, dtype=torch.long), past)
            said.append(str(caught.value))
        return said

    def test_wavelets_go_on(self, wavestack, budget):
        model = budgets.build(wavestack.variant("lanes=wavelet"), budget, 50)
        tokens = torch.randint(50, (1, 80))
        logits, state = model.advance(tokens[:, :32])
        later, _ = model.advance(tokens[:, 32:], state)
        torch.testing.assert_close(torch.cat([logits, later], 1), model(tokens), atol=1e-6, rtol=1e-4)


class TestWidths:
    def test_heads_that_do_not_fit(self, budget):
        with pytest.raises(ValueError, match="a width of 16 is no multiple of head_width 12"):
            budgets.build(ModelSpec("transformer", {"head_width": 12}), budget, 50)

    @pytest.mark.parametrize("share", [0.3, 0.01, 1e-12])
    def test_a_share_that_is_no_whole_number_of_channels(self, share):
        with pytest.raises(ValueError, match="is no whole number of 16 channels; change one of them"):
            WaveStack(50, 16, 1, 32, 8, lanes={}, lane_width=share)

    def test_a_share_whose_product_is_rounded(self):
        """200 * 0.55 is 110.00000000000001."""
        assert WaveStack(50, 200, 1, 32, 8, lanes={}, lane_width=0.55).lane_width == 110
