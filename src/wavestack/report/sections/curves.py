"""Loss curves of the comparison's runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from wavestack.report.panel import INK, Look, panel, short
from wavestack.report.provenance import provenance
from wavestack.report.section import Block, Context, Section
from wavestack.report.table import Column, Row, Table, run_of


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


def section(context: Context) -> Section:
    runs = context.parameters.comparison_runs()
    _, content = context.study("comparison")
    rows = {run_of(row): row for row in content["rows"]} if content else {}
    panels, missing = [], []
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
    caption = (
        "Nats per token on part of the validation split while training; each line is one seed, lower is better. The value before the "
        "first step lies above the frame. Lines that still fall at the right end are of models that had not finished learning."
    )
    columns = (Column("run", numeric=False), Column("status", numeric=False))
    block = Block(caption, Table(columns, tuple(missing)) if missing else None, panels)
    return Section("curves", "Loss curves", ["runs/"], provenance([f"runs/{run}/train" for run in runs], context.reports), [block])


def _read_curve(path: Path) -> pandas.DataFrame:
    """The rows of a curve that have a validation loss."""
    try:
        return pandas.read_csv(path, usecols=["tokens", "valid_nats"]).dropna()
    except (ValueError, pandas.errors.ParserError) as error:
        raise ValueError(f"{path} is no curve ({error}); delete it and train the run again") from None
