"""The page: everything the steps of a profile found, in one file that needs no network.

`write_report` reads what is there, says what is not, and computes no result of its own: a number on the page is a number in a file,
beside a link to it. The page holds no date and no machine but those of the files, so that equal results give equal bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from wavestack.artifacts import read_json, write_text
from wavestack.params import Parameters, Run
from wavestack.report import figures, tables
from wavestack.report.figures import Curve, Look
from wavestack.report.tables import Table
from wavestack.variants import Variant

TEMPLATE = "page.html.j2"
BENCHMARKS = "../benchmarks"  # of the code and no profile: beside the profiles' results


@dataclass(frozen=True)
class Block:
    """Figures with a table beside them, and how to read both."""

    caption: str
    table: Table | None = None
    figures: Sequence[Markup] = ()
    title: str = ""


@dataclass(frozen=True)
class Machine:
    """Where and with what steps ran."""

    steps: int
    hardware: str
    versions: str


@dataclass(frozen=True)
class Provenance:
    """What made the results of a section."""

    table: Table
    commits: Sequence[str]  # distinct
    dirty: int  # steps that ran with uncommitted changes, or outside a checkout
    missing: int
    machines: Sequence[Machine]
    inputs: Sequence[tuple[str, Sequence[tuple[str, str]]]]  # step, (file, SHA-256) of what went in


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    files: Sequence[str]  # raw results, relative to the page
    provenance: Provenance
    blocks: Sequence[Block] = ()
    absent: str = ""  # why there is nothing to show
    asked_for: bool = True  # the profile has the study


@dataclass(frozen=True)
class Headline:
    """A corpus in one card."""

    corpus: str
    perplexities: Sequence[tuple[str, int | None, str]]  # spec, its colour, perplexity
    verdicts: Sequence[str]


@dataclass(frozen=True)
class Results:
    """The content of the result files; None where one is missing."""

    calibration: Any
    tuning: Any
    comparison: Any
    audit: Any
    ablation: Any
    lengths: Any
    benchmarks: Mapping[str, Sequence[Mapping[str, Any]]]  # rows of those that were run, by name
    ledger: Any
    contract: Mapping[tuple[str, str, str], Any]
    corpora: Mapping[str, Any]
    tokens: Mapping[str, Any]
    reasons: Mapping[Run, str]


def write_report(parameters: Parameters, reports: Path) -> None:
    """Write `index.html` and `figures/*.svg` below `reports` from the results that stand there.

    Args:
        parameters: what was asked for; a result that they name and that is not there is shown as missing.
        reports: folder of the profile's results, as the other steps leave it.

    Raises:
        ValueError: a result is there and cannot be read.
    """
    results = _read(parameters, reports)
    specs = figures.looks(_specs(parameters, results))
    drawn = _Figures(reports / "figures")
    sections = [
        _comparison(parameters, results, specs, reports, drawn),
        _curves(parameters, results, specs, reports, drawn),
        _tuning(parameters, results, specs, reports, drawn),
        _calibration(parameters, results, reports),
        _audit(parameters, results, reports, drawn),
        _ablation(parameters, results, specs, reports, drawn),
        _lengths(parameters, results, specs, reports, drawn),
        _benchmarks(results, reports),
        _ledger(results, reports),
        _contract(results, reports),
        _corpora(parameters, results, reports),
    ]
    drawn.forget_others()
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
        headlines=_headlines(parameters, results, specs),
        sections=[section for section in sections if section.asked_for],
        not_asked_for=[section.title for section in sections if not section.asked_for],
        specs=specs,
        palettes={"light": figures.PALETTE, "dark": figures.DARK_PALETTE},
        made=_provenance(_all_steps(parameters), reports),
    )
    write_text(reports / "index.html", page)


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(parameters: Parameters, reports: Path) -> Results:
    models = dict.fromkeys((run.spec, run.budget, Variant.parse(run.variant).model) for run in parameters.runs())
    corpora = list(parameters.profile.corpora)
    comparison, ablation = _content(reports / "studies/comparison.json"), _content(reports / "studies/ablation.json")
    return Results(
        calibration=_content(reports / "studies/calibration.json"),
        tuning=_content(reports / "studies/tuning.json"),
        comparison=comparison,
        audit=_content(reports / "studies/audit.json"),
        ablation=ablation,
        lengths=_content(reports / "studies/lengths.json"),
        benchmarks={path.stem: _read_benchmark(path) for path in sorted((reports / BENCHMARKS).glob("*.csv"))},
        ledger=_content(reports / "budget/ledger.json"),
        contract={model: _content(reports.joinpath("contract", *model[:2], f"{model[2]}.json")) for model in models},
        corpora={name: _content(reports / "corpora" / name / "manifest.json") for name in corpora},
        tokens={name: _content(reports / "tokens" / name / "manifest.json") for name in corpora},
        reasons=_reasons([row for study in (comparison, ablation) if study for row in study["rows"]], reports),
    )


def _reasons(rows: Iterable[Mapping[str, Any]], reports: Path) -> dict[Run, str]:
    """Why runs are not ok, which their own metrics say and a study's table does not."""
    failed = {tables.run_of(row) for row in rows if row["status"] != "ok"}
    found = {run: _content(reports / "runs" / str(run) / "metrics.json") for run in failed}
    return {run: metrics["reason"] for run, metrics in found.items() if metrics is not None}


