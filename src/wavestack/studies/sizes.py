"""Quality against size: loss over parameters, training tokens and FLOPs, and who leads where both had as many of either.

A training step costs three times its forward pass (the backward pass does each matrix product twice: Kaplan et al. 2020, arXiv:2001.08361).
FLOPs are counted from the built modules, the output layer and what lanes or attention do over the sequence included.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy
import torch

from wavestack import budget as budgets
from wavestack import statistics
from wavestack.artifacts import write_csv, write_json
from wavestack.lanes.lane import Lane
from wavestack.params import Parameters, Run
from wavestack.studies.calibration import uncalibrated
from wavestack.studies.differences import has_interval, judge, points
from wavestack.studies.results import COLUMNS, paired_runs, require_equal_budgets, require_equal_text, run_row

STEP = 3  # forward passes that a training step costs
SIZED = (*COLUMNS, "training_flops")
Curve = Sequence[tuple[float, float]]  # FLOPs of training and nats a token, from few to many


def write_sizes(parameters: Parameters, data: Path, reports: Path) -> dict[str, Any]:
    """Write `studies/sizes.json` and `.csv`.

    Args:
        data: holds the runs' losses of each document.
        reports: holds the runs' measures; gets the tables.

    Returns:
        rows: a run each, with the FLOPs of its training. costs: of each model, FLOPs a token of the forward pass, and on what.
        equal_size: our loss minus theirs at each budget and number of tokens, all of them one family, whose verdicts hold together
        (Holm), and each one's interval alone, for a claim that is true only if all of them are. equal_flops: the same at as many FLOPs of
        training, each side at the size that is best for them, without an interval. Ours is the spec that the study names first.

    Raises:
        ValueError: where two runs that are compared had unequal budgets, tokens or documents.
    """
    study = parameters.profile.studies.sizes
    assert study is not None
    costs = [_cost(parameters, *model) for model in product(study.corpora, study.specs, study.budgets)]
    forward = {(cost["corpus"], cost["spec"], cost["budget"]): cost["flops_per_token"] for cost in costs}
    rows = []
    for run in parameters.sizes_runs():
        row = run_row(run, reports)
        rows.append(row | {"training_flops": STEP * forward[run.corpus, run.spec, run.budget] * row["training_tokens"]})
    require_equal_text(parameters.sizes_runs(), reports)
    ours, *others = study.specs
    equal_size: list[dict[str, Any]] = []
    equal_flops: list[dict[str, Any]] = []
    differences = []
    for corpus, theirs in product(study.corpora, others):
        pair = {"corpus": corpus, "spec": ours, "against": theirs}
        for place, sides in _at_equal_size(parameters, rows, corpus, ours, theirs):
            equal_size.append({**pair, **place})
            differences.append(paired_runs(*sides, data) if has_interval(place) else None)
        curves = [_curves(rows, corpus, spec) for spec in (ours, theirs)]
        equal_flops += [{**pair, **found} for found in at_equal_flops(*curves)]
    judge(equal_size, differences, uncalibrated(parameters, reports))
    for place, difference in zip(equal_size, differences, strict=True):
        low, high = (None, None) if difference is None else map(statistics.percent, statistics.interval(difference))
        place |= {"low_percent_alone": low, "high_percent_alone": high}
    result = {"rows": rows, "costs": costs, "equal_size": equal_size, "equal_flops": equal_flops}
    write_json(reports / "studies" / "sizes.json", result)
    write_csv(reports / "studies" / "sizes.csv", rows, SIZED)
    return result


def _cost(parameters: Parameters, corpus: str, spec: str, budget: str) -> dict[str, Any]:
    """FLOPs a token of the forward pass over a whole context, and of them the output layer's and the lanes' (or attention's) own."""
    sizes, vocabulary = parameters.profile.budgets[budget], parameters.tokenizer(corpus).size
    with torch.device("meta"):  # shapes without memory
        model = budgets.build(parameters.specs[spec], sizes, vocabulary)
    context = sizes.context
    over_sequence = sum(module.flops(context) for module in model.modules() if isinstance(module, Lane))
    total, non_embedding = model.parameter_counts()
    return {
        "corpus": corpus,
        "spec": spec,
        "budget": budget,
        "parameters": total,
        "non_embedding_parameters": non_embedding,
        "flops_per_token": model.flops(context) / context,
        "of_the_output_layer": 2.0 * vocabulary * sizes.hidden,
        "over_the_sequence": over_sequence / context,
    }


def _at_equal_size(
    parameters: Parameters, rows: Sequence[dict[str, Any]], corpus: str, ours: str, theirs: str
) -> Iterator[tuple[dict[str, Any], tuple[list[Run], list[Run]]]]:
    """Each budget and number of tokens, with the difference there seed by seed, and the runs behind it."""
    found = {Run(*(row[key] for key in ("corpus", "spec", "budget", "variant", "seed"))): row for row in rows}
    sides = [[run for run in parameters.sizes_runs() if (run.corpus, run.spec) == (corpus, spec)] for spec in (ours, theirs)]
    by_place: dict[tuple[str, int], tuple[list[Run], list[Run]]] = {}
    for own, other in zip(*sides, strict=True):
        assert (own.budget, own.variant, own.seed) == (other.budget, other.variant, other.seed)
        for side, run in zip(by_place.setdefault((own.budget, parameters.budget(own).tokens), ([], [])), (own, other), strict=True):
            side.append(run)
    for (budget, tokens), (own_runs, other_runs) in by_place.items():
        require_equal_budgets([found[run] for run in (*own_runs, *other_runs)])
        yield {"budget": budget, "tokens": tokens, **points(own_runs, other_runs, found)}, (own_runs, other_runs)


def _curves(rows: Sequence[Mapping[str, Any]], corpus: str, spec: str) -> list[Curve]:
    """A curve a budget, of the means over seeds; a number of tokens at which a run diverged is left out."""
    points: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for row in (row for row in rows if (row["corpus"], row["spec"]) == (corpus, spec)):
        points.setdefault(row["budget"], {}).setdefault(row["variant"], []).append(row)  # which says how many tokens
    return [
        sorted(
            (seeds[0]["training_flops"], fmean(row["nats_per_token"] for row in seeds))
            for seeds in curve.values()
            if all(row["status"] == "ok" for row in seeds)
        )
        for curve in points.values()
    ]


def at_equal_flops(ours: Sequence[Curve], theirs: Sequence[Curve]) -> list[dict[str, Any]]:
    """The difference of the lower envelopes of two sets of curves, at each FLOPs of ours that both reach.

    Between two points of a curve nats are linear in the logarithm of the FLOPs. A size that was trained for fewer counts with what it had
    at its end, since it would hardly have got worse; left out, the cheaper model would lose its best size where the dearer one keeps it.

    Returns:
        training_flops, ours, theirs (nats a token), nats (ours minus theirs), perplexity_percent, and at_most: whose loss might have been
        lower (ours, theirs), since one of their sizes was trained for fewer.
    """
    found = []
    sides = {side: [curve for curve in curves if curve] for side, curves in (("ours", ours), ("theirs", theirs))}
    for flops in sorted({flops for curve in ours for flops, _ in curve}):
        if all(any(curve[0][0] <= flops <= curve[-1][0] for curve in curves) for curves in sides.values()):
            own, other = (_envelope(curves, flops) for curves in sides.values())
            at_most = [side for side, curves in sides.items() if any(curve[-1][0] < flops for curve in curves)]
            row = {"training_flops": flops, "ours": own, "theirs": other, "nats": own - other}
            found.append(row | {"perplexity_percent": statistics.percent(own - other), "at_most": at_most})
    return found


def _envelope(curves: Sequence[Curve], flops: float) -> float:
    """The lowest loss that any size has after at most so many FLOPs."""
    begun = [curve for curve in curves if curve[0][0] <= flops]
    return min(float(numpy.interp(log(flops), [log(x) for x, _ in curve], [nats for _, nats in curve])) for curve in begun)
