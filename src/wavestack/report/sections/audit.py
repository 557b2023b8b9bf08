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
        counts = (number(row["our_parameters"], 0), number(row["their_parameters"], 0))
        held_out = (number(row["held_out_ours"], 4), number(row["held_out_theirs"], 4))
        cells = (mended, row["ours"], row["theirs"], *counts, *_both_and_gap(row, "published"), *held_out, *_both_and_gap(row, "nats"))
        rows.append(Row(cells, "failed" if row["reason"] else ""))
        notes += [f"{mended}: {row['reason']}"] if row["reason"] else []
    columns = (
        Column("mended", numeric=False),
        Column("ours", numeric=False),
        Column("theirs", numeric=False),
        Column("our parameters"),
        Column("their parameters"),
        Column("ours ↓", "published unit"),
        Column("theirs ↓", "published unit"),
        Column("gap", "published unit"),
        Column("ours ↓", "held out of train"),
        Column("theirs ↓", "held out of train"),
        Column("ours ↓", "nats per token"),
        Column("theirs ↓", "nats per token"),
        Column("gap", "nats per token"),
    )
    return Table(columns, tuple(rows), tuple(notes))


def rung(row: Content) -> str:
    """What is mended on a row of the audit, in words."""
    if row["kind"] == "alone":
        return f"{row['mended']} alone"
    return row["mended"] if row["mended"] == "as published" else f"+ {row['mended']}"


def _both_and_gap(row: Content, unit: str) -> tuple[str, str, str]:
    low = row[f"{unit}_low"]
    sure = "" if low is None else f" ({signed(low, 3)} to {signed(row[f'{unit}_high'], 3)})"
    return number(row[f"{unit}_ours"], 4), number(row[f"{unit}_theirs"], 4), signed(row[f"{unit}_gap"], 4) + sure


def figure(path: Path, corpus: str, unit: str, title: str, rows: Rows, names: Sequence[str]) -> str:
    """The gap on every rung: first as published, then with one fault more mended each, then with each alone.

    Args:
        path: of the SVG.
        unit: whose gap: published or nats.
        title: of the unit.
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
        differing_rows(axes, names, f"{corpus}: {title}, ours − theirs")

    return panel(path, 4.4, 0.9 + 0.26 * len(names), paint)


def section(context: Context) -> Section:
    study, content = context.study("audit")
    caption = (
        "The published comparison, replayed with its faults, and then mended: one fault more on every row, and below each fault alone. The "
        "published unit is what was called the loss: 0.7 times the cross-entropy of the first batches, padding among it, until that is "
        f"mended, too; nats per token are those of the first {study.tokens if study else 0} tokens of all validation documents, and mean "
        "the same on every row. Below zero, ours is better. A point is a seed, a bar a 95% interval of its own (three seeds at least): a "
        "ladder describes, and decides nothing. Another model brings its own size and dropout; and where padding is scored by models that "
        "were not trained on it, the published unit tells of padding, nats of text."
    )
    blocks: list[Block] = []
    if study is not None and content is not None:
        for corpus in study.corpora:
            rows = [row for row in content["rows"] if row["corpus"] == corpus]
            names = [rung(row) for row in rows]
            units = (("published", "the published unit"), ("nats", "nats per token"))
            panels = [
                Markup(figure(context.figures.path("audit", unit, corpus), corpus, unit, title, rows, names)) for unit, title in units
            ]
            blocks.append(Block("" if blocks else caption, table(content, corpus), panels, corpus))
    runs = context.parameters.audit_runs()
    steps = ["studies/audit", *(f"runs/{run}/{step}" for run in runs for step in ("train", "replay"))] if study else []
    found = context.section("audit", "The published comparison, mended", content, ["studies/audit.json", "runs/"], steps, blocks)
    return asked_for(found, study)
