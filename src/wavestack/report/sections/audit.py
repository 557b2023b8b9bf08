"""The audit: the published comparison, and what its faults are worth."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup
from matplotlib.axes import Axes

from wavestack.report.panel import GRID, INK, MUTED, PAPER, Rows, differing_rows, panel
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import Column, Content, Row, Table, number, signed


def table(content: Content, corpus: str) -> Table:
    """The rungs of one corpus: what is compared, and who leads by how much in both units.

    Args:
        content: of `studies/audit.json`.
    """
    rows, notes = [], []
    for row in (row for row in content["rows"] if row["corpus"] == corpus):
        mended = rung(row)
        counts = [number(row[f"{whose}_{of}"], 0) for of in ("parameters", "non_embedding_parameters") for whose in ("our", "their")]
        held_out = (number(row["held_out_ours"], 4), number(row["held_out_theirs"], 4))
        nats = (_gap(row, "change"), _gap(row, "nats"), *_losses(row, "nats"))
        published = (_gap(row, "published"), *_losses(row, "published"), *held_out)
        rows.append(Row((mended, row["ours"], row["theirs"], *nats, *published, *counts), "failed" if row["reason"] else ""))
        notes += [f"{mended}: {row['reason']}"] if row["reason"] else []
    columns = (
        Column("changed", numeric=False),
        Column("ours", numeric=False),
        Column("theirs", numeric=False),
        Column("what it did to the gap", "nats per token"),
        *(Column(title, "nats per token") for title in ("gap", "ours ↓", "theirs ↓")),
        *(Column(title, "published unit") for title in ("gap", "ours ↓", "theirs ↓")),
        *(Column(title, "held out of train") for title in ("ours ↓", "theirs ↓")),
        *(Column(title, "parameters") for title in ("ours", "theirs")),
        *(Column(title, "without embedding") for title in ("ours", "theirs")),
    )
    return Table(columns, tuple(rows), tuple(notes))


def rung(row: Content) -> str:
    """What is changed on a row of the audit, in words."""
    if row["kind"] == "alone":
        return f"{row['mended']} alone"
    return row["mended"] if row["mended"] == "as published" else f"+ {row['mended']}"


def _losses(row: Content, unit: str) -> tuple[str, str]:
    return number(row[f"{unit}_ours"], 4), number(row[f"{unit}_theirs"], 4)


def _gap(row: Content, unit: str) -> str:
    low = row[f"{unit}_low"]
    sure = "" if low is None else f" ({signed(low, 3)} to {signed(row[f'{unit}_high'], 3)})"
    return signed(row[f"{unit}_gap"], 4) + sure


def figure(path: Path, corpus: str, unit: str, title: str, rows: Rows, names: Sequence[str]) -> str:
    """The gap on every rung, or what a change did to it: first as published, then with one change more each, then with each alone.

    Args:
        path: of the SVG.
        unit: whose gap: published, nats or change.
        title: of the axis, which says what is shown.
        rows: the corpus's rows of `studies/audit.json`.
        names: of the rungs, as many.
    """

    def paint(axes: Axes) -> None:
        for y, row in enumerate(rows):
            if row[f"{unit}_gap"] is None:
                axes.scatter([0.97], [y], marker="x", s=40, color=INK, transform=axes.get_yaxis_transform())
                continue
            colour, face = (INK, INK) if row["kind"] == "cumulative" else (MUTED, PAPER)
            if row[f"{unit}_low"] is not None:
                axes.plot([row[f"{unit}_low"], row[f"{unit}_high"]], [y, y], color=colour, lw=5, alpha=0.25, solid_capstyle="butt")
            gaps = row[f"{unit}_gaps"]
            axes.scatter(gaps, [y] * len(gaps), s=22, facecolors=face, edgecolors=colour, lw=1, zorder=3)
        axes.axhline(sum(row["kind"] == "cumulative" for row in rows) - 0.5, color=GRID, lw=0.8)
        differing_rows(axes, names, f"{corpus}: {title}")

    return panel(path, 4.4, 0.9 + 0.26 * len(names), paint)


def section(context: Context) -> Section:
    study, content = context.study("audit")
    compared = 0 if study is None else study.tokens
    caption = (
        "The published comparison, replayed at the size of this profile, and then changed: one change more on every row, and below each "
        "that can stand alone. Most mend a fault; the others lead to this profile's own comparison, and a model that takes another's "
        "place brings all that it is. Stretched bases can show nothing here, since every row is equally long (the contract shows them); "
        "the explicit mask and what FLOPs left out are no matter of loss (see lengths and sizes). The published unit is what was called "
        "the loss: 0.7 times the mean over the first batches of the cross-entropy of the last weights, padding among it, until these are "
        f"mended, too; held out are documents of the train split that were not trained on. Nats per token are of the first {compared} "
        "tokens of every validation document but its very first one, and mean the same on every row: what a change did to the gap is held "
        "against the row before, and for a change alone against the first row. Another order might share it out otherwise. Below zero, "
        "ours is better. A point is a seed, a bar a 95% interval of its own (three seeds at least): a ladder describes, and decides "
        "nothing. Where padding is scored by models that were not trained on it, the published unit tells of padding, nats of text."
    )
    blocks: list[Block] = []
    if study is not None and content is not None:
        for corpus in study.corpora:
            rows = [row for row in content["rows"] if row["corpus"] == corpus]
            names = [rung(row) for row in rows]
            titles = {"published": "published unit, ours − theirs", "nats": "nats per token, ours − theirs"}
            panels = [
                Markup(figure(context.figures.path("audit", unit, corpus), corpus, unit, titles[unit], rows, names)) for unit in titles
            ]
            path = context.figures.path("audit", "change", corpus)
            panels.append(Markup(figure(path, corpus, "change", "what it did to the gap, nats per token", rows[1:], names[1:])))
            blocks.append(Block("" if blocks else caption, table(content, corpus), panels, corpus))
    runs = context.parameters.audit_runs()
    steps = ["studies/audit", *(f"runs/{run}/{step}" for run in runs for step in ("train", "replay"))] if study else []
    found = context.section("audit", "The published comparison, mended", content, ["studies/audit.json", "runs/"], steps, blocks)
    return asked_for(found, study)
