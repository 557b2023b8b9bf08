"""The published baseline against its formula written out, its sizes and its state."""

import copy
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from wavestack import contract
from wavestack.models.reference_transformer import ReferenceTransformer
from wavestack.params import ModelSpec
from wavestack.schema import Budget

V, T = 50257, 512
KNOBS = {"hidden": 12, "blocks": 2, "heads": 3}


def literal(model: ReferenceTransformer, tokens: Tensor) -> Tensor:
    """Head by head and with an explicit softmax."""
    batch, length = tokens.shape
    x = model.token.weight[tokens] + model.position.weight[:length]
    later = torch.ones(length, length).triu(1).bool()
    for block in model.blocks:
        u = normed(x, block.norm) @ block.qkv.weight.T + block.qkv.bias
        q, k, v = (part.view(batch, length, block.heads, -1) for part in u.chunk(3, -1))
        heard = []
        for head in range(block.heads):
            scores = q[:, :, head] @ k[:, :, head].mT / math.sqrt(q.shape[-1])
            heard.append(scores.masked_fill(later, float("-inf")).softmax(-1) @ v[:, :, head])
        x = x + torch.cat(heard, -1) @ block.out.weight.T + block.out.bias
        up, down = block.mlp[0], block.mlp[3]
        x = x + functional.gelu(normed(x, block.mlp_norm) @ up.weight.T + up.bias) @ down.weight.T + down.bias
    return normed(x, model.norm) @ model.head.weight.T


def normed(x: Tensor, norm) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight + norm.bias


@pytest.mark.parametrize("explicit_mask", [True, False])
@pytest.mark.parametrize("length", [1, 2, 33])
def test_logits_and_gradients_are_those_of_the_formula(explicit_mask, length):
    torch.manual_seed(0)
    model = ReferenceTransformer(50, 40, **KNOBS, explicit_mask=explicit_mask, dropout=0.0)
    contract.randomise(model, 1)
    precise = copy.deepcopy(model).double()
    tokens = torch.randint(50, (2, length))
    logits, expected = model(tokens), literal(precise, tokens)
    weights = torch.randn(logits.shape)
    (logits * weights).sum().backward()
    (expected * weights).sum().backward()
    # the gradient of a key's bias is zero but for rounding, since a softmax does not see it: measured by the whole layer's
    pairs = [(logits, expected), *((a.grad, b.grad) for a, b in zip(model.parameters(), precise.parameters(), strict=True))]
    for found, truth in pairs:
        assert (found - truth).abs().max() < 1e-5 * max(truth.abs().max(), 1.0)


@pytest.mark.parametrize(
    ("knobs", "total", "published"),
    [
        ({}, 23_840_320, 23_839_872),  # small
        ({"hidden": 384, "blocks": 11, "heads": 6}, 58_313_856, 58_313_088),  # large
        ({"hidden": 384, "heads": 6}, 42_343_680, None),  # equal to the small WaveStack
    ],
)
def test_published_sizes(knobs, total, published):
    """Those published left out the last norm."""
    with torch.device("meta"):
        model = ReferenceTransformer(V, T, **knobs)
    assert model.parameter_counts() == (total, total - 2 * model.head.weight.numel())
    assert published in (None, total - sum(parameter.numel() for parameter in model.norm.parameters()))


@pytest.mark.parametrize("explicit_mask", [True, False])
def test_it_satisfies_the_whole_contract(explicit_mask):
    spec = ModelSpec("reference-transformer", {**KNOBS, "explicit_mask": explicit_mask})
    findings = contract.check(spec, Budget(hidden=1, blocks=1, context=256, parameters=1, tokens=1))
    assert all(finding.passed and not finding.declared for finding in findings)
    assert max(finding.difference for finding in findings if finding.precision == "float32") < 2e-6


@pytest.mark.parametrize("explicit_mask", [True, False])
def test_the_mask_is_explicit_where_asked_for(explicit_mask, monkeypatch):
    masks = []
    attend = functional.scaled_dot_product_attention

    def watched(q, k, v, attn_mask=None, is_causal=False):
        masks.append((attn_mask is not None, is_causal))
        return attend(q, k, v, attn_mask=attn_mask, is_causal=is_causal)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", watched)
    ReferenceTransformer(50, 40, **KNOBS, explicit_mask=explicit_mask)(torch.randint(50, (1, 20)))
    assert masks == [(explicit_mask, not explicit_mask)] * 2


def test_flops_and_state():
    model = ReferenceTransformer(50, 40, **KNOBS)
    linear = 2 * 12 * 12 * 12 + 12 * 50  # two blocks of 12 H^2, and the output layer
    assert model.flops(1) == 2 * linear + 2 * 4 * 12
    assert model.flops(40) == 40 * 2 * linear + 2 * 4 * 12 * (40 * 41 // 2)
    _, state = model.advance(torch.randint(50, (1, 7)))
    assert model.state_bytes(7) == sum(tensor.numel() * 4 for block in state for tensor in block)


def test_it_starts_as_pytorch_s_own_layers_do():
    """torch.nn.MultiheadAttention's own start, which differs from a linear layer's; embeddings N(0, 1)."""
    torch.manual_seed(0)
    model = ReferenceTransformer(500, 100)
    for embedding in (model.token, model.position):
        assert embedding.weight.std().item() == pytest.approx(1, rel=0.03)
    own = torch.nn.MultiheadAttention(224, 7)
    for block in model.blocks:
        assert block.qkv.weight.std().item() == pytest.approx(own.in_proj_weight.std().item(), rel=0.02)
        assert block.out.weight.std().item() == pytest.approx(own.out_proj.weight.std().item(), rel=0.02)
        assert not block.qkv.bias.any()
        assert not block.out.bias.any()


def test_dropout_is_off_in_evaluation():
    model = ReferenceTransformer(50, 40, **KNOBS, dropout=0.5)
    tokens = torch.randint(50, (1, 20))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="a width of 224 is no multiple of 6 heads; change hidden or heads"):
        ReferenceTransformer(50, 40, heads=6)


def test_the_learned_positions_end():
    model = ReferenceTransformer(50, 8, **KNOBS)
    message = "position 8 is beyond its context of 8, where its learned positions end; shorten the input or train with a larger context"
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 9, dtype=torch.long))
    _, state = model.advance(torch.zeros(1, 8, dtype=torch.long))
    with pytest.raises(ValueError, match=message):
        model.advance(torch.zeros(1, 1, dtype=torch.long), state)
