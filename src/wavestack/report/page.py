"""The page: everything the steps of a profile found, in one file that needs no network.

`write_report` reads what is there, says what is not, and computes no result of its own: a number on the page is a number in a file,
beside a link to it. The page holds no date and no machine but those of the files, so that equal results give equal bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from wavestack import openings
from wavestack.artifacts import write_text
from wavestack.params import Parameters
from wavestack.report.panel import DARK_PALETTE, PALETTE, looks
from wavestack.report.provenance import provenance, run_steps
from wavestack.report.section import Context, Figures, content
from wavestack.report.sections import (
    ablation,
    audit,
    calibration,
    comparison,
    complementarity,
    contract,
    corpora,
    curves,
    findings,
    ledger,
    lengths,
    sizes,
    speed,
    tuning,
)
from wavestack.report.table import PERPLEXITY, interval, signed
from wavestack.variants import Variant

TEMPLATE = "page.html.j2"
SECTIONS = (  # in their order
    *(findings, comparison, curves, tuning, calibration, audit, ablation),
    *(complementarity, sizes, lengths, speed, ledger, contract, corpora),
)
OPENINGS = "../openings.csv"  # of test splits, by all profiles


@dataclass(frozen=True)
class Headline:
    """A corpus in one card."""

    corpus: str
    perplexities: Sequence[tuple[str, int | None, str]]  # spec, its colour, perplexity
    verdicts: Sequence[str]


def write_report(parameters: Parameters, reports: Path) -> None:
    """Write `index.html` and `figures/*.svg` below `reports` from the results that stand there.

    Args:
        parameters: what was asked for; a result that they name and that is not there is shown as missing.
        reports: folder of the profile's results, as the other steps leave it.

    Raises:
        ValueError: a result is there and cannot be read.
    """
    context = Context(parameters, reports, looks(_specs(parameters, reports)), Figures(reports / "figures"))
    sections = [module.section(context) for module in SECTIONS]
    context.figures.forget_others()
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(TEMPLATE).render(
        profile=parameters.name,
        budget=parameters.profile.budgets[parameters.profile.studies.comparison.budget],
        training=parameters.profile.training,
        steps=parameters.steps(parameters.comparison_runs()[0]),
        study=parameters.profile.studies.comparison,
        trials=len(parameters.profile.studies.tuning.trials) if parameters.profile.studies.tuning else 0,
        headlines=_headlines(context),
        verdicts=findings.verdicts(context),
        tested=context.tested is not None,
        openings={corpus: openings.count(reports / OPENINGS, corpus) for corpus in parameters.profile.studies.comparison.corpora},
        sections=[section for section in sections if section.asked_for],
        not_asked_for=[section.title for section in sections if not section.asked_for],
        specs=context.looks,
        palettes={"light": PALETTE, "dark": DARK_PALETTE},
        sizes=parameters.profile.studies.sizes is not None,
        made=provenance(_all_steps(context), reports),
    )
    write_text(reports / "index.html", page)


def _specs(parameters: Parameters, reports: Path) -> list[str]:
    """Every spec that is shown somewhere, those of the comparison first: their place is their colour."""
    studies = parameters.profile.studies
    wanted = [*studies.comparison.specs, *([studies.ablation.spec] if studies.ablation else [])]
    wanted += [studies.complementarity.spec] if studies.complementarity else []
    wanted += [*(studies.sizes.specs if studies.sizes else []), *parameters.lengths_specs()]
    wanted += studies.tuning.specs if studies.tuning else []
    files = [content(reports / "studies" / f"{name}.json") for name in ("comparison", "ablation", "sizes")]
    tables = [*files, *(content(reports / "studies" / "lengths.json") or {"sweeps": []})["sweeps"]]
    found = [row["spec"] for table in tables if table for row in table["rows"]]
    found += [choice["spec"] for choice in (content(reports / "studies" / "tuning.json") or {"choices": []})["choices"]]
    return list(dict.fromkeys([*wanted, *sorted(found)]))


def _headlines(context: Context) -> list[Headline]:
    study, found = context.study("comparison")
    found = context.tested or found or {"means": [], "differences": []}
    cards = []
    for corpus in study.corpora:
        means = {mean["spec"]: mean for mean in found["means"] if mean["corpus"] == corpus}
        # of the model that the study names first; all pairs stand in the table
        pairs = [entry for entry in found["differences"] if entry["corpus"] == corpus]
        verdicts = [_said(entry) for entry in pairs if study.specs[0] in (entry["spec"], entry["against"])]
        shown = [(spec, context.looks[spec].index, PERPLEXITY.text(means.get(spec, {}))) for spec in dict.fromkeys([*study.specs, *means])]
        cards.append(Headline(corpus, shown, verdicts or ["The difference is missing."]))
    return cards


def _said(entry: Mapping[str, Any]) -> str:
    verdict = comparison.verdict(entry)
    percent = entry["perplexity_percent"]
    difference = "no difference known" if percent is None else f"{signed(percent, 1, '%')} perplexity"
    difference += f" ({interval(entry)})" if entry.get("level") is not None else ""
    return f"{entry['spec']} against {entry['against']}: {difference}. {verdict[0].upper()}{verdict[1:]}."


def _all_steps(context: Context) -> list[str]:
    """Every step of the profile that leaves a provenance file and decides a number."""
    parameters = context.parameters
    studies = parameters.profile.studies
    steps = [f"corpora/{name}/corpus" for name in parameters.profile.corpora]
    steps += [f"tokens/{name}/tokens" for name in parameters.profile.corpora]
    models = [f"{run.spec}/{run.budget}/{Variant.parse(run.variant).model}" for run in parameters.runs()]
    steps += ["budget/ledger", *(f"contract/{model}" for model in models)]
    steps += ["studies/calibration", *run_steps(parameters.calibration_runs())] if studies.calibration else []
    steps += ["studies/tuning", *(f"runs/{run}/train" for run in parameters.tuning_runs())] if studies.tuning else []
    steps += [f"tuning/{run.corpus}/{run.spec}" for run in parameters.tuning_runs()]
    steps += [f"runs/{run}/{step}" for run in parameters.audit_runs() for step in ("train", "replay")]
    steps += ["studies/audit"] if studies.audit else []
    steps += [*run_steps(parameters.comparison_runs()), *run_steps(parameters.ablation_runs()), "studies/comparison"]
    steps += comparison.testing_steps(parameters.comparison_runs()) if context.tested else []
    steps += ["studies/ablation"] if studies.ablation else []
    looked_at = parameters.complementarity_runs()
    steps += ["studies/complementarity", *(f"runs/{run}/complementarity" for run in looked_at), *run_steps(looked_at)] if looked_at else []
    steps += ["studies/sizes", *run_steps(parameters.sizes_runs())] if studies.sizes else []
    steps += ["studies/lengths", *parameters.lengths_points()] if studies.lengths else []
    return list(dict.fromkeys([*steps, "findings"]))
