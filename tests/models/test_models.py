import math

import pytest
import torch
from torch import nn

from wavestack import budget as budgets
from wavestack.models.mixer import GatedMixer
from wavestack.models.transformer import Transformer, rotary_tables, rotate
from wavestack.params import ModelSpec


def test_wavestack_block_is_its_formula(wavestack, budget):
    """The block of the docstring, written out for one block with the module's own weights."""
    torch.manual_seed(0)
    model = budgets.build(wavestack, budget, 50)
    block = model.blocks[0]
    x = torch.randn(2, 20, budget.hidden)

    def rms(value, norm):
        return value / (value.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight

    u = rms(x, block.norm)
    taps = block.convolution.weight
    padded = torch.cat([torch.zeros(2, 2, budget.hidden), u], 1)
    v = nn.functional.silu(sum(taps[k] * padded[:, 2 - k : 22 - k] for k in range(3)))
    gates = torch.softmax(u @ block.mixer.gate.weight.T, -1)
    m = sum(
        gates[..., i : i + 1] * (rms(block.lanes[name](v)[0], block.norms[name]) @ block.projections[name].weight.T)
        for i, name in enumerate(("chebyshev", "fourier", "wavelet"))
    )
    y = x + (nn.functional.silu(u @ block.z.weight.T) * m) @ block.out.weight.T
    w = rms(y, block.mlp_norm)
    y = y + (nn.functional.silu(w @ block.mlp.gate.weight.T) * (w @ block.mlp.up.weight.T)) @ block.mlp.out.weight.T
    torch.testing.assert_close(block(x), y, atol=1e-5, rtol=1e-5)


def test_without_lanes_the_block_passes_v_on(wavestack, budget):
    block = budgets.build(wavestack.variant("lanes=none"), budget, 50).blocks[0]
    x = torch.randn(1, 9, budget.hidden)
    u = block.norm(x)
    v = nn.functional.silu(block.convolution(u)[0])
    y = x + block.out(nn.functional.silu(block.z(u)) * v)
    torch.testing.assert_close(block(x), y + block.mlp(block.mlp_norm(y)))


def test_gates_are_a_distribution_and_weigh_the_views():
    mixer = GatedMixer(4, 3)
    u, views = torch.randn(2, 5, 4), [torch.randn(2, 5, 4) for _ in range(3)]
    weights = mixer.weights(u)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(mixer(u, views), sum(weights[..., i : i + 1] * view for i, view in enumerate(views)))


def test_rotary_scores_depend_on_the_distance_alone():
    cosine, sine = rotary_tables(32, 8)
    q, k = torch.randn(8), torch.randn(8)

    def score(t, s):
        return rotate(q, cosine[t], sine[t]) @ rotate(k, cosine[s], sine[s])

    assert score(9, 4).item() == pytest.approx(score(29, 24).item(), abs=1e-5)
    assert score(9, 4).item() != pytest.approx(score(9, 3).item(), abs=1e-3)


def test_attention_equals_the_explicit_softmax(budget):
    torch.manual_seed(0)
    model = Transformer(40, 16, 1, 32, 8, head_width=8)
    block = model.blocks[0]
    x = torch.randn(1, 12, 16)
    q, k, v = (block.norm(x) @ block.qkv.weight.T).view(1, 12, 3, 2, 8).permute(2, 0, 3, 1, 4)
    cosine, sine = rotary_tables(32, 8)
    q, k = rotate(block.query_norm(q), cosine[:12], sine[:12]), rotate(block.key_norm(k), cosine[:12], sine[:12])
    scores = (q @ k.mT / math.sqrt(8)).masked_fill(torch.ones(12, 12).triu(1).bool(), float("-inf"))
    y = x + (scores.softmax(-1) @ v).transpose(1, 2).reshape(1, 12, 16) @ block.out.weight.T
    torch.testing.assert_close(block(x), y + block.mlp(block.mlp_norm(y)), atol=1e-5, rtol=1e-4)


def test_initial_weights(transformer, budget):
    """0.02 everywhere, divided by sqrt(2 blocks) where the residual stream is written; the first loss is that of guessing."""
    torch.manual_seed(0)
    wide = budget.model_copy(update={"hidden": 128, "parameters": 800_000})
    model = budgets.build(ModelSpec("transformer", {"head_width": 32}), wide, 1000)
    assert model.embedding.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert model.blocks[0].qkv.weight.std().item() == pytest.approx(0.02, rel=0.03)
    for layer in (model.blocks[0].out, model.blocks[1].mlp.out):
        assert layer.weight.std().item() == pytest.approx(0.02 / math.sqrt(2 * wide.blocks), rel=0.03)
    x = torch.randint(1000, (4, 32))
    loss = nn.functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten()).item()
    assert loss == pytest.approx(math.log(1000), abs=0.1)


def test_too_long_a_sequence_and_heads_that_do_not_fit_are_refused(wavestack, budget):
    with pytest.raises(ValueError, match="33 tokens is longer than the model's context of 32"):
        budgets.build(wavestack, budget, 50)(torch.zeros(1, 33, dtype=torch.long))
    with pytest.raises(ValueError, match="16 is no multiple of head_width 12"):
        budgets.build(ModelSpec("transformer", {"head_width": 12}), budget, 50)
