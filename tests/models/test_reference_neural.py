"""The published baseline without lanes against its formula written out."""

import copy

import pytest
import torch
from torch.nn import functional

from wavestack import contract
from wavestack.models.reference_neural import ReferenceNeural
from wavestack.params import ModelSpec
from wavestack.schema import Budget


def literal(model, tokens):
    """Position by position; the context block as three matrices, for the position itself and the two before it."""
    x = model.token.weight[tokens] + model.position.weight[: tokens.shape[1]]
    for linear, _, norm in model.layers:
        x = functional.layer_norm(functional.gelu(x @ linear.weight.T + linear.bias), norm.normalized_shape, norm.weight, norm.bias)
    if model.context_block is not None:
        weight, bias = model.context_block.convolution.weight, model.context_block.convolution.bias
        y = torch.zeros_like(x)
        for t in range(x.shape[1]):
            for back in range(min(3, t + 1)):
                y[:, t] += x[:, t - back] @ weight[:, :, 2 - back].T
        x = x + functional.gelu(y + bias)
    return functional.layer_norm(x, model.norm.normalized_shape, model.norm.weight, model.norm.bias) @ model.head.weight.T


@pytest.mark.parametrize("context_block", [True, False])
def test_logits_are_those_of_the_formula(context_block):
    model = ReferenceNeural(50, 40, hidden=12, context_block=context_block).eval()
    contract.randomise(model, 1)
    tokens = torch.randint(50, (2, 17))
    expected = literal(copy.deepcopy(model).double(), tokens)
    assert (model(tokens) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("context_block", [True, False])
def test_it_keeps_the_contract(context_block):
    spec = ModelSpec("reference-neural", {"hidden": 16, "context_block": context_block})
    findings = contract.check(spec, Budget(hidden=16, blocks=1, context=64, parameters=1000, tokens=1))
    assert [finding.check for finding in findings if not finding.passed] == []


def test_its_position_ends_at_t():
    model = ReferenceNeural(50, 8, hidden=12)
    with pytest.raises(ValueError, match="ReferenceNeural: position 8 is beyond its context of 8"):
        model(torch.zeros(1, 9, dtype=torch.int64))
