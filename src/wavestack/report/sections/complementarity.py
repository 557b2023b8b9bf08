"""Complementarity: what the lanes of trained models do."""

from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from statistics import fmean

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from wavestack.report.panel import INK, MARKERS, PALETTE, PAPER, Look, differing_rows, panel
from wavestack.report.provenance import run_steps
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import MISSING, Column, Content, Row, Table, by_seed, number, share, signed


def knockouts(found: Sequence[Content]) -> Table:
    """What is lost without each lane, on one corpus."""
    rows = []
    for entry in found:
        sure = MISSING if entry["low"] is None else f"{signed(entry['low'], 4)} to {signed(entry['high'], 4)}"
        level = MISSING if entry["level"] is None else f"{entry['level']:.1%}"
        lost = entry["nats_per_token"] is None
        seeds = entry["reason"] if lost else by_seed(entry)
        cells = (f"without {entry['lane']}", signed(entry["nats_per_token"], 4), seeds, sure, level)
        rows.append(Row(cells, "failed" if lost else ""))
    columns = (
        *(Column("knocked out", numeric=False), Column("nats lost", "per token")),
        *(Column("by seed", "nats per token", numeric=False), Column("interval", "nats per token"), Column("level", "of the interval")),
    )
    return Table(columns, tuple(rows))


def weights(found: Sequence[Content]) -> Table:
    """What the mixer of each block weighs lanes with: on average, by what a token is, and by its place."""
    lanes = list(dict.fromkeys(lane for block in found for lane in block["names"][1:]))
    rows = []
    for block in found:
        parts = [("all tokens", block["weights"]), *((part["class"], part) for part in block["by_class"])]
        parts += [(f"tokens {part['least']:,} to {2 * part['least'] - 1:,}", part) for part in block["by_octave"]]
        whole = block["weights"]["tokens"]
        for place, (name, part) in enumerate(parts):
            effective = number(block["effective_lanes"], 2) if place == 0 else ""
            values = (number(part["lanes"].get(lane), 3) for lane in lanes)
            rows.append(Row((str(block["block"]), name, share(part["tokens"] / whole), *values, effective), "" if place else "mean"))
    columns = (
        *(Column("block"), Column("of", numeric=False), Column("of all tokens", "%")),
        *(Column(lane, "weight") for lane in lanes),
        Column("effective lanes", "e to the entropy"),
    )
    return Table(columns, tuple(rows))


def knockouts_figure(path: Path, corpus: str, found: Sequence[Content], own: Look) -> str:
    """A point a seed, a bar for the interval."""

    def paint(axes: Axes) -> None:
        for y, entry in enumerate(found):
            if entry["low"] is not None:
                axes.plot([entry["low"], entry["high"]], [y, y], color=own.colour, lw=5, alpha=0.3, solid_capstyle="butt")
            axes.scatter(
                entry["nats"], [y] * len(entry["nats"]), s=26, marker=own.marker, color=own.colour, edgecolors=PAPER, lw=0.8, zorder=3
            )
        differing_rows(axes, [f"without {entry['lane']}" for entry in found], f"{corpus}: nats lost per token")

    return panel(path, 4.0, 0.9 + 0.3 * len(found), paint)


def alignment_figure(path: Path, corpus: str, found: Sequence[Content]) -> str:
    """Linear CKA between a block's input and its lanes, a triangle a block: the darker, the more alike."""
    names = list(dict.fromkeys(name for block in found for name in block["names"]))

    def paint(axes: Axes) -> None:
        left = 0.0
        for block in found:
            places = [names.index(name) for name in block["names"]]  # a lane that it has not leaves a gap
            for i, row in enumerate(block["cka"]):
                for j, alike in enumerate(row[: i + 1]):
                    x, y = left + min(places[i], places[j]), max(places[i], places[j])
                    axes.add_patch(Rectangle((x, y), 1, 1, color=PALETTE[0], alpha=0.05 + 0.45 * alike, lw=0))
                    axes.text(x + 0.5, y + 0.5, f"{alike:.2f}", ha="center", va="center", fontsize=6, color=INK)
            axes.text(left, -0.3, f"block {block['block']}", fontsize=8, color=INK)
            left += len(names) + 0.7
        axes.set_yticks([i + 0.5 for i in range(len(names))], names)
        axes.set_xticks([])
        axes.set_xlim(-0.1, left)
        axes.set_ylim(len(names) + 0.1, -1.1)
        axes.spines[:].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False)
        axes.set_aspect("equal")
        axes.set_title(f"{corpus}: likeness (CKA)")

    return panel(path, 1.2 + 0.34 * (len(names) + 0.7) * len(found), 0.9 + 0.34 * len(names), paint)


