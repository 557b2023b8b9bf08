"""The results that a profile asks for, and whether they are of today's code and parameters.

Snakemake knows that of results that it made itself in this checkout. Those that came with git and DVC have no records of its own, and there
it takes whatever is there for current; the record that each result carries (`wavestack.provenance`) is what is left to go by.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wavestack import steps
from wavestack.artifacts import read_json, sha256
from wavestack.params import Parameters
from wavestack.steps import Step
from wavestack.variants import Variant

STAGES = ("corpora", "train", "measure", "report")  # of dvc.yaml, one after another


@dataclass(frozen=True)
class Result:
    """What one job of the workflow leaves.

    Attributes:
        stage: of dvc.yaml, that makes it.
        output: a light file of it, which Snakemake knows.
        record: its provenance.
        step: that would make it today.
    """

    stage: str
    output: Path
    record: Path
    step: Step

    def problem(self) -> str | None:
        """Why this is no result of today's code, parameters and inputs; None if it is one."""
        if not self.output.is_file():
            return f"{self.output} is not there"
        if not self.record.is_file():
            return f"{self.output} has no record of what made it"
        record = read_json(self.record)
        found = record.get("fingerprint")
        if found != self.step.fingerprint:
            return f"{self.output} is of other code or parameters ({found}, not {self.step.fingerprint})"
        for path, mark in record["inputs"].items():  # a fingerprint does not cover them
            if not Path(path).is_file() or sha256(path) != mark:
                return f"{self.output} is of another {path} than there is"
        for path, mark in record.get("outputs", {}).items():  # older records have none; what is not there is made again anyway
            if Path(path).is_file() and sha256(path) != mark:
                return f"{path} is not what was made with {self.output}"
        return None


def take_away_stale(results: Iterable[Result]) -> list[str]:
    """Delete a light file of each result that is not of today's code, parameters and inputs, so that Snakemake makes it again; tell why."""
    problems = {result.output: problem for result in results if (problem := result.problem())}
    for output in problems:
        output.unlink(missing_ok=True)
    return list(problems.values())


def met(parameters: Parameters, reports: Path) -> bool:
    """Whether a ledger of today's code and parameters says that every model meets its budget: then none need be built to know."""
    return _ledger(parameters, reports).problem() is None


def results(parameters: Parameters, reports: Path) -> Iterator[Result]:
    """All of a profile, those that others are made from first.

    Args:
        reports: the profile's folder of light results.
    """
    studies = parameters.profile.studies
    for corpus in parameters.profile.corpora:
        yield _result("corpora", reports / "corpora" / corpus, "manifest.json", "corpus", steps.corpus(parameters, corpus))
        yield _result("corpora", reports / "tokens" / corpus, "manifest.json", "tokens", steps.tokens(parameters, corpus))

    yield _ledger(parameters, reports)
    models = {(run.spec, run.budget, Variant.parse(run.variant).model) for run in parameters.runs()}
    if studies.lengths is not None:
        models |= {(spec, studies.lengths.budget, "base") for spec in parameters.lengths_specs()}
    for spec, budget, variant in sorted(models):
        step = steps.contract(parameters, spec, budget, variant)
        yield _result("train", reports / "contract" / spec / budget, f"{variant}.json", variant, step)
    if studies.tuning is not None:
        for corpus in studies.tuning.corpora:
            for spec in studies.tuning.specs:
                step = steps.choose(parameters, corpus, spec)
                yield _result("train", reports / "tuning" / corpus, f"{spec}.json", spec, step)
    for run in parameters.runs():
        yield _result("train", reports / "runs" / str(run), "training.json", "train", steps.train(parameters, run))

    for run in parameters.scored_runs():
        yield _result("measure", reports / "runs" / str(run), "metrics.json", "evaluate", steps.evaluate(parameters, run))
    for run in parameters.audit_runs():
        yield _result("measure", reports / "runs" / str(run), "replay.json", "replay", steps.replay(parameters, run))
    for run in parameters.complementarity_runs():
        step = steps.complementarity(parameters, run)
        yield _result("measure", reports / "runs" / str(run), "complementarity.json", "complementarity", step)
    for sweep in studies.lengths.sweeps if studies.lengths is not None else []:
        for length in sweep.lengths:
            name = f"length{length}"
            yield _result("measure", reports / "profile" / sweep.name, f"{name}.json", name, steps.length(parameters, sweep.name, length))

    for study in parameters.studies:
        yield _result("report", reports / "studies", f"{study}.json", study, steps.study(parameters, study))
    for file, name, step in (
        ("metrics.json", "metrics", steps.metrics(parameters)),
        ("findings.json", "findings", steps.findings(parameters)),
        ("index.html", "report", steps.report(parameters)),
    ):
        yield _result("report", reports, file, name, step)


def _ledger(parameters: Parameters, reports: Path) -> Result:
    return _result("train", reports / "budget", "ledger.json", "ledger", steps.ledger(parameters))


def _result(stage: str, folder: Path, output: str, name: str, step: Step) -> Result:
    return Result(stage, folder / output, folder / f"{name}.provenance.json", step)
