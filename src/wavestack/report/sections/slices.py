"""Slices of the likelihood: where the losses of the comparison's models lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from wavestack.report.panel import Look, Rows, panel, short
from wavestack.report.section import Block, Context
from wavestack.report.table import Column, Content, Row, Table, number, share, signed

KINDS = {
    "seen": "tokens that are seen before it",
    "count": "times in the train split",
    "back": "tokens back to the same pair (0: it is new)",
}


def table(found: Sequence[Content], specs: Sequence[str]) -> Table:
    """Losses of the slices of one corpus, the models side by side.

    Args:
        found: the corpus's entries under `slices` of `studies/comparison.json`.
        specs: in their order; the difference is of the first two.
    """
    nats = {(row["kind"], row["least"], row["spec"]): row["nats_per_token"] for row in found}
    sizes = {(row["kind"], row["least"]): row["tokens"] for row in found}
    whole = sum(tokens for (kind, _), tokens in sizes.items() if kind == "seen")
    rows = []
    for (kind, least), tokens in sizes.items():
        values = [nats.get((kind, least, spec)) for spec in specs]
        first, second, *_ = [*values, None, None]
        gap = None if first is None or second is None else first - second
        named = f"{least:,}" if least < 2 else f"{least:,} to {2 * least - 1:,}"
        cells = (KINDS[kind], named, share(tokens / whole), *(number(value, 3) for value in values), signed(gap, 3))
        rows.append(Row(cells))
    columns = (
        Column("slice", numeric=False),
        Column("from, to"),
        Column("of all tokens", "%"),
        *(Column(f"{spec} ↓", "nats per token") for spec in specs),
        Column("difference", "of the first two"),
    )
    return Table(columns, tuple(rows))


def figure(path: Path, corpus: str, title: str, rows: Rows, specs: Mapping[str, Look]) -> str:
    """Nats per token against one number, in octaves, a line a spec; where the number is zero stands left of all others.

    Args:
        path: of the SVG.
        title: what the number counts.
        rows: the corpus's entries of one kind under `slices` of `studies/comparison.json`.
    """

    def paint(axes: Axes) -> None:
        for spec in dict.fromkeys(row["spec"] for row in rows):
            own = [row for row in rows if row["spec"] == spec]
            places, nats = [row["least"] or 0.35 for row in own], [row["nats_per_token"] for row in own]
            apart = sum(row["least"] == 0 for row in own)
            look = specs[spec]
            axes.plot(places[apart:], nats[apart:], color=look.colour, marker=look.marker, ms=4, lw=1.2, label=spec)
            axes.plot(places[:apart], nats[:apart], color=look.colour, marker=look.marker, ms=4, lw=0)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < 0.5 else short(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        octaves = sorted({row["least"] for row in rows if row["least"]})
        axes.set_xticks([*([0.35] if any(row["least"] == 0 for row in rows) else []), *octaves[:: 1 + len(octaves) // 8]])
        axes.set_xlabel(title)
        axes.set_ylabel("nats per token ↓")
        axes.set_title(corpus)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0.2)  # no place inside is free of lines everywhere

    return panel(path, 4.2, 3.0, paint)


def blocks(context: Context, content: Any) -> list[Block]:
    """Where the losses lie; older results do not say."""
    caption = (
        "Where the losses lie: by how many tokens of its document the model sees before a token, by how often that token stands in the "
        "train split, and by how far back the pair that it ends with the one before stood last in what is seen. A model that copies is "
        "good on pairs that were there, however far back; one that knows pairs by heart is as good on new ones. All seeds' tokens together."
    )
    shown: list[Block] = []
    found = content.get("slices", []) if content else []
    for corpus in dict.fromkeys(row["corpus"] for row in found):
        rows = [row for row in found if row["corpus"] == corpus]
        panels = [
            Markup(
                figure(
                    context.figures.path("slices", kind, corpus), corpus, title, [row for row in rows if row["kind"] == kind], context.looks
                )
            )
            for kind, title in KINDS.items()
        ]
        sides = table(rows, context.parameters.profile.studies.comparison.specs)
        shown.append(Block("" if shown else caption, sides, panels, f"{corpus}: where the losses lie"))
    return shown