def weights_figure(path: Path, title: str, names: Sequence[str], lanes: Mapping[str, Sequence[float]]) -> str:
    """What lanes count, a row a name and a point a lane."""

    def paint(axes: Axes) -> None:
        for place, (lane, values) in enumerate(lanes.items()):
            colour, marker = PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
            axes.plot(values, range(len(values)), color=colour, marker=marker, ms=5, lw=0.8, alpha=0.9, label=lane)
        differing_rows(axes, names, title)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(lanes), handlelength=1.2, columnspacing=1.0, borderpad=0.2)

    return panel(path, 4.2, 1.1 + 0.26 * len(names), paint)


def _weights_figures(context: Context, corpus: str, found: Sequence[Content]) -> list[str]:
    """By depth; and by class of token and by position, the mean of the blocks that have the lane."""
    lanes = list(dict.fromkeys(lane for block in found for lane in block["names"][1:]))
    path = context.figures.path
    depth = {lane: [block["weights"]["lanes"].get(lane, nan) for block in found] for lane in lanes}
    drawn = [weights_figure(path("weights", "depth", corpus), f"{corpus}: weight, by block", [f"block {b['block']}" for b in found], depth)]
    for key, named, title in (
        ("by_class", "class", "weight, by what the token is"),
        ("by_octave", "least", "weight, by tokens seen (from)"),
    ):
        names = [part[named] for part in found[0][key]]
        having = {lane: [block for block in found if lane in block["names"]] for lane in lanes}
        mean = {lane: [fmean(block[key][i]["lanes"][lane] for block in having[lane]) for i in range(len(names))] for lane in lanes}
        shown = [f"{name:,}" if isinstance(name, int) else name for name in names]
        drawn.append(weights_figure(path("weights", named, corpus), f"{corpus}: {title}", shown, mean))
    return drawn


def section(context: Context) -> Section:
    study, content = context.study("complementarity")
    about_knockouts = (
        "What a trained model loses when what one lane writes is silenced in all blocks, and nothing is trained again: how much it relies "
        "on the lane. What a model without the lane could do is the ablation's question. Points are seeds; bars are intervals, wider "
        "than 95% so that verdicts hold together (Holm)."
    )
    about_likeness = (
        "How alike what lanes say is, to one another and to what comes into the block, whatever its rotation and scale (linear CKA, before "
        "the mixer): 1 is the same, 0 has nothing in common."
    )
    about_weights = (
        "What the mixer weighs lanes with. Effective lanes are e to the entropy of the weights: as many as there are where all count "
        "alike, 1 where one counts alone. A weight says how much a lane is let through, and not how much it says."
    )
    blocks: list[Block] = []
    for corpus in study.corpora if study is not None and content is not None else []:
        lost = [entry for entry in content["knockouts"] if entry["corpus"] == corpus]
        found = [block for block in content["blocks"] if block["corpus"] == corpus]
        if not found:  # it was asked for after the study was made
            blocks.append(Block("Missing.", None, title=f"{corpus}: without a lane"))
            continue
        drawn = knockouts_figure(context.figures.path("knockouts", corpus), corpus, lost, context.looks[study.spec])
        blocks.append(Block(about_knockouts, knockouts(lost), [Markup(drawn)], f"{corpus}: without a lane"))
        likeness = alignment_figure(context.figures.path("likeness", corpus), corpus, found)
        blocks.append(Block(about_likeness, None, [Markup(likeness)], f"{corpus}: how alike lanes are"))
        if all("weights" in block for block in found):
            panels = [Markup(drawn) for drawn in _weights_figures(context, corpus, found)]
            blocks.append(Block(about_weights, weights(found), panels, f"{corpus}: what lanes count"))
        about_knockouts = about_likeness = about_weights = ""  # once
    runs = context.parameters.complementarity_runs()
    made = [f"runs/{run}/complementarity" for run in runs]
    steps = ["studies/complementarity", *made, *run_steps(runs)] if study else []
    files = ["studies/complementarity.json", "runs/"]
    return asked_for(context.section("complementarity", "What trained lanes do", content, files, steps, blocks), study)
