"""Honest models pass; planted mutants are caught and named."""

import pytest
import torch

from wavestack import budget as budgets
from wavestack import contract
from wavestack.lanes import projection
from wavestack.lanes.wavelet import Wavelet
from wavestack.models.language_model import LanguageModel
from wavestack.params import Budget, load

BUDGET = Budget(hidden=16, blocks=2, context=256, parameters=14_000, tokens=1)


def broken(findings):
    return {finding.check: finding for finding in findings if not finding.passed}


@pytest.mark.parametrize("name", list(load("params/smoke.yaml").specs))
def test_every_registered_spec_passes(name):
    spec = load("params/smoke.yaml").specs[name]
    findings = contract.check(spec, BUDGET.model_copy(update={"hidden": 64, "parameters": 180_000}))
    assert not broken(findings)
    assert [finding.check for finding in findings] == ["causality by perturbation", "prefix consistency", "parameter count"]
    assert max(f.difference for f in findings) < 2e-6  # honest models are far from the tolerance


@pytest.mark.parametrize("variant", ["lanes=none", "lanes=chebyshev", "lanes=fourier", "lanes=wavelet", "lanes=fourier+wavelet"])
def test_every_kind_of_variant_passes(wavestack, variant):
    assert not broken(contract.check(wavestack.variant(variant), BUDGET))


def test_a_wavelet_one_step_ahead_is_caught(wavestack, monkeypatch):
    honest = Wavelet.forward

    def ahead(self, x, state=None):
        y, state = honest(self, x, state)
        return torch.cat([y[:, 1:], y[:, -1:]], 1), state

    monkeypatch.setattr(Wavelet, "forward", ahead)
    found = broken(contract.check(wavestack, BUDGET))
    assert {"causality by perturbation", "prefix consistency"} <= set(found)
    assert found["causality by perturbation"].position is not None
    assert found["causality by perturbation"].difference > 1e-3


def test_a_basis_that_depends_on_the_length_at_hand_is_caught(wavestack, monkeypatch):
    """Causal at every length, and inconsistent between lengths: only prefix consistency sees it."""
    honest = projection.Projection.forward

    def stretched(self, x, state=None):
        basis, length = self.basis, x.shape[1]
        self.basis = basis[torch.linspace(0, self.context - 1, length).long()]
        try:
            return honest(self, x, state)
        finally:
            self.basis = basis

    monkeypatch.setattr(projection.Projection, "forward", stretched)
    found = broken(contract.check(wavestack, BUDGET))
    assert set(found) == {"prefix consistency"}


def test_an_unmasked_attention_is_caught(transformer, monkeypatch):
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda q, k, v, is_causal: attention(q, k, v))
    assert "causality by perturbation" in broken(contract.check(transformer, BUDGET))


def test_nan_does_not_pass(transformer):
    model = budgets.build(transformer, BUDGET, 100)
    tokens = torch.zeros(1, 20, dtype=torch.long)
    finding = contract.prefix_consistency(lambda t: model(t) * (float("nan") if t.shape[1] < 20 else 1), tokens)
    assert not finding.passed


def test_an_untied_head_that_the_declared_count_leaves_out_is_caught(transformer, monkeypatch):
    """As the published count did. 101 entries x 16 channels."""
    assert contract.parameter_count(transformer, BUDGET, 101).passed
    honest = LanguageModel.__init__

    def untied(self, vocabulary, hidden, context, blocks):
        honest(self, vocabulary, hidden, context, blocks)
        self.head = torch.nn.Linear(hidden, vocabulary, bias=False)

    def flattering(self):
        total = sum(p.numel() for name, p in self.named_parameters() if not name.startswith("head"))
        return total, total - self.embedding.weight.numel()

    monkeypatch.setattr(LanguageModel, "__init__", untied)
    monkeypatch.setattr(LanguageModel, "parameter_counts", flattering)
    finding = contract.parameter_count(transformer, BUDGET, 101)
    assert not finding.passed
    assert finding.difference == 1616


def test_random_weights_reach_every_parameter(wavestack):
    model = budgets.build(wavestack, BUDGET, 100)
    for parameter in model.parameters():
        parameter.data.zero_()
    contract.randomise(model, 0)
    assert all(parameter.abs().max() > 0 for parameter in model.parameters())


def test_straddling_lengths_touch_both_sides_of_every_border():
    lengths = contract._straddling(3 * projection.CHUNK + 7)
    for border in (projection.CHUNK, 2 * projection.CHUNK, 3 * projection.CHUNK):
        assert {border - 1, border, border + 1} <= set(lengths)
    assert max(lengths) <= 3 * projection.CHUNK + 7
    assert min(lengths) == 1
