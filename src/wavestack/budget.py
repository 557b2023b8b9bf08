"""What is equal between models that are compared, and the MLP width that makes it so."""

from dataclasses import dataclass

import torch

from wavestack import registry
from wavestack.models.language_model import LanguageModel
from wavestack.params import ModelSpec
from wavestack.schema import Budget

TOLERANCE = 0.005  # of the budget, so that any two models are within 1% of one another


@dataclass(frozen=True)
class Size:
    """A model's solved width and its counts, taken from the instantiated module."""

    mlp: int | None  # None where the model names its own widths
    total: int
    non_embedding: int


def instantiate(spec: ModelSpec, budget: Budget, vocabulary: int, mlp: int | None) -> LanguageModel:
    """The model of a spec, with random weights from torch's generator."""
    model = registry.load(registry.MODELS[spec.model])
    if model.names_its_size:
        return model(vocabulary, budget.context, **spec.knobs)
    return model(vocabulary, budget.hidden, budget.blocks, budget.context, mlp, **spec.knobs)


def solve(spec: ModelSpec, budget: Budget, vocabulary: int) -> Size:
    """The MLP width at which the spec has the budget's parameters.

    The count is linear in the width, so two instantiations give the line; a third one, at the solution, gives the counts. A published
    model, which names its own widths, is only counted.

    Raises:
        ValueError: with the distance, where no width comes within 0.5% of the budget.
    """
    if registry.load(registry.MODELS[spec.model]).names_its_size:
        return Size(None, *_count(spec, budget, vocabulary, None))
    one, two = (_count(spec, budget, vocabulary, mlp)[1] for mlp in (1, 2))
    mlp = max(1, round(1 + (budget.parameters - one) / (two - one)))
    total, non_embedding = _count(spec, budget, vocabulary, mlp)
    asked_total = budget.parameters + vocabulary * budget.hidden
    if abs(non_embedding - budget.parameters) > TOLERANCE * budget.parameters or abs(total - asked_total) > TOLERANCE * asked_total:
        raise ValueError(
            f"the budget of {budget.parameters:,} non-embedding parameters cannot be met: at hidden {budget.hidden} and {budget.blocks} "
            f"blocks the nearest is {non_embedding:,} (MLP width {mlp}), {non_embedding / budget.parameters - 1:+.1%} off, "
            f"and {TOLERANCE:.1%} is allowed; change parameters, hidden or blocks"
        )
    return Size(mlp, total, non_embedding)


def build(spec: ModelSpec, budget: Budget, vocabulary: int) -> LanguageModel:
    """The model of a spec at the budget's size, its counts asserted, with random weights from torch's generator."""
    size = solve(spec, budget, vocabulary)
    model = instantiate(spec, budget, vocabulary, size.mlp)
    assert model.parameter_counts() == (size.total, size.non_embedding)
    return model


def _count(spec: ModelSpec, budget: Budget, vocabulary: int, mlp: int | None) -> tuple[int, int]:
    with torch.device("meta"):  # shapes without memory
        return instantiate(spec, budget, vocabulary, mlp).parameter_counts()
