"""What a model must satisfy before it may train.

Each check looks at a model with random weights in *every* parameter, since a path that starts at zero hides its faults, on random tokens,
in every precision that trainings use, on the CPU, or on the GPU that is asked for. A difference counts relative to the largest absolute
logit: honest models differ by about 2e-7 in float32, because chunks add in another order; a basis that depends on the length at hand
differs by 8e-3 and more.

A published model is registered with the checks that it is known to break. An undeclared break fails, and so does a declared one that no
longer occurs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from wavestack import budget as budgets
from wavestack.device import autocast, round_products
from wavestack.lanes.projection import CHUNK
from wavestack.models.language_model import LanguageModel
from wavestack.params import ModelSpec
from wavestack.schema import Budget

TOLERANCE = {"float32": 1e-5, "bfloat16": 3e-2}  # relative; bfloat16 keeps 8 bits of each matrix product's inputs
VOCABULARY = 101
LONGEST = 3 * CHUNK + 7  # positions looked at: three whole chunks and a cut one
CHUNKS = (1, CHUNK - 2, CHUNK + 1, 3, CHUNK // 2, 1, 1)  # uneven prefill; the rest is taken in steps


@dataclass(frozen=True)
class Finding:
    """What a check saw."""

    check: str
    precision: str
    passed: bool  # it holds, or is a declared break that occurs; what is not finite never passes
    declared: bool  # a known break of a published model
    difference: float  # relative to the largest logit (or gradient), or in parameters; infinite for NaN, infinities and errors
    position: int | None  # the first one beyond the tolerance, where there is one
    detail: str

    @property
    def verdict(self) -> str:
        if self.passed:
            return "declared break" if self.declared else "holds"
        return "DECLARED BUT HOLDS" if self.declared and isfinite(self.difference) else "BROKEN"


@dataclass(frozen=True)
class Difference:
    """The largest relative difference of one comparison, the first position beyond the tolerance (or else the worst), and where it was."""

    size: float
    position: int | None
    where: str


@dataclass(frozen=True)
class Sample:
    """What the checks look at."""

    tokens: Tensor  # B x S
    other: Tensor  # B x S, different at every place
    precision: str
    generator: torch.Generator


def check(spec: ModelSpec, budget: Budget, seed: int = 0, device: str = "cpu") -> list[Finding]:
    """All checks of a spec at a budget. Nothing in them depends on the vocabulary, so a small one serves."""
    model, twin = (budgets.build(spec, budget, VOCABULARY) for _ in range(2))
    return [*check_model(model, twin, VOCABULARY, seed, device), parameter_count(spec, budget, VOCABULARY)]


def check_model(model: LanguageModel, twin: LanguageModel, vocabulary: int, seed: int = 0, device: str = "cpu") -> list[Finding]:
    """The checks that look at logits.

    Args:
        model: gets random weights, the same on every device, and is moved there.
        twin: built as the model was, with weights of its own; gets those of the model's checkpoint.
    """
    for each, salt in ((model, seed), (twin, seed + 1)):
        randomise(each.eval(), salt)
        each.to(device)
    findings = []
    for precision in TOLERANCE:
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(vocabulary, (2, min(LONGEST, model.context)), generator=generator)
        other = (tokens + torch.randint(1, vocabulary, tokens.shape, generator=generator)) % vocabulary
        sample = Sample(tokens.to(device), other.to(device), precision, generator)
        round_products(device, precision)
        for name, look in CHECKS.items():
            declared = name in model.breaks
            if declared and precision != "float32":
                continue  # a known break is looked for where it shows: beyond float32's tolerance
            with torch.set_grad_enabled(name == "causality by gradient"), autocast(device, precision):
                findings.append(_found(name, precision, declared, look(model, sample)))
    with torch.no_grad():
        findings.append(_found("save and load", "float32", "save and load" in model.breaks, save_and_load(model, twin, sample.tokens)))
    return findings


def _found(name: str, precision: str, declared: bool, differences: Iterable[Difference]) -> Finding:
    try:
        worst = max(differences, key=lambda difference: difference.size)
    except Exception as error:  # PyTorch's own: shapes that do not fit a state, tensors that cannot be stored; anything, in a user's lane
        said = (str(error).strip().splitlines() or [""])[0]
        worst = Difference(
            inf, None, f"where it fails with: {said if isinstance(error, RuntimeError) else f'{type(error).__name__}: {said}'}"
        )
    allowed = TOLERANCE[precision]
    holds = worst.size <= allowed
    detail = f"largest relative difference {worst.size:.1e} (allowed {allowed:.0e}), {worst.where}"
    passed = holds != declared and isfinite(worst.size)
    return Finding(name, precision, passed, declared, worst.size, None if holds else worst.position, detail)


# --- the checks, each a stream of differences --------------------------------------------------------------------------------------


def causality_by_perturbation(model: LanguageModel, sample: Sample) -> Iterator[Difference]:
    """Check 1: changing the tokens after t changes no logit at or before t."""
    logits = model(sample.tokens)
    for t in _straddling(sample.tokens.shape[1] - 1):
        changed = torch.cat([sample.tokens[:, : t + 1], sample.other[:, t + 1 :]], 1)
        where = f"after changing the tokens from {t + 1} on"
        yield _difference(model(changed)[:, : t + 1], logits[:, : t + 1], where, sample)


def causality_by_gradient(model: LanguageModel, sample: Sample) -> Iterator[Difference]:
    """Check 2: the gradient of the logits at t with respect to the embeddings after t is zero."""
    x = model.embed(sample.tokens).detach().requires_grad_()
    logits = model.advance_embedded(x)[0]
    weights = torch.randn(logits.shape[-1], generator=sample.generator).to(logits.device)
    for t in _straddling(sample.tokens.shape[1] - 2):  # at least one position after t
        gradient = torch.autograd.grad((logits[:, t].float() @ weights).sum(), x, retain_graph=True)[0]
        earlier = gradient.clone()
        earlier[:, t + 1 :] = 0
        if not earlier.any():
            yield Difference(inf, t, f"where no gradient of the logits at {t} reaches any embedding")
        yield _difference(gradient, earlier, f"in the gradient of the logits at {t}", sample)


def prefix_consistency(model: LanguageModel, sample: Sample) -> Iterator[Difference]:
    """Check 3: the logits of every prefix are the prefix of the logits."""
    logits = model(sample.tokens)
    for length in _straddling(sample.tokens.shape[1]):
        yield _difference(model(sample.tokens[:, :length]), logits[:, :length], f"in the prefix of {length} tokens", sample)


def step_equals_parallel(model: LanguageModel, sample: Sample) -> Iterator[Difference]:
    """Check 4: token by token from an empty state gives the parallel logits."""
    steps = _streamed(model, sample.tokens, [1] * sample.tokens.shape[1])
    yield _difference(steps, model(sample.tokens), "token by token", sample)


def chunk_carry(model: LanguageModel, sample: Sample) -> Iterator[Difference]:
    """Check 5: prefill in chunks of uneven lengths, then steps, gives the same."""
    cuts = _uneven(sample.tokens.shape[1])
    yield _difference(_streamed(model, sample.tokens, cuts), model(sample.tokens), f"in chunks of {_shown(cuts)}", sample)


def batch_invariance(model: LanguageModel, sample: Sample) -> Iterator[Difference]:
    """Check 6: a row's logits depend on no neighbour in the batch, in parallel and streamed."""
    rows = torch.cat([sample.tokens, sample.other])
    cuts = _uneven(rows.shape[1])
    parallel, streamed = model(rows), _streamed(model, rows, cuts)
    for row in range(len(sample.tokens)):
        alone = rows[row : row + 1]
        yield _difference(parallel[row : row + 1], model(alone), f"row {row} of {len(rows)}, in parallel", sample)
        yield _difference(streamed[row : row + 1], _streamed(model, alone, cuts), f"row {row} of {len(rows)}, in chunks", sample)


