"""Training speed of a WaveStack block against a transformer block of equal parameters: forward and backward, as many tokens a batch.

    python benchmarks/block.py [SPEC ...] [--repeats 15] [--lengths 256 2048 4096 8192]

SPEC is a name in the profile's model specs (default: wavestack). The transformer is PyTorch's fused causal attention with heads of 64 and
an MLP of 8/3 H; the other block's MLP is solved, as a budget does it, until both have as many parameters. Beside the ratio stands what
FLOPs alone allow: the transformer block's over the block's, by their own `flops` of the forward pass (a training step is three times that
of either, which cancels).

Targets, for `wavestack`: at least 0.9, 1.3, 1.8 and 2.8 times as fast at S = 256, 2,048, 4,096 and 8,192.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from measure import Case, arguments, interleaved, recording
from torch import Tensor

from wavestack import budget as budgets
from wavestack.models.stack import Block, ResidualStack
from wavestack.params import ModelSpec
from wavestack.reading import load
from wavestack.schema import Budget

TRANSFORMER = "transformer"
TARGETS = {256: 0.9, 2048: 1.3, 4096: 1.8, 8192: 2.8}
VOCABULARY = 2  # of no account in a block


def specs_of(profile: Path, names: Sequence[str]) -> dict[str, ModelSpec]:
    """Specs by their names, the transformer left out: it is there anyway.

    Raises:
        ValueError: the profile's models have no such name.
    """
    known = load(profile).specs
    for name in names:
        if name not in known:
            raise ValueError(f"'{name}' is no model spec of {profile}; known: {', '.join(known)}")
    return {name: known[name] for name in names if name != TRANSFORMER}


def transformer_stack(hidden: int, blocks: int, context: int, vocabulary: int) -> tuple[ResidualStack, Budget]:
    """The transformer that others are measured against, and the budget of its size."""
    spec = ModelSpec("transformer", {"head_width": min(64, hidden)})
    sketch = Budget(hidden=hidden, blocks=blocks, context=context, parameters=1, tokens=1)
    model = budgets.instantiate(spec, sketch, vocabulary, mlp=round(8 / 3 * hidden))
    assert isinstance(model, ResidualStack)
    return model, sketch.model_copy(update={"parameters": model.parameter_counts()[1]})


def equal_stack(spec: ModelSpec, budget: Budget, vocabulary: int) -> ResidualStack:
    """The model of a spec at a budget.

    Raises:
        ValueError: it is no stack of blocks, as the published models are not.
    """
    model = budgets.build(spec, budget, vocabulary)
    if not isinstance(model, ResidualStack):
        raise ValueError(f"a {spec.model} has no blocks to compare with a transformer's; name another spec")
    return model


def step(block: Block, x: Tensor, dy: Tensor) -> None:
    """Forward and backward; the gradients are thrown away, as an optimiser's zero_grad does it."""
    y, _ = block(x)
    torch.autograd.grad(y, (x, *block.parameters()), dy, allow_unused=True)


def main() -> None:
    parser = arguments(__doc__, repeats=15)
    parser.add_argument("specs", nargs="*", metavar="SPEC", default=["wavestack"], help="default: wavestack")
    parser.add_argument("--params", type=Path, default=Path("params/quick.yaml"), help="the profile whose specs these are")
    parser.add_argument("--lengths", type=int, nargs="+", default=list(TARGETS))
    parser.add_argument("--tokens", type=int, default=8192, help="a batch (default: %(default)s)")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    theirs, budget = transformer_stack(options.hidden, 1, max(options.lengths), VOCABULARY)
    chosen = specs_of(options.params, options.specs)
    blocks = {TRANSFORMER: theirs.blocks[0]}
    blocks |= {name: equal_stack(spec, budget, VOCABULARY).blocks[0] for name, spec in chosen.items()}
    code = ["wavestack.models.transformer", *(entry for spec in chosen.values() for entry in spec.entries)]
    sizes = {name: vars(options)[name] for name in ("repeats", "lengths", "tokens", "hidden")}
    sizes |= {"parameters": budget.parameters, "specs": {name: dict(spec.knobs) for name, spec in chosen.items()}}
    with recording("block", options.reports, __doc__ or "", code, **sizes) as rows:
        case = Case("block", "training step of one block")
        for length in options.lengths:
            x = torch.randn(max(1, options.tokens // length), length, options.hidden, requires_grad=True)
            dy = torch.randn_like(x)
            found = interleaved({name: partial(step, block, x, dy) for name, block in blocks.items()}, options.repeats)
            flops = {name: block.flops(length) for name, block in blocks.items()}
            rows.append(case.alone(length, TRANSFORMER, found[TRANSFORMER]))
            for name in chosen:
                bound = flops[TRANSFORMER] / flops[name]
                target = TARGETS.get(length) if name == "wavestack" else None
                row = case.speed(length, name, found[name], TRANSFORMER, found[TRANSFORMER], at_least=target)
                rows.append(replace(row, bound=bound))


if __name__ == "__main__":
    main()
