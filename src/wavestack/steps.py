"""What each step of the workflow reads and runs: its parameters and its code, as one fingerprint.

The Snakefile puts both under a rule's `params`, so that Snakemake reruns a step when either changes and leaves it alone otherwise; the
command line computes them again and refuses to run something else than it was asked for.
"""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from wavestack.artifacts import sha256
from wavestack.params import ModelSpec, Parameters, Run
from wavestack.provenance import PACKAGE, fingerprint
from wavestack.variants import Variant


@dataclass(frozen=True)
class Step:
    settings: Mapping[str, Any]  # the parameters that the step reads, as JSON types
    fingerprint: str  # of these and of the code that it runs


def _step(settings: Mapping[str, Any], entries: Iterable[str]) -> Step:
    return Step(settings, fingerprint(settings, entries))


def corpus(parameters: Parameters, name: str) -> Step:
    use, entry = parameters.use(name), parameters.corpora[name]
    settings: dict[str, Any] = {"corpus": entry.model_dump(mode="json"), "limit": use.limit}
    if entry.python:  # the text is the interpreter's own
        settings["python"] = platform.python_version()
    return _step(settings, ["wavestack.corpora.corpus"])


def tokens(parameters: Parameters, name: str) -> Step:
    settings = {
        "tokenizer": parameters.tokenizer(name).model_dump(mode="json"),
        "words": parameters.corpora[name].words,
    }
    return _step(settings, ["wavestack.corpora.tokens"])


def ledger(parameters: Parameters) -> Step:
    """All models, those of the sequence-length study too: a ledger of this fingerprint says that each meets its budget."""
    runs, study = parameters.runs(), parameters.profile.studies.lengths
    settings: dict[str, Any] = {
        "models": {f"{run.spec}/{Variant.parse(run.variant).model}": _spec(parameters.spec(run)) for run in runs},
        "budgets": {run.budget: parameters.profile.budgets[run.budget].model_dump(mode="json", exclude={"training"}) for run in runs},
        "vocabularies": {run.corpus: parameters.tokenizer(run.corpus).size for run in runs},
    }
    entries = {entry for run in runs for entry in parameters.spec(run).entries}
    if study is not None:
        specs = parameters.lengths_specs()
        settings["lengths"] = {
            "models": {spec: _spec(parameters.specs[spec]) for spec in specs},
            "budget": parameters.profile.budgets[study.budget].model_dump(mode="json", exclude={"training"}),
            "contexts": list(dict.fromkeys((tuple(sweep.specs or study.specs), sweep.positions) for sweep in study.sweeps)),
            "vocabulary": study.vocabulary,
        }
        entries |= {entry for spec in specs for entry in parameters.specs[spec].entries}
    return _step(settings, ["wavestack.studies.ledger", *entries])


def contract(parameters: Parameters, spec: str, budget: str, variant: str) -> Step:
    chosen = parameters.specs[spec].variant(variant)
    settings = {
        "spec": _spec(chosen),
        "budget": parameters.profile.budgets[budget].model_dump(mode="json", exclude={"tokens", "training"}),
    }
    return _step(settings, ["wavestack.studies.contracts", *chosen.entries])


def train(parameters: Parameters, run: Run) -> Step:
    spec = parameters.spec(run)
    settings = {
        "spec": _spec(spec),
        "budget": parameters.budget(run).model_dump(mode="json", exclude={"training"}),
        "vocabulary": parameters.tokenizer(run.corpus).size,
        "seed": run.seed,
        "training": parameters.training(run).model_dump(mode="json"),
        "tuned": run.tuned,
        "evaluation": parameters.profile.evaluation.model_dump(mode="json"),
    }
    return _step(settings, ["wavestack.training.run", *spec.entries])


def evaluate(parameters: Parameters, run: Run) -> Step:
    settings = {
        "words": parameters.corpora[run.corpus].words,
        "evaluation": parameters.profile.evaluation.model_dump(mode="json"),
        "threads": parameters.training(run).threads,
        "device": parameters.training(run).device,
    }
    return _step(settings, ["wavestack.evaluation.run", *parameters.spec(run).entries])


