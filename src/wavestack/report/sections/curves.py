"""Loss curves of the comparison's runs, and the gap between models while they learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy import stats

from wavestack.report.panel import INK, MUTED, Look, panel, short
from wavestack.report.provenance import provenance
from wavestack.report.section import Block, Context, Section
from wavestack.report.table import Column, Row, Table, run_of
from wavestack.statistics import LEVEL, SEEDS

GAPS = (
    "The first model's loss minus another one's, seed by seed, on that part of the validation split: below zero, the first is better. A "
    "thin line is a seed, the thick one their mean, the band a 95% interval of the mean for other seeds (three at least), at each point by "
    "itself. Within a training the learning rate is still high; how trainings that end earlier compare is a matter of sizes, not of this. "
    "Verdicts are those of the comparison."
)


@dataclass(frozen=True)
class Curve:
    """The validation losses of one run."""

    spec: str
    seed: int
    tokens: Sequence[int]
    nats: Sequence[float]
    diverged: bool


def figure(path: Path, corpus: str, lines: Sequence[Curve], specs: Mapping[str, Look]) -> str:
    """Validation loss against training tokens. The value before training is left above the frame."""

    def paint(axes: Axes) -> None:
        trained = []
        for curve in lines:
            look = specs[curve.spec]
            first = not any(curve.spec == other.spec for other in lines[: lines.index(curve)])
            axes.plot(
                curve.tokens, curve.nats, color=look.colour, marker=look.marker, ms=3, lw=1.2, alpha=0.85,
                label=curve.spec if first else None,
            )  # fmt: skip
            trained += [nats for tokens, nats in zip(curve.tokens, curve.nats, strict=True) if tokens > 0]
            if curve.diverged and curve.tokens:
                axes.scatter(curve.tokens[-1:], curve.nats[-1:], marker="x", s=50, color=INK, lw=1.6, zorder=4)
                text = f"seed {curve.seed} diverged"
                axes.annotate(text, (curve.tokens[-1], curve.nats[-1]), (6, 4), textcoords="offset points", fontsize=7)
        if trained:
            room = 0.06 * (max(trained) - min(trained)) or 0.1
            axes.set_ylim(min(trained) - room, max(trained) + room)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.set_xlim(left=0)
        axes.set_xlabel("training tokens")
        axes.set_ylabel("validation nats per token")
        axes.set_title(corpus)
        if lines:
            axes.legend(loc="upper right")

    return panel(path, 4.2, 3.0, paint)


def gap_figure(path: Path, corpus: str, ours: str, lines: Sequence[Curve], specs: Mapping[str, Look]) -> str:
    """Our loss minus another model's against training tokens: a thin line a seed, a thick one their mean.

    The band is Student's interval of the mean over seeds, where there are three; the value before training is left out.
    """

    def paint(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, lw=0.8)
        for theirs in dict.fromkeys(curve.spec for curve in lines if curve.spec != ours):
            look, gaps = specs[theirs], gaps_by_seed(lines, ours, theirs)
            for gap in gaps:
                axes.plot(gap.index, gap, color=look.colour, lw=0.6, alpha=0.35)
            together = pandas.concat(gaps, axis=1).dropna() if gaps else pandas.DataFrame()
            if together.empty:
                continue
            axes.plot(together.index, together.mean(axis=1), color=look.colour, lw=1.8, ls=look.line, label=f"{ours} − {theirs}")
            if len(gaps) >= SEEDS:
                reach = stats.t.ppf((1 + LEVEL) / 2, len(gaps) - 1) * together.sem(axis=1)
                mean = together.mean(axis=1)
                axes.fill_between(together.index, mean - reach, mean + reach, color=look.colour, alpha=0.2, lw=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axes.set_xlim(left=0)
        axes.set_xlabel("training tokens")
        axes.set_ylabel("gap, validation nats per token")
        axes.set_title(corpus)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.18), borderpad=0.2)  # below the frame, where it crosses no line

    return panel(path, 4.2, 3.4, paint)


def gaps_by_seed(lines: Sequence[Curve], ours: str, theirs: str) -> list[pandas.Series]:
    """Of each seed that neither model diverged with, our loss minus theirs by training tokens."""
    by_seed = {(curve.spec, curve.seed): pandas.Series(curve.nats, curve.tokens) for curve in lines if not curve.diverged}
    seeds = [seed for spec, seed in by_seed if spec == ours and (theirs, seed) in by_seed]
    gaps = [(by_seed[ours, seed] - by_seed[theirs, seed]).dropna() for seed in seeds]
    return [gap[gap.index > 0] for gap in gaps]


def section(context: Context) -> Section:
    runs = context.parameters.comparison_runs()
    _, content = context.study("comparison")
    rows = {run_of(row): row for row in content["rows"]} if content else {}
    panels, gaps, missing = [], [], []
    for corpus in dict.fromkeys(run.corpus for run in runs):
        lines = []
        for run in (run for run in runs if run.corpus == corpus):
            path = context.reports / "runs" / str(run) / "curve.csv"
            if not path.is_file():
                missing.append(Row((str(run), "missing: no curve.csv"), "failed", run.spec))
                continue
            validated = _read_curve(path)
            status = rows.get(run, {}).get("status")
            lines.append(Curve(run.spec, run.seed, list(validated["tokens"]), list(validated["valid_nats"]), status == "diverged"))
        if lines:
            panels.append(Markup(figure(context.figures.path("curves", corpus), corpus, lines, context.looks)))
        ours = context.parameters.profile.studies.comparison.specs[0]
        if any(gaps_by_seed(lines, ours, theirs) for theirs in {curve.spec for curve in lines} - {ours}):
            gaps.append(Markup(gap_figure(context.figures.path("gaps", corpus), corpus, ours, lines, context.looks)))
    caption = (
        "Nats per token on part of the validation split while training; each line is one seed, lower is better. The value before the "
        "first step lies above the frame. Lines that still fall at the right end are of models that had not finished learning."
    )
    columns = (Column("run", numeric=False), Column("status", numeric=False))
    blocks = [Block(caption, Table(columns, tuple(missing)) if missing else None, panels)]
    if gaps:
        blocks.append(Block(GAPS, figures=gaps, title="The gap while they learn"))
    return Section("curves", "Loss curves", ["runs/"], provenance([f"runs/{run}/train" for run in runs], context.reports), blocks)


def _read_curve(path: Path) -> pandas.DataFrame:
    """The rows of a curve that have a validation loss."""
    try:
        return pandas.read_csv(path, usecols=["tokens", "valid_nats"]).dropna()
    except (ValueError, pandas.errors.ParserError) as error:
        raise ValueError(f"{path} is no curve ({error}); delete it and train the run again") from None