CHECKS: dict[str, Callable[[LanguageModel, Sample], Iterator[Difference]]] = {
    "causality by perturbation": causality_by_perturbation,
    "causality by gradient": causality_by_gradient,
    "prefix consistency": prefix_consistency,
    "step equals parallel": step_equals_parallel,
    "chunk carry": chunk_carry,
    "batch invariance": batch_invariance,
}


def save_and_load(model: LanguageModel, twin: LanguageModel, tokens: Tensor) -> Iterator[Difference]:
    """Check 7: what a checkpoint gives back to a model built anew has identical logits, to the bit."""
    twin.load_state_dict(load(save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})))
    before, after = model(tokens), twin(tokens)
    by_position = ((before != after) | ~(before - after).isfinite()).any(-1).any(0)  # S
    size = 0.0
    if by_position.any():
        relative = float((before - after).abs().max() / before.abs().max())
        size = max(relative, 2 * TOLERANCE["float32"]) if isfinite(relative) else inf
    position = int(by_position.float().argmax())
    yield Difference(size, position, "between the logits before and after; the bits must be the same")


def parameter_count(spec: ModelSpec, budget: Budget, vocabulary: int) -> Finding:
    """Check 8: what the model says of its size, and met the budget with, is the module's own count, a tied weight counted once."""
    size = budgets.solve(spec, budget, vocabulary)
    model = budgets.instantiate(spec, budget, vocabulary, size.mlp)
    storages = {
        parameter.data_ptr(): parameter.numel() for parameter in model.state_dict(keep_vars=True).values() if parameter.requires_grad
    }
    counted = sum(storages.values())
    declared = "parameter count" in model.breaks
    detail = f"{size.total:,} declared, {counted:,} counted, vocabulary {vocabulary:,}"
    return Finding("parameter count", "float32", (counted == size.total) != declared, declared, counted - size.total, None, detail)