def _read_benchmark(path: Path) -> list[dict[str, Any]]:
    """The rows of a benchmark, None where a cell is empty."""
    try:
        frame = pandas.read_csv(path, dtype=dict.fromkeys(("case", "contender", "against", "target"), "object"))
        lacking = [column for column in tables.OF_A_BENCHMARK if column not in frame]
    except (ValueError, pandas.errors.ParserError) as error:
        raise ValueError(f"{path} is no benchmark ({error}); delete it and run the benchmark again") from None
    if lacking:
        raise ValueError(f"{path} is no benchmark (it lacks {', '.join(lacking)}); delete it and run the benchmark again")
    rows = frame.to_dict("records")
    return [{str(column): None if pandas.isna(value) else value for column, value in row.items()} for row in rows]


def _content(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _specs(parameters: Parameters, results: Results) -> list[str]:
    """Every spec that is shown somewhere, those of the comparison first: their place is their colour."""
    studies = parameters.profile.studies
    wanted = [*studies.comparison.specs, *([studies.ablation.spec] if studies.ablation else [])]
    wanted += studies.lengths.specs if studies.lengths else []
    found = [row["spec"] for content in (results.comparison, results.ablation, results.lengths) if content for row in content["rows"]]
    return list(dict.fromkeys([*wanted, *sorted(found)]))


class _Figures:
    """The folder of the figures, which holds the page's and no older ones."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.written: set[Path] = set()

    def path(self, *parts: str) -> Path:
        path = self.folder / figures.file_name(*parts)
        self.written.add(path)
        return path

    def forget_others(self) -> None:
        for path in self.folder.glob("*.svg"):
            if path not in self.written:
                path.unlink()


# --- sections ---------------------------------------------------------------------------------------------------------


def _headlines(parameters: Parameters, results: Results, specs: Mapping[str, Look]) -> list[Headline]:
    study = parameters.profile.studies.comparison
    content = results.comparison or {"means": [], "differences": []}
    cards = []
    for corpus in study.corpora:
        means = {mean["spec"]: mean for mean in content["means"] if mean["corpus"] == corpus}
        # of the model that the study names first; all pairs stand in the table
        pairs = [entry for entry in content["differences"] if entry["corpus"] == corpus]
        verdicts = [_said(entry) for entry in pairs if study.specs[0] in (entry["spec"], entry["against"])]
        shown = [(spec, specs[spec].index, tables.PERPLEXITY.text(means.get(spec, {}))) for spec in dict.fromkeys([*study.specs, *means])]
        cards.append(Headline(corpus, shown, verdicts or ["The difference is missing."]))
    return cards


def _said(entry: Mapping[str, Any]) -> str:
    verdict = tables.verdict(entry)
    percent = entry["perplexity_percent"]
    difference = "no difference known" if percent is None else f"{tables.signed(percent, 1, '%')} perplexity"
    difference += f" ({tables.interval(entry)})" if entry.get("level") is not None else ""
    return f"{entry['spec']} against {entry['against']}: {difference}. {verdict[0].upper()}{verdict[1:]}."


def _comparison(parameters: Parameters, results: Results, specs: Mapping[str, Look], reports: Path, drawn: _Figures) -> Section:
    runs = parameters.comparison_runs()
    content = results.comparison
    caption = (
        "Each point is one seed, the bar their mean; a thin line joins runs of one seed, which saw the same data in the same order. The "
        "axis does not begin at zero. Nats, bits and perplexities: lower is better; only bits per byte and perplexity per word compare "
        "across tokenizers. Training seconds are those of optimiser steps, "
        "with other trainings beside them on the machine: speeds to compare are those of the sequence length."
    )
    blocks: list[Block] = []
    for corpus in _corpora_of(runs, content):
        wanted = [run for run in runs if run.corpus == corpus] or [tables.run_of(r) for r in content["rows"] if r["corpus"] == corpus]
        rows = [row for row in content["rows"] if row["corpus"] == corpus] if content else []
        blocks.append(
            Block(
                title=corpus,
                caption=caption if not blocks else "",
                table=tables.comparison(content or {"rows": [], "means": []}, wanted, results.reasons),
                figures=[Markup(figures.comparison(drawn.path("comparison", corpus), corpus, rows, specs))] if rows else [],
            )
        )
    if content:
        blocks.append(
            Block(
                title="Differences, paired by seed",
                caption="First model minus second: above zero, the first predicts worse. The percentage is of perplexity per token. The "
                "interval is for other seeds and other documents (Student's t over seeds, with the variance of the documents' mean "
                "added), and wider than 95% where several differences are asked for, so that all hold together (Holm). Where it holds "
                "zero, there is no difference; a verdict needs three seeds and a calibrated baseline. “Seeds to see 1%” would show a "
                "difference of 1% in four of five studies.",
                table=tables.differences(content),
            )
        )
    blocks += _slices(parameters, content, specs, drawn)
    steps = ["studies/comparison", *_run_steps(runs)]
    return _section("comparison", "Comparison", content, ["studies/comparison.json", "runs/"], steps, reports, blocks)


def _slices(parameters: Parameters, content: Any, specs: Mapping[str, Look], drawn: _Figures) -> list[Block]:
    """Where the losses lie; older results do not say."""
    caption = (
        "Where the losses lie: by how many tokens of its document the model sees before a token, by how often that token stands in the "
        "train split, and by how far back the pair that it ends with the one before stood last in what is seen. A model that copies is "
        "good on pairs that were there, however far back; one that knows pairs by heart is as good on new ones. All seeds' tokens together."
    )
    blocks: list[Block] = []
    found = content.get("slices", []) if content else []
    for corpus in dict.fromkeys(row["corpus"] for row in found):
        rows = [row for row in found if row["corpus"] == corpus]
        panels = [
            Markup(figures.slices(drawn.path("slices", kind, corpus), corpus, title, [row for row in rows if row["kind"] == kind], specs))
            for kind, title in tables.KINDS_OF_SLICES.items()
        ]
        table = tables.slices(rows, parameters.profile.studies.comparison.specs)
        blocks.append(Block("" if blocks else caption, table, panels, f"{corpus}: where the losses lie"))
    return blocks


def _curves(parameters: Parameters, results: Results, specs: Mapping[str, Look], reports: Path, drawn: _Figures) -> Section:
    runs = parameters.comparison_runs()
    rows = {tables.run_of(row): row for row in results.comparison["rows"]} if results.comparison else {}
    panels, missing = [], []
    for corpus in dict.fromkeys(run.corpus for run in runs):
        lines = []
        for run in (run for run in runs if run.corpus == corpus):
            path = reports / "runs" / str(run) / "curve.csv"
            if not path.is_file():
                missing.append(tables.Row((str(run), "missing: no curve.csv"), "failed", run.spec))
                continue
            validated = _read_curve(path)
            status = rows.get(run, {}).get("status")
            lines.append(Curve(run.spec, run.seed, list(validated["tokens"]), list(validated["valid_nats"]), status == "diverged"))
        if lines:
            panels.append(Markup(figures.curves(drawn.path("curves", corpus), corpus, lines, specs)))
    caption = (
        "Nats per token on part of the validation split while training; each line is one seed, lower is better. The value before the "
        "first step lies above the frame. Lines that still fall at the right end are of models that had not finished learning."
    )
    columns = (tables.Column("run", numeric=False), tables.Column("status", numeric=False))
    block = Block(caption, Table(columns, tuple(missing)) if missing else None, panels)
    return Section("curves", "Loss curves", ["runs/"], _provenance([f"runs/{run}/train" for run in runs], reports), [block])


def _read_curve(path: Path) -> pandas.DataFrame:
    """The rows of a curve that have a validation loss."""
    try:
        return pandas.read_csv(path, usecols=["tokens", "valid_nats"]).dropna()
    except (ValueError, pandas.errors.ParserError) as error:
        raise ValueError(f"{path} is no curve ({error}); delete it and train the run again") from None


def _tuning(parameters: Parameters, results: Results, specs: Mapping[str, Look], reports: Path, drawn: _Figures) -> Section:
    study, content = parameters.profile.studies.tuning, results.tuning
    caption = (
        "The same trials for every model, each with the lowest loss that its training saw on part of the validation split; the best is "
        "what the comparison trains with. The figures show the loss that so many trials find, on average over which of them they are: how "
        "much a model owes to its tuning."
    )
    blocks = []
    if study is not None and content is not None:
        panels = []
        for corpus in study.corpora:
            choices = [choice for choice in content["choices"] if choice["corpus"] == corpus]
            panels.append(Markup(figures.tuning(drawn.path("tuning", corpus), corpus, choices, specs)))
        blocks.append(Block(caption, tables.tuning(content), panels))
    made = [f"tuning/{corpus}/{spec}" for corpus in study.corpora for spec in study.specs] if study else []
    steps = ["studies/tuning", *made, *(f"runs/{run}/train" for run in parameters.tuning_runs())] if study else []
    section = _section("tuning", "Tuning", content, ["studies/tuning.json", "tuning/", "runs/"], steps, reports, blocks)
    return section if study else replace(section, asked_for=False)


def _calibration(parameters: Parameters, results: Results, reports: Path) -> Section:
    study, content = parameters.profile.studies.calibration, results.calibration
    caption = (
        "A baseline of known outcome, trained and scored by the same code as everything else. Until it comes out as it is known to, no "
        "verdict is given: a broken baseline would lose to anything."
    )
    blocks = [Block(caption, tables.calibration(content))] if study and content else []
    steps = ["studies/calibration", *_run_steps(parameters.calibration_runs())] if study else []
    section = _section("calibration", "Calibration", content, ["studies/calibration.json", "runs/"], steps, reports, blocks)
    return section if study else replace(section, asked_for=False)


def _audit(parameters: Parameters, results: Results, reports: Path, drawn: _Figures) -> Section:
    study, content = parameters.profile.studies.audit, results.audit
    caption = (
        "The published comparison, replayed with its faults, and then mended: one fault more on every row, and below each fault alone. The "
        "published unit is what was called the loss: 0.7 times the cross-entropy of the first batches, padding among it, until that is "
        f"mended, too; nats per token are those of the first {study.tokens if study else 0} tokens of all validation documents, and mean "
        "the same on every row. Below zero, ours is better. A point is a seed, a bar a 95% interval of its own (three seeds at least): a "
        "ladder describes, and decides nothing."
    )
    blocks: list[Block] = []
    if study is not None and content is not None:
        for corpus in study.corpora:
            rows = [row for row in content["rows"] if row["corpus"] == corpus]
            names = [tables.rung(row) for row in rows]
            units = (("published", "the published unit"), ("nats", "nats per token"))
            panels = [Markup(figures.audit(drawn.path("audit", unit, corpus), corpus, unit, title, rows, names)) for unit, title in units]
            blocks.append(Block("" if blocks else caption, tables.audit(content, corpus), panels, corpus))
    runs = parameters.audit_runs()
    steps = ["studies/audit", *(f"runs/{run}/{step}" for run in runs for step in ("train", "replay"))] if study else []
    section = _section("audit", "The published comparison, mended", content, ["studies/audit.json", "runs/"], steps, reports, blocks)
    return section if study else replace(section, asked_for=False)


def _ablation(parameters: Parameters, results: Results, specs: Mapping[str, Look], reports: Path, drawn: _Figures) -> Section:
    study, runs, content = parameters.profile.studies.ablation, parameters.ablation_runs(), results.ablation
    caption = (
        "A row is a subset of the lanes: a filled dot is a lane that the model has. Each point is one seed, the bar their mean, further "
        "left is better; the shaded rows are no lane at all (hollow points) and all of them. Every subset has the same number of "
        "parameters: its MLP is wider where lanes are gone. A dashed line is the mean of another model. “Against all” is the subset's mean "
        "minus that of all lanes: above zero, leaving lanes out made it worse."
    )
    about_worths = (
        "A lane's Shapley value: the nats a token that it saves when lanes join in a random order. The values of all lanes add up to what "
        "all lanes save over none; two that do the same share what either would have. A pair is worth beyond its lanes what they save "
        "together and not apart: below zero, one repeats the other. Bars are intervals that hold together (Holm), points are seeds."
    )
    blocks: list[Block] = []
    if study is not None and content is not None:
        lanes = [lane for lane in parameters.specs[study.spec].lanes if lane in (study.lanes or [lane])]
        variants = list(dict.fromkeys(run.variant for run in runs))
        for corpus in _corpora_of(runs, content):
            rows = [row for row in content["rows"] if row["corpus"] == corpus]
            references = _references(parameters, results, corpus, specs)
            held = {variant: tables.lanes_of(variant, lanes) for variant in variants}
            path = drawn.path("ablation", corpus)
            blocks.append(
                Block(
                    title=corpus,
                    caption=caption if not blocks else "",
                    table=tables.ablation(content, corpus, variants, lanes, [run for run in runs if run.corpus == corpus], results.reasons),
                    figures=[Markup(figures.ablation(path, corpus, rows, held, lanes, specs[study.spec], references))],
                )
            )
            worths = [entry for entry in content.get("worths", []) if entry["corpus"] == corpus]  # older files have none
            if worths:
                figure = figures.worths(drawn.path("worths", corpus), corpus, worths, specs[study.spec])
                blocks.append(Block(about_worths, tables.worths(worths), [Markup(figure)], f"{corpus}: what each lane is worth"))
    steps = ["studies/ablation", *_run_steps(runs)] if study else []
    section = _section(
        "ablation", "Lanes, and what is left without them", content, ["studies/ablation.json", "runs/"], steps, reports, blocks
    )
    return section if study else replace(section, asked_for=False)


def _references(parameters: Parameters, results: Results, corpus: str, specs: Mapping[str, Look]) -> dict[str, tuple[float, Look]]:
    """Means of the comparison's other specs, where they had the ablation's budget."""
    studies = parameters.profile.studies
    if studies.ablation is None or results.comparison is None or studies.comparison.budget != studies.ablation.budget:
        return {}
    means = [mean for mean in results.comparison["means"] if mean["corpus"] == corpus and mean["spec"] != studies.ablation.spec]
    return {mean["spec"]: (mean["nats_per_token"], specs[mean["spec"]]) for mean in means if mean["nats_per_token"] is not None}


def _lengths(parameters: Parameters, results: Results, specs: Mapping[str, Look], reports: Path, drawn: _Figures) -> Section:
    study, content = parameters.profile.studies.lengths, results.lengths
    blocks = []
    if study is not None and content is not None:
        rows = content["rows"]
        panels = [
            figures.lengths(drawn.path("lengths-speed"), "tokens per second (higher is better)", rows, _speed, specs),
            figures.lengths(drawn.path("lengths-memory"), "peak memory, MiB (lower is better)", rows, _memory, specs),
        ]
        wanted = [(spec, length) for spec in study.specs for length in study.lengths]
        caption = (
            f"A training step (forward, backward, optimiser) on {content['device']} with {tables.count(content['threads'], 'thread')}, in "
            "fresh processes, models taking turns. Medians over all timed steps, whiskers are quartiles; peak memory is above that of the "
            "loaded model. Both axes are logarithmic; a cross at the upper edge is a measurement that failed, with its status."
        )
        blocks.append(Block(caption, tables.lengths(content, wanted), [Markup(panel) for panel in panels]))
    steps = ["studies/lengths", *(f"profile/length{length}" for length in study.lengths)] if study else []
    section = _section("lengths", "Sequence length", content, ["studies/lengths.json", "profile/"], steps, reports, blocks)
    return section if study else replace(section, asked_for=False)


def _speed(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if row["status"] != "ok":
        return None
    low, high = row["seconds_quartiles"]  # a slow quartile is a low speed
    speed, median = row["tokens_per_second"], row["seconds_median"]
    return speed, speed * median / high, speed * median / low


def _memory(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if row["status"] != "ok":
        return None
    return (row["peak_bytes"] / 2**20,) * 3


def _benchmarks(results: Results, reports: Path) -> Section:
    caption = (
        "Ratios of medians, of one run on one machine in which the contenders took turns; they say little of other machines. “As fast” is "
        "their time over ours, “as much” our time or memory over theirs. A bound is the ratio of the FLOPs that either needs."
    )
    blocks: list[Block] = []
    for name, rows in results.benchmarks.items():
        made = _content(reports / BENCHMARKS / f"{name}.provenance.json")
        about = _about(made["settings"]) if made else ""
        blocks.append(
            Block(" ".join(filter(None, [about, caption if not blocks else ""])), tables.benchmark(rows), title=f"benchmarks/{name}.py")
        )
    made = _provenance([f"{BENCHMARKS}/{name}" for name in results.benchmarks], reports)
    if not blocks:
        absent = f"No benchmark was run: {BENCHMARKS}/ holds no results. Each script below benchmarks/ writes its own there."
        return Section("speed", "Speed", (), made, absent=absent)
    return Section("speed", "Speed", [f"{BENCHMARKS}/"], made, blocks)


def _about(settings: Mapping[str, Any]) -> str:
    """What a benchmark compares, and how often and on how many threads it did."""
    threads = settings.get("threads")
    several = " and ".join(map(str, threads)) if isinstance(threads, list) else threads
    facts = [f"Threads: {several}."] if several else []
    facts += [f"Repeats: {settings['repeats']}."] if "repeats" in settings else []
    return " ".join(filter(None, [settings.get("about"), *facts]))


def _ledger(results: Results, reports: Path) -> Section:
    caption = (
        "Counted from the built modules. Each model is within 0.5% of the budget, so any two are within 1%, "
        "with and without the embedding; the width "
        "of the MLP is solved for that."
    )
    blocks = [Block(caption, tables.ledger(results.ledger))] if results.ledger else []
    return _section("ledger", "Budget", results.ledger, ["budget/ledger.json"], ["budget/ledger"], reports, blocks)


def _contract(results: Results, reports: Path) -> Section:
    caption = (
        "What a model must satisfy before it may train, with random weights in every parameter. Differences are relative to the largest "
        "logit or gradient (in float32 about 1e-7 is the order of summation, and 1e-5 is allowed; bfloat16's autocast keeps 8 bits, and is "
        "allowed more), for the parameter count in parameters; smaller is better. A declared break is a known fault of a published model, "
        "which is looked for in float32 alone and must occur."
    )
    steps = [f"contract/{'/'.join(model)}" for model in results.contract]
    return Section("contract", "Contract", ["contract/"], _provenance(steps, reports), [Block(caption, tables.contract(results.contract))])


def _corpora(parameters: Parameters, results: Results, reports: Path) -> Section:
    about = "Where the text comes from. A hash stands for a local file's content; “train limit” is how much text the profile takes."
    sizes = (
        "Every number is of what was kept after the limit. The last two columns are the overlap audit: how much of a held-out split also "
        "stands in train, as whole documents and as distinct sequences of 13 words; lower is better. The test split is counted here and "
        "scored nowhere."
    )
    blocks = [
        Block(about, tables.sources(results.corpora, results.tokens), title="Sources"),
        Block(sizes, tables.splits(results.corpora, results.tokens), title="Splits"),
    ]
    names = parameters.profile.corpora
    steps = [step for name in names for step in (f"corpora/{name}/corpus", f"tokens/{name}/tokens")]
    return Section("corpora", "Corpora", ["corpora/", "tokens/"], _provenance(steps, reports), blocks)


def _section(
    name: str, title: str, content: Any, files: Sequence[str], steps: Sequence[str], reports: Path, blocks: Sequence[Block]
) -> Section:
    absent = "" if content is not None else f"Missing: {files[0]} does not exist; the step that writes it has not run."
    return Section(name, title, files, _provenance(steps, reports), blocks, absent)


def _corpora_of(runs: Iterable[Run], content: Any) -> list[str]:
    return list(dict.fromkeys([*(run.corpus for run in runs), *(row["corpus"] for row in (content or {"rows": []})["rows"])]))


# --- provenance -------------------------------------------------------------------------------------------------------


def _run_steps(runs: Iterable[Run]) -> list[str]:
    return [f"runs/{run}/{step}" for run in runs for step in ("train", "evaluate")]


def _all_steps(parameters: Parameters) -> list[str]:
    """Every step of the profile that leaves a provenance file and decides a number."""
    studies = parameters.profile.studies
    steps = [f"corpora/{name}/corpus" for name in parameters.profile.corpora]
    steps += [f"tokens/{name}/tokens" for name in parameters.profile.corpora]
    models = [f"{run.spec}/{run.budget}/{Variant.parse(run.variant).model}" for run in parameters.runs()]
    steps += ["budget/ledger", *(f"contract/{model}" for model in models)]
    steps += ["studies/calibration", *_run_steps(parameters.calibration_runs())] if studies.calibration else []
    steps += ["studies/tuning", *(f"runs/{run}/train" for run in parameters.tuning_runs())] if studies.tuning else []
    steps += [f"runs/{run}/{step}" for run in parameters.audit_runs() for step in ("train", "replay")]
    steps += ["studies/audit"] if studies.audit else []
    steps += [*_run_steps(parameters.comparison_runs()), *_run_steps(parameters.ablation_runs()), "studies/comparison"]
    steps += ["studies/ablation"] if studies.ablation else []
    steps += ["studies/lengths", *(f"profile/length{length}" for length in studies.lengths.lengths)] if studies.lengths else []
    return list(dict.fromkeys(steps))


def _provenance(steps: Iterable[str], reports: Path) -> Provenance:
    """What `<step>.provenance.json` and `<step>.timing.json` below the reports say, for each step."""
    records = {step: (_content(reports / f"{step}.provenance.json"), _content(reports / f"{step}.timing.json")) for step in steps}
    made = {step: record for step, (record, _) in records.items() if record is not None}
    places = [(_hardware(record["machine"]), _versions(record["versions"])) for record in made.values()]
    return Provenance(
        table=tables.provenance(records),
        commits=list(dict.fromkeys(tables.commit({**record, "dirty": False}) for record in made.values())),
        dirty=sum(record["dirty"] is not False for record in made.values()),
        missing=len(records) - len(made),
        machines=[Machine(places.count(place), *place) for place in dict.fromkeys(places)],
        inputs=[(step, list(record["inputs"].items())) for step, record in made.items() if record["inputs"]],
    )


def _hardware(machine: Mapping[str, Any]) -> str:
    return f"{machine['system']}, {machine['processor']}, {machine['cores']} cores, {machine['accelerator'] or 'no accelerator'}"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
