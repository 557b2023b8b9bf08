"""The audit: the published comparison, and what its faults are worth."""

from collections.abc import Sequence
from math import log1p
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from wavestack.report.panel import GRID, INK, MUTED, PAPER, Rows, differing_rows, panel
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import Column, Content, Row, Table, number, signed


def table(found: Rows) -> Table:
    """The rungs of one corpus: what is compared, and who leads by how much in both units.

    Args:
        found: of `studies/audit.json`, and `at_the_end`, in their order.
    """
    rows, notes = [], []
    for row in found:
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
    if row["kind"] == "comparison":
        return f"{row['mended']}, against {row['theirs']}"
    if row["kind"] == "alone":
        return f"{row['mended']} alone"
    return row["mended"] if row["mended"] == "as published" else f"+ {row['mended']}"


def at_the_end(compared: Content, corpus: str, last: Content, tuned: bool) -> list[dict[str, Any]]:
    """Where the ladder leads: the comparison's differences, in the form of rungs. None where it is of another model than the last rung's.

    Args:
        compared: of `studies/comparison.json`.
        last: the rung that all changes together lead to.
    """
    of_runs = {row["spec"]: row for row in compared["rows"] if row["corpus"] == corpus}
    means = {row["spec"]: row["nats_per_token"] for row in compared["means"] if row["corpus"] == corpus}
    found = []
    for entry in compared["differences"]:
        known = None not in entry["nats"]
        if (entry["corpus"], entry["spec"]) != (corpus, last["ours"]):
            continue
        row: dict[str, Any] = dict.fromkeys(last) | {
            "kind": "comparison",
            "mended": "tuned alike" if tuned else "this profile's comparison",
        }
        row |= {"corpus": corpus, "ours": entry["spec"], "theirs": entry["against"], "reason": None if known else entry["reason"]}
        for whose, spec in (("our", entry["spec"]), ("their", entry["against"])):
            row |= {f"{whose}_{which}": of_runs[spec][which] for which in ("parameters", "non_embedding_parameters")}
            row |= {f"nats_{whose}s": means[spec]}
        if known:
            low, high = (entry.get(end) for end in ("low_percent", "high_percent"))
            ends = (None, None) if low is None or high is None or low <= -100 else (log1p(low / 100), log1p(high / 100))
            row |= {"nats_gap": fmean(entry["nats"]), "nats_gaps": entry["nats"], "nats_low": ends[0], "nats_high": ends[1]}
        found.append(row)
    return found


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
        rows: the corpus's rows of `studies/audit.json`, and what is `at_the_end` of them.
        names: of the rungs, as many.
    """

    def paint(axes: Axes) -> None:
        for y, row in enumerate(rows):
            if row[f"{unit}_gap"] is None:
                axes.scatter([0.97], [y], marker="x", s=40, color=INK, transform=axes.get_yaxis_transform())
                continue
            colour, face = (MUTED, PAPER) if row["kind"] == "alone" else (INK, INK)
            if row[f"{unit}_low"] is not None:
                axes.plot([row[f"{unit}_low"], row[f"{unit}_high"]], [y, y], color=colour, lw=5, alpha=0.25, solid_capstyle="butt")
            gaps = row[f"{unit}_gaps"]
            axes.scatter(gaps, [y] * len(gaps), s=22, facecolors=face, edgecolors=colour, lw=1, zorder=3)
        axes.axhline(sum(row["kind"] != "alone" for row in rows) - 0.5, color=GRID, lw=0.8)
        differing_rows(axes, names, f"{corpus}: {title}")

    return panel(path, 4.4, 0.9 + 0.26 * len(names), paint)


def section(context: Context) -> Section:
    study, content = context.study("audit")
    comparison, compared = context.study("comparison")
    caption = (
        "The published comparison, replayed at the size of this profile, and then changed: one change more on every row, and below each "
        "that can stand alone. Most mend a fault; the others lead to this profile's own comparison, and a model that takes another's "
        "place brings all that it is. Stretched bases can show nothing here, since every row is equally long (the contract shows them); "
        "the explicit mask and what FLOPs left out are no matter of loss (see lengths and sizes). The published unit is what was called "
        "the loss: 0.7 times the mean over the first batches of the cross-entropy of the last weights, padding among it, until these are "
        "mended, too; held out are documents of the train split that were not trained on. Nats per token are of the text of all "
        "validation documents, as is said below, and mean the same on every row: what a change did to the gap is held "
        "against the row before, and for a change alone against the first row. Another order might share it out otherwise. Below zero, "
        "ours is better. A point is a seed, a bar a 95% interval of its own (three seeds at least): a ladder describes, and decides "
        "nothing. Where padding is scored by models that were not trained on it, the published unit tells of padding, nats of text. What "
        "is told “against” a model is where the changes lead: this profile's comparison, with its own sizes, tokens and seeds, on the "
        "whole split, with the intervals of its family."
    )
    blocks: list[Block] = []
    if study is not None and content is not None:
        for corpus in study.corpora:
            of_corpus = [row for row in content["rows"] if row["corpus"] == corpus]
            ladder, alone = ([row for row in of_corpus if row["kind"] == kind] for kind in ("cumulative", "alone"))
            ends = at_the_end(compared, corpus, ladder[-1], comparison.tuned) if compared else []
            rows = {"published": of_corpus, "nats": [*ladder, *ends, *alone], "change": of_corpus[1:]}
            titles = {
                "published": "published unit, ours − theirs",
                "nats": "nats per token, ours − theirs",
                "change": "what it did to the gap, nats per token",
            }
            panels = [
                Markup(figure(context.figures.path("audit", unit, corpus), corpus, unit, titles[unit], shown, [rung(row) for row in shown]))
                for unit, shown in rows.items()
            ]
            blocks.append(Block(_of_what(content, corpus, caption if not blocks else ""), table(rows["nats"]), panels, corpus))
    runs = context.parameters.audit_runs()
    steps = ["studies/audit", *(f"runs/{run}/{step}" for run in runs for step in ("train", "replay"))] if study else []
    found = context.section("audit", "The published comparison, mended", content, ["studies/audit.json", "runs/"], steps, blocks)
    return asked_for(found, study)


def _of_what(content: Content, corpus: str, caption: str) -> str:
    """With the text that nats per token are of."""
    text = content["text"][corpus]
    tokens = f"Nats per token are of {text['tokens']:,} tokens"
    whole = (
        "all that follow the first one of a document, up to the context" if text["whole_rows"] else "those at the start of each document"
    )
    return f"{caption} {tokens}: {whole}.".strip()
