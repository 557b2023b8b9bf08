"""Tuning: the trials, what was chosen, and how much a model owes to their number."""

from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wavestack.report.panel import Look, Rows, panel
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import NATS, Column, Content, Row, Table, failure, number


def table(content: Content) -> Table:
    """Every trial, the chosen one of each spec on each corpus set off."""
    rows, notes = [], []
    for choice in content["choices"]:
        for trial in choice["trials"]:
            failed = failure(trial, trial["reason"])
            settings = (f"{trial[key]:g}" for key in ("learning_rate", "weight_decay", "dropout"))
            chosen = choice["chosen"].items() <= trial.items()
            status = "chosen" if chosen else "" if failed is None else failed.partition(":")[0]
            cells = (choice["corpus"], choice["spec"], *settings, number(trial["seeds"], 0), NATS.text(trial), status)
            rows.append(Row(cells, "failed" if failed else "mean" if chosen else "", choice["spec"]))
        notes += [f"{choice['spec']} on {choice['corpus']}: {edge}, and what lies beyond was not tried" for edge in choice["at_the_edge"]]
    columns = (
        Column("corpus", numeric=False),
        Column("model", numeric=False),
        Column("learning rate"),
        Column("weight decay"),
        Column("dropout"),
        Column("seeds"),
        Column("nats ↓", "lowest of validation"),
        Column("", numeric=False),
    )
    return Table(columns, tuple(rows), tuple(notes))


def figure(path: Path, corpus: str, choices: Rows, specs: Mapping[str, Look]) -> str:
    """The loss that a number of trials finds on average, a line a spec.

    Args:
        path: of the SVG.
        choices: the corpus's of `studies/tuning.json`.
    """

    def paint(axes: Axes) -> None:
        for choice in choices:
            look, expected = specs[choice["spec"]], choice["expected_best"]
            found = [(trials, nats) for trials, nats in enumerate(expected, start=1) if nats is not None]
            trials, nats = [n for n, _ in found], [value for _, value in found]
            axes.plot(trials, nats, color=look.colour, marker=look.marker, ms=4, lw=1.2, label=choice["spec"])
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("trials")
        axes.set_ylabel("best validation nats per token")
        axes.set_title(corpus)
        if choices:
            axes.legend(loc="upper right")

    return panel(path, 4.2, 3.0, paint)


def section(context: Context) -> Section:
    study, content = context.study("tuning")
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
            panels.append(Markup(figure(context.figures.path("tuning", corpus), corpus, choices, context.looks)))
        blocks.append(Block(caption, table(content), panels))
    made = [f"tuning/{corpus}/{spec}" for corpus in study.corpora for spec in study.specs] if study else []
    steps = ["studies/tuning", *made, *(f"runs/{run}/train" for run in context.parameters.tuning_runs())] if study else []
    found = context.section("tuning", "Tuning", content, ["studies/tuning.json", "tuning/", "runs/"], steps, blocks)
    return asked_for(found, study)