def open_test(parameters: Parameters, run: Run) -> Step:
    """The test split: what evaluation reads, and the model that is tested."""
    return _step({**evaluate(parameters, run).settings, "train": train(parameters, run).fingerprint}, ["wavestack.evaluation.opening"])


def replay(parameters: Parameters, run: Run) -> Step:
    audit = parameters.profile.studies.audit
    assert audit is not None
    training = parameters.training(run)
    settings = {
        "replay": audit.replay.model_dump(mode="json"),
        "tokens": audit.tokens,
        "documents": training.documents,
        "seed": run.seed,
        "device": training.device,
        "threads": training.threads,
    }
    return _step(settings, ["wavestack.evaluation.replay", *parameters.spec(run).entries])


def complementarity(parameters: Parameters, run: Run) -> Step:
    study = parameters.profile.studies.complementarity
    assert study is not None
    settings = {**evaluate(parameters, run).settings, "tokens": study.tokens}
    return _step(settings, ["wavestack.evaluation.complementarity", *parameters.spec(run).entries])


def length(parameters: Parameters, sweep: str, positions: int) -> Step:
    study = parameters.profile.studies.lengths
    assert study is not None
    chosen = study.sweep(sweep)
    specs = {name: parameters.specs[name] for name in chosen.specs or study.specs}
    settings = {
        "study": study.model_dump(mode="json", exclude={"specs", "sweeps"}),
        "sweep": chosen.model_dump(mode="json", exclude={"specs", "lengths", "round"}),  # all rounds measure the same
        "length": positions,
        "budget": parameters.lengths_budget(chosen).model_dump(mode="json", exclude={"training"}),
        "specs": {name: _spec(spec) for name, spec in specs.items()},
        "first": next(iter(specs)),  # which all others are held against
    }
    entries = {entry for spec in specs.values() for entry in spec.entries}
    return _step(settings, ["wavestack.profiling.length", *entries])


def choose(parameters: Parameters, corpus: str, spec: str) -> Step:
    """The choice among the trials of a spec on a corpus."""
    return _step({"trials": [str(run) for run in parameters.tuning_runs(corpus, spec)]}, ["wavestack.studies.tuning"])


def study(parameters: Parameters, name: str) -> Step:
    """The analysis of a study: which results it puts together."""
    name = "comparison" if name == "test" else name  # the same on another split
    chosen = getattr(parameters.profile.studies, name)
    settings, entries = {"study": chosen.model_dump(mode="json")}, [f"wavestack.studies.{name}"]
    if name == "sizes":  # counts the FLOPs of built models
        settings["specs"] = {spec: _spec(parameters.specs[spec]) for spec in chosen.specs}
        settings["budgets"] = {
            budget: parameters.profile.budgets[budget].model_dump(mode="json", exclude={"training"}) for budget in chosen.budgets
        }
        entries += [entry for spec in chosen.specs for entry in parameters.specs[spec].entries]
    return _step(settings, entries)


def metrics(parameters: Parameters) -> Step:
    """The numbers that versions are compared by: of which runs."""
    return _step({"runs": [str(run) for run in parameters.compared_runs()]}, ["wavestack.studies.metrics"])


def findings(parameters: Parameters) -> Step:
    """The verdicts: which studies they are drawn from, and of which models."""
    studies = parameters.profile.studies
    named = [*studies.comparison.specs, *parameters.lengths_specs()]
    named += [studies.ablation.spec] if studies.ablation is not None else []
    named += studies.sizes.specs if studies.sizes is not None else []
    settings = {
        "studies": studies.model_dump(mode="json"),
        "specs": {name: _spec(parameters.specs[name]) for name in dict.fromkeys(named)},
        "corpora": sorted(parameters.profile.corpora),
    }
    return _step(settings, ["wavestack.studies.findings"])


def report(parameters: Parameters) -> Step:
    settings = {
        "profile": parameters.name,
        "studies": parameters.profile.studies.model_dump(mode="json"),
        "corpora": {name: parameters.corpora[name].licence for name in parameters.profile.corpora},
        "template": sha256(PACKAGE / "report" / "page.html.j2"),  # which is no module
    }
    return _step(settings, ["wavestack.report.page"])


def _spec(spec: ModelSpec) -> dict[str, Any]:
    return {**asdict(spec), "entries": spec.entries}