# --- what they are made of ---------------------------------------------------------------------------------------------------------


def randomise(model: nn.Module, seed: int) -> None:
    """Random weights in every parameter: matrices keep the scale of what passes through them, everything else is near 1."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        matrix = parameter.ndim > 1
        parameter.data = noise / sqrt(parameter[0].numel()) if matrix else 1 + 0.5 * noise


def _streamed(model: LanguageModel, tokens: Tensor, cuts: Sequence[int]) -> Tensor:
    """The logits of chunks of these lengths, the state carried."""
    logits, state = [], None
    for chunk in tokens.split(cuts, 1):
        y, state = model.advance(chunk, state)
        logits.append(y)
    return torch.cat(logits, 1)


def _uneven(length: int) -> list[int]:
    """Chunk lengths that make up `length`: uneven ones first, then single tokens."""
    cuts: list[int] = []
    for chunk in CHUNKS:
        if sum(cuts) + chunk < length:
            cuts.append(chunk)
    return cuts + [1] * (length - sum(cuts))


def _shown(cuts: Sequence[int]) -> str:
    chunks = [cut for cut in cuts if cut > 1]
    return f"{', '.join(map(str, chunks))} tokens and {len(cuts) - len(chunks)} single ones"


def _straddling(most: int) -> list[int]:
    """Lengths up to `most` on both sides of the chunks' borders."""
    borders = [n for chunk in range(0, most + CHUNK, CHUNK) for n in (chunk - 1, chunk, chunk + 1)]
    return sorted({n for n in (*borders, most // 2, most - 1) if 1 <= n <= most})


def _difference(found: Tensor, expected: Tensor, where: str, sample: Sample) -> Difference:
    """Between two B x S x anything, relative to the largest expected value; infinite where one of them is not finite."""
    found, expected = found.float(), expected.float()
    scale = expected.nan_to_num(0.0, 0.0, 0.0).abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    by_position = (found - expected).abs().amax((0, 2)) / scale  # S
    by_position = by_position.nan_to_num(nan=inf, posinf=inf)
    beyond = (by_position > TOLERANCE[sample.precision]).nonzero()
    position = int(beyond[0]) if len(beyond) else int(by_position.argmax())
    return Difference(by_position.max().item(), position, where)
