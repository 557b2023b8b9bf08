"""What a model must satisfy before it may train.

Each check looks at a model with random weights in *every* parameter, since a path that starts at zero hides its faults, on random tokens,
on the CPU in float32. A difference counts relative to the largest absolute logit: honest models differ by about 2e-7, because chunks add
in another order; a basis that depends on the length at hand differs by 1e-2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from wavestack import budget as budgets
from wavestack.lanes.projection import CHUNK
from wavestack.models.language_model import LanguageModel
from wavestack.params import Budget, ModelSpec

TOLERANCE = 1e-5
VOCABULARY = 101
LONGEST = 3 * CHUNK + 7  # positions looked at: three whole chunks and a cut one


@dataclass(frozen=True)
class Finding:
    """What a check saw."""

    check: str
    passed: bool
    difference: float  # relative to the largest logit, or in parameters
    position: int | None  # the first one that breaks the check
    detail: str


def check(spec: ModelSpec, budget: Budget, seed: int = 0) -> list[Finding]:
    """All checks of a spec at a budget. Nothing in them depends on the vocabulary, so a small one serves."""
    model = budgets.build(spec, budget, VOCABULARY)
    return [*check_model(model, VOCABULARY, seed), parameter_count(spec, budget, VOCABULARY)]


def check_model(model: LanguageModel, vocabulary: int, seed: int = 0) -> list[Finding]:
    """The checks that look at logits, for any model."""
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(vocabulary, (2, min(LONGEST, model.context)), generator=generator)
    other = (tokens + torch.randint(1, vocabulary, tokens.shape, generator=generator)) % vocabulary  # differs everywhere
    with torch.no_grad():
        return [causality_by_perturbation(model, tokens, other), prefix_consistency(model, tokens)]


def causality_by_perturbation(model: Callable[[Tensor], Tensor], tokens: Tensor, other: Tensor) -> Finding:
    """Check 1: changing the tokens after t changes no logit at or before t."""
    logits = model(tokens)
    differences = []
    for t in _straddling(tokens.shape[1] - 1):
        changed = torch.cat([tokens[:, : t + 1], other[:, t + 1 :]], 1)
        differences += _differences(model(changed)[:, : t + 1], logits[:, : t + 1], f"after changing the tokens from {t + 1} on")
    return _worst("causality by perturbation", differences)


def prefix_consistency(model: Callable[[Tensor], Tensor], tokens: Tensor) -> Finding:
    """Check 3: the logits of every prefix are the prefix of the logits."""
    logits = model(tokens)
    differences = []
    for length in _straddling(tokens.shape[1]):
        differences += _differences(model(tokens[:, :length]), logits[:, :length], f"in the prefix of {length} tokens")
    return _worst("prefix consistency", differences)


def parameter_count(spec: ModelSpec, budget: Budget, vocabulary: int) -> Finding:
    """Check 8: what the model says of its size, and met the budget with, is the module's own count, a tied weight counted once."""
    declared = budgets.solve(spec, budget, vocabulary)
    model = budgets.instantiate(spec, budget, vocabulary, declared.mlp)
    storages = {
        parameter.data_ptr(): parameter.numel() for parameter in model.state_dict(keep_vars=True).values() if parameter.requires_grad
    }
    counted = sum(storages.values())
    return Finding(
        "parameter count",
        counted == declared.total,
        counted - declared.total,
        None,
        f"{declared.total:,} declared, {counted:,} counted, vocabulary {vocabulary:,}",
    )


def randomise(model: nn.Module, seed: int) -> None:
    """Random weights in every parameter: matrices keep the scale of what passes through them, everything else is near 1."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        matrix = parameter.ndim > 1
        parameter.data = noise / sqrt(parameter.shape[-1]) if matrix else 1 + 0.5 * noise


def _straddling(most: int) -> list[int]:
    """Lengths up to `most` on both sides of the chunks' borders."""
    borders = [n for chunk in range(0, most + CHUNK, CHUNK) for n in (chunk - 1, chunk, chunk + 1)]
    return sorted({n for n in (*borders, most // 2, most - 1) if 1 <= n <= most})


def _differences(logits: Tensor, expected: Tensor, where: str) -> list[tuple[float, int, str]]:
    """(largest relative difference, first position beyond the tolerance or the worst, where)."""
    scale = max(expected.abs().max().item(), torch.finfo(torch.float32).tiny)
    by_position = (logits - expected).abs().amax((0, 2)) / scale  # S
    by_position = by_position.nan_to_num(nan=float("inf"))
    beyond = (by_position > TOLERANCE).nonzero()
    position = int(beyond[0]) if len(beyond) else int(by_position.argmax())
    return [(by_position.max().item(), position, where)]


def _worst(name: str, differences: list[tuple[float, int, str]]) -> Finding:
    difference, position, where = max(differences, key=lambda found: found[0])
    passed = difference <= TOLERANCE
    detail = f"largest relative difference {difference:.1e} (allowed {TOLERANCE:.0e}), {where}"
    return Finding(name, passed, difference, None if passed else position, detail)
