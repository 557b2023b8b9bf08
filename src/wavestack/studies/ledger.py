"""The ledger: that all models of a comparison have the same parameters, from the instantiated modules."""

from pathlib import Path
from typing import Any

from wavestack import budget as budgets
from wavestack.artifacts import write_json
from wavestack.params import Parameters
from wavestack.variants import Variant


def ledger_rows(parameters: Parameters) -> list[dict[str, Any]]:
    """A row for each model of each run; seeds share one.

    Raises:
        ValueError: every model that cannot meet its budget, with the distance, a line each.
    """
    rows, faults = [], []
    models = dict.fromkeys((run.corpus, run.spec, run.budget, Variant.parse(run.variant).model) for run in parameters.runs())
    for corpus, spec, name, variant in models:
        budget, vocabulary = parameters.profile.budgets[name], parameters.tokenizer(corpus).size
        try:
            size = budgets.solve(parameters.specs[spec].variant(variant), budget, vocabulary)
        except ValueError as error:
            faults.append(f"{parameters.sources['profile']}: budgets.{name}: {spec}, {variant}, on {corpus}: {error}")
            continue
        own = size.mlp is None  # a published model names its own widths, and no budget sets it a target
        rows.append(
            {
                "corpus": corpus,
                "budget": name,
                "spec": spec,
                "variant": variant,
                "vocabulary": vocabulary,
                "mlp": size.mlp,
                "parameters": size.total,
                "non_embedding_parameters": size.non_embedding,
                "target_parameters": None if own else budget.parameters + vocabulary * budget.hidden,
                "target_non_embedding_parameters": None if own else budget.parameters,
            }
        )
    faults += _lengths_faults(parameters)
    if faults:
        raise ValueError("\n".join(faults))
    return rows


def _lengths_faults(parameters: Parameters) -> list[str]:
    """What keeps the models of the sequence-length study from being built."""
    study, faults = parameters.profile.studies.lengths, []
    if study is None:
        return []
    for sweep in study.sweeps:
        for spec in sweep.specs or study.specs:
            try:
                budgets.solve(parameters.specs[spec], parameters.lengths_budget(sweep), study.vocabulary)
            except ValueError as error:
                faults.append(f"{parameters.sources['profile']}: studies.lengths: {sweep.name}: {spec}: {error}")
    return faults


def write_ledger(parameters: Parameters, reports: Path) -> list[dict[str, Any]]:
    """Write `ledger.json`; ValueError as `ledger_rows`."""
    rows = ledger_rows(parameters)
    write_json(reports / "ledger.json", {"rows": rows})
    return rows
