"""What each lane and each pair of lanes is worth: Shapley values, what is lost without a lane, and interactions of the ablation grid."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes

from wavestack.report.panel import PAPER, Look, Rows, cross, differing_rows, panel
from wavestack.report.section import Block, Context
from wavestack.report.table import MISSING, Column, Content, Row, Table, by_seed, signed


def table(found: Sequence[Content]) -> Table:
    """What each lane and each pair of lanes is worth on one corpus.

    Args:
        found: the corpus's entries under `worths` of `studies/ablation.json`.
    """
    rows, notes = [], []
    for entry in found:
        each = MISSING if entry["nats"] is None else by_seed(entry)
        sure = MISSING if entry["low"] is None else f"{signed(entry['low'], 4)} to {signed(entry['high'], 4)}"
        level = MISSING if entry["level"] is None else f"{entry['level']:.1%}"
        cells = (_question(entry), signed(entry["nats_per_token"], 4), each, sure, level)
        rows.append(Row(cells, "failed" if entry["nats"] is None else ""))
        notes += [f"{_question(entry)}: {entry['reason']}"] if entry["nats"] is None else []
    columns = (
        Column("worth of", numeric=False),
        Column("nats saved ↑", "per token"),
        Column("by seed", "nats per token", numeric=False),
        Column("interval", "nats per token"),
        Column("level", "of the interval"),
    )
    return Table(columns, tuple(rows), tuple(notes))


def _question(entry: Content) -> str:
    lanes = " with ".join(entry["lanes"])
    return {"lane": f"{lanes}, Shapley value", "removal": f"{lanes}, joining all others", "pair": f"{lanes}, beyond both"}[entry["of"]]


def figure(path: Path, corpus: str, found: Rows, own: Look) -> str:
    """Shapley values (filled), what lanes save that join all others, and what pairs do beyond both: a point a seed, a bar for the interval.

    Args:
        path: of the SVG.
        found: the corpus's entries under `worths` of `studies/ablation.json`.
        own: look of the spec whose lanes these are.
    """
    names = [_question(entry) for entry in found]

    def paint(axes: Axes) -> None:
        for y, entry in enumerate(found):
            if entry["nats"] is None:
                cross(axes, 0.97, y, own, axes.get_yaxis_transform())
                continue
            if entry["low"] is not None:
                axes.plot([entry["low"], entry["high"]], [y, y], color=own.colour, lw=5, alpha=0.3, solid_capstyle="butt")
            face = own.colour if entry["of"] == "lane" else PAPER
            axes.scatter(
                entry["nats"], [y] * len(entry["nats"]), s=26, marker=own.marker, facecolors=face, edgecolors=own.colour, lw=1.1, zorder=3
            )
            axes.plot([entry["nats_per_token"]] * 2, [y - 0.3, y + 0.3], color=own.colour, lw=1.6)
        differing_rows(axes, names, f"{corpus}: nats saved per token ↑")

    return panel(path, 4.0, 0.9 + 0.3 * len(names), paint)


def block(context: Context, corpus: str, found: Sequence[Content], spec: str) -> Block:
    """Of one corpus, for the lanes of a spec."""
    caption = (
        "A lane's Shapley value: the nats a token that it saves when lanes join in a random order. The values of all lanes add up to what "
        "all lanes save over none; two that do the same share what either would have, so that beside it stands what a lane saves that "
        "joins all others: nothing where they do what it does. A pair is worth beyond its lanes what they save together and not apart: "
        "below zero, one repeats the other. Points are seeds, bars intervals, wider than 95% so that the verdicts on each of the three "
        "questions hold together (Holm)."
    )
    drawn = figure(context.figures.path("worths", corpus), corpus, found, context.looks[spec])
    return Block(caption, table(found), [Markup(drawn)], f"{corpus}: what each lane is worth")
