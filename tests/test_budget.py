import pytest
import torch

from wavestack import budget as budgets
from wavestack.reading import load
from wavestack.schema import Budget
from wavestack.variants import Variant


@pytest.mark.parametrize("variant", ["base", "lanes=none", "lanes=fourier", "lanes=chebyshev+wavelet"])
@pytest.mark.parametrize("parameters", [30_000, 100_000])
def test_every_subset_of_lanes_meets_the_budget(wavestack, budget, variant, parameters):
    asked = budget.model_copy(update={"parameters": parameters})
    size = budgets.solve(wavestack.variant(variant), asked, 257)
    assert abs(size.non_embedding / parameters - 1) <= 0.01
    assert abs(size.total / (parameters + 257 * asked.hidden) - 1) <= 0.01
    counted = sum(p.numel() for p in budgets.build(wavestack.variant(variant), asked, 257).parameters())
    assert counted == size.total


@pytest.mark.parametrize("hidden", [64, 96, 128, 256])
def test_hybrids_with_attention_are_as_large_as_what_they_are_compared_with(hidden):
    """Their heads divide the lanes' width at each of these, and one width of the MLP serves blocks of unequal lanes."""
    parameters = load("params/hybrids-cpu.yaml")
    specs = parameters.profile.studies.comparison.specs
    assert {"wavestack", "wavestack-attention", "wavestack-attention-once", "wavestack-attention-mixer", "transformer"} == set(specs)
    budget = parameters.profile.budgets["small"].model_copy(update={"hidden": hidden, "parameters": 45 * hidden**2})
    sizes = [budgets.solve(parameters.specs[name], budget, 2048) for name in specs]
    for counts in zip(*((size.total, size.non_embedding) for size in sizes), strict=True):
        assert max(counts) <= 1.01 * min(counts)


def test_count_of_a_transformer_by_hand(transformer):
    """A block: 2 norms of H, 4 H^2 of attention, 2 norms of a head, 3 H M of SwiGLU. The embedding is tied and counts once."""
    budget = Budget(hidden=16, blocks=3, context=32, parameters=10_000, tokens=1)
    size = budgets.solve(transformer, budget, 100)
    block = 2 * 16 + 4 * 16 * 16 + 2 * 8 + 3 * 16 * size.mlp
    assert size.non_embedding == 3 * block + 16
    assert size.total == size.non_embedding + 100 * 16


def test_a_budget_below_the_lanes_own_parameters_is_refused_with_the_distance(wavestack, budget):
    with pytest.raises(ValueError, match=r"budget of 1,000 non-embedding parameters cannot be met.*\+\d+.*% off.*0\.5% is allowed"):
        budgets.solve(wavestack, budget.model_copy(update={"parameters": 1000}), 257)


def test_a_width_that_is_too_coarse_is_refused(transformer):
    """One step of the MLP's width is 3 H blocks parameters; between two steps of a very small model nothing is near enough."""
    budget = Budget(hidden=8, blocks=2, context=32, parameters=1, tokens=1)
    one = budgets.instantiate(transformer, budget, 10, 1).parameter_counts()[1]
    between = one + 3 * 8 * 2 // 2
    assert 0.01 * between < 3 * 8 * 2 // 2
    with pytest.raises(ValueError, match="cannot be met"):
        budgets.solve(transformer, budget.model_copy(update={"parameters": between}), 10)
    assert budgets.solve(transformer, budget.model_copy(update={"parameters": one}), 10).mlp == 1


def test_solving_leaves_the_random_state_alone(wavestack, budget):
    torch.manual_seed(3)
    budgets.solve(wavestack, budget, 257)
    first = torch.rand(1)
    torch.manual_seed(3)
    assert torch.rand(1) == first


@pytest.mark.parametrize(
    "profile", ["quick", "smoke", "findings", "findings-cpu", "hybrids-cpu", "controls-cpu", "baseline-cpu", "published"]
)
def test_every_run_of_every_profile_can_be_built(profile):
    from wavestack.studies.ledger import ledger_rows

    parameters = load(f"params/{profile}.yaml")
    rows = ledger_rows(parameters)
    built = {(run.corpus, run.spec, Variant.parse(run.variant).model) for run in parameters.runs()}
    assert {(row["corpus"], row["spec"], row["variant"]) for row in rows} == built
    for row in rows:
        if row["target_parameters"] is None:  # a published model names its own size
            assert "reference" in row["spec"]
        else:
            assert abs(row["parameters"] / row["target_parameters"] - 1) <= 0.01
