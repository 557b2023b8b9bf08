"""Figures of the report: SVG that is equal bit for bit when the numbers are.

Each function paints one panel of phone width, writes it to a file, and returns the same drawing for use inside the page: there its
colours are the page's variables, so that it follows light and dark, and its ids begin with the file's name, so that two panels on one
page do not share any. Every seed is a point or a line; a failed run is a cross with its status, never a gap.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Transform

from wavestack.artifacts import write_text

# Okabe and Ito's colours, which colour-blind readers tell apart; a marker beside each, for print without colour.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
DARK_PALETTE = ("#6bb8ec", "#ff9d5c", "#3fd0a4", "#eaa9ce", "#9bd5f7", "#f3c04d")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, MUTED, GRID, PAPER = "#1d1c1a", "#6a6863", "#dedbd3", "#fffefc"
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    **{c: f"spec-{i}" for i, c in enumerate(PALETTE)},
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and does not depend on the fonts of the machine
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that the layout is the same everywhere
    "font.size": 9,
    "text.parse_math": False,  # a name is a name, whatever its characters
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Look:
    """How a spec is drawn, everywhere on the page."""

    index: int  # of the page's variable --spec-<index>
    colour: str
    marker: str


def looks(specs: Sequence[str]) -> dict[str, Look]:
    """A look for each spec, by its place in the list."""
    return {spec: Look(i % len(PALETTE), PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, spec in enumerate(specs)}


@dataclass(frozen=True)
class Curve:
    """The validation losses of one run."""

    spec: str
    seed: int
    tokens: Sequence[int]
    nats: Sequence[float]
    diverged: bool


def comparison(path: Path, corpus: str, rows: Rows, specs: Mapping[str, Look]) -> str:
    """Perplexity of every seed, a row a spec; thin lines join the runs that share a seed.

    Args:
        path: of the SVG.
        rows: the corpus's rows of `studies/comparison.json`.
    """
    shown = [spec for spec in specs if any(row["spec"] == spec for row in rows)]
    place = {spec: float(i) for i, spec in enumerate(shown)}

    def paint(axes: Axes) -> None:
        good = [row for row in rows if row["perplexity"] is not None]
        for seed in sorted({row["seed"] for row in good}):
            pair = sorted((row for row in good if row["seed"] == seed), key=lambda row: place[row["spec"]])
            axes.plot([r["perplexity"] for r in pair], [place[r["spec"]] for r in pair], color=GRID, lw=1.2, zorder=1)
        for spec, y in place.items():
            values = [row["perplexity"] for row in good if row["spec"] == spec]
            axes.scatter(
                values,
                [y] * len(values),
                s=44,
                color=specs[spec].colour,
                marker=specs[spec].marker,
                edgecolors=PAPER,
                lw=0.8,
                zorder=3,
            )
            failed = [row for row in rows if row["spec"] == spec and row["perplexity"] is None]
            if values and not failed:  # a mean of the seeds that went well would flatter
                axes.plot([fmean(values)] * 2, [y - 0.22, y + 0.22], color=specs[spec].colour, lw=2)
            for i in range(len(failed)):
                _cross(axes, 0.97 - 0.05 * i, y, specs[spec], axes.get_yaxis_transform())
            if failed:
                text = ", ".join(f"seed {row['seed']} {row['status']}" for row in failed)
                axes.annotate(text, (1, y), (-2, 9), ("axes fraction", "data"), "offset points", ha="right", fontsize=7, color=INK)
        axes.set_yticks(list(place.values()), shown)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{corpus}: perplexity per token ↓", fontsize=8)

    return _panel(path, 3.5, 0.9 + 0.5 * len(shown), paint)


def curves(path: Path, corpus: str, lines: Sequence[Curve], specs: Mapping[str, Look]) -> str:
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
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.set_xlim(left=0)
        axes.set_xlabel("training tokens")
        axes.set_ylabel("validation nats per token")
        axes.set_title(corpus)
        if lines:
            axes.legend(loc="upper right")

    return _panel(path, 4.2, 3.0, paint)


def slices(path: Path, corpus: str, title: str, rows: Rows, specs: Mapping[str, Look]) -> str:
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
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: "0" if value < 0.5 else _short(value)))
        axes.xaxis.set_minor_locator(NullLocator())
        octaves = sorted({row["least"] for row in rows if row["least"]})
        axes.set_xticks([*([0.35] if any(row["least"] == 0 for row in rows) else []), *octaves[:: 1 + len(octaves) // 8]])
        axes.set_xlabel(title)
        axes.set_ylabel("nats per token ↓")
        axes.set_title(corpus)
        axes.legend(loc="best")

    return _panel(path, 4.2, 3.0, paint)


def tuning(path: Path, corpus: str, choices: Rows, specs: Mapping[str, Look]) -> str:
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

    return _panel(path, 4.2, 3.0, paint)


def ablation(
    path: Path, corpus: str, rows: Rows, variants: Mapping[str, Sequence[str]], lanes: Sequence[str], own: Look,
    references: Mapping[str, tuple[float, Look]],
) -> str:  # fmt: skip
    """Every subset of the lanes as a row: which lanes it has, then nats per token of every seed.

    Args:
        path: of the SVG.
        rows: the corpus's rows of `studies/ablation.json`.
        variants: lanes of each variant, from top to bottom.
        own: look of the spec whose lanes these are.
        references: mean nats per token of other specs, drawn as lines across.
    """
    place = {variant: float(i) for i, variant in enumerate(variants)}

    def paint(axes: Axes) -> None:
        left = axes.inset_axes((-0.06 - 0.085 * len(lanes), 0, 0.085 * len(lanes), 1), sharey=axes)
        for variant, y in place.items():
            values = [row["nats_per_token"] for row in rows if row["variant"] == variant and row["nats_per_token"] is not None]
            whole = len(variants[variant]) == len(lanes)
            if whole or not variants[variant]:  # the two ends of the lattice
                for part in (axes, left):
                    part.axhspan(y - 0.5, y + 0.5, color=GRID, alpha=0.45, lw=0)
            face = own.colour if variants[variant] else PAPER
            axes.scatter(
                values,
                [y] * len(values),
                s=26,
                marker=own.marker,
                facecolors=face,
                edgecolors=own.colour,
                lw=1.1,
                zorder=3,
            )
            failed = [row for row in rows if row["variant"] == variant and row["nats_per_token"] is None]
            if values and not failed:
                axes.plot([fmean(values)] * 2, [y - 0.32, y + 0.32], color=own.colour, lw=1.6)
            for i in range(len(failed)):
                _cross(axes, 0.97 - 0.05 * i, y, own, axes.get_yaxis_transform())
            if failed:
                text = ", ".join(f"seed {row['seed']} {row['status']}" for row in failed)
                axes.annotate(
                    text, (0.97 - 0.05 * len(failed), y), (0, 0), ("axes fraction", "data"), "offset points",
                    ha="right", va="center", fontsize=7,
                )  # fmt: skip
            has = [i for i, lane in enumerate(lanes) if lane in variants[variant]]
            lacks = [i for i in range(len(lanes)) if i not in has]
            left.plot(has, [y] * len(has), color=INK, lw=1, marker="o", ms=5)
            left.scatter(lacks, [y] * len(lacks), s=5, color=MUTED, lw=0)
        for name, (nats, look) in references.items():
            axes.axvline(nats, color=look.colour, lw=1.2, ls=(0, (4, 2)), label=f"{name}, mean", zorder=2)
        sizes = [len(held) for held in variants.values()]
        for i in range(1, len(sizes)):  # a line between the levels of the lattice
            if sizes[i] != sizes[i - 1]:
                for part in (axes, left):
                    part.axhline(i - 0.5, color=GRID, lw=0.8)
        left.set_xlim(-0.6, len(lanes) - 0.4)
        left.xaxis.tick_top()
        left.set_xticks(range(len(lanes)), lanes, rotation=40, ha="left", rotation_mode="anchor")
        left.tick_params(axis="both", length=0, labelleft=False)
        left.grid(visible=False)
        left.spines[:].set_visible(False)
        axes.set_ylim(len(variants) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, labelleft=False)
        axes.margins(x=0.1)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{corpus}: nats per token ↓", fontsize=8)
        if references:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), handlelength=2.4, borderpad=0.2)

    return _panel(path, 4.0, 1.3 + 0.24 * len(variants), paint)


def worths(path: Path, corpus: str, found: Rows, own: Look) -> str:
    """The worth of each lane and of each pair beyond its lanes: a point a seed, a bar for the interval.

    Args:
        path: of the SVG.
        found: the corpus's entries under `worths` of `studies/ablation.json`.
        own: look of the spec whose lanes these are.
    """
    names = [" + ".join(entry["lanes"]) for entry in found]

    def paint(axes: Axes) -> None:
        for y, entry in enumerate(found):
            if entry["nats"] is None:
                _cross(axes, 0.97, y, own, axes.get_yaxis_transform())
                continue
            if entry["low"] is not None:
                axes.plot([entry["low"], entry["high"]], [y, y], color=own.colour, lw=5, alpha=0.3, solid_capstyle="butt")
            face = own.colour if entry["of"] == "lane" else PAPER
            axes.scatter(
                entry["nats"], [y] * len(entry["nats"]), s=26, marker=own.marker, facecolors=face, edgecolors=own.colour, lw=1.1, zorder=3
            )
            axes.plot([entry["nats_per_token"]] * 2, [y - 0.3, y + 0.3], color=own.colour, lw=1.6)
        _rows(axes, names, f"{corpus}: nats saved per token ↑")

    return _panel(path, 4.0, 0.9 + 0.3 * len(names), paint)


def audit(path: Path, corpus: str, unit: str, title: str, rows: Rows, names: Sequence[str]) -> str:
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
        _rows(axes, names, f"{corpus}: {title}, ours − theirs")

    return _panel(path, 4.4, 0.9 + 0.26 * len(names), paint)


def lengths(
    path: Path,
    title: str,
    rows: Rows,
    measure: Callable[[Mapping[str, Any]], tuple[float, float, float] | None],
    specs: Mapping[str, Look],
) -> str:
    """A measure against the sequence length, both axes logarithmic; a measurement that failed is a cross at the upper edge.

    Args:
        path: of the SVG.
        title: of the measure, with its unit and direction.
        rows: of `studies/lengths.json`.
        measure: (value, low, high) of a row that is ok.
    """
    shown = [spec for spec in specs if any(row["spec"] == spec for row in rows)]

    def paint(axes: Axes) -> None:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        failures: dict[int, list[str]] = {}
        for spec in shown:
            look = specs[spec]
            points = [(row["length"], measure(row)) for row in sorted(rows, key=lambda r: r["length"]) if row["spec"] == spec]
            good = [(length, *found) for length, found in points if found is not None]
            x, y = [point[0] for point in good], [point[1] for point in good]
            spread = [[value - low for _, value, low, _ in good], [high - value for _, value, _, high in good]]
            axes.errorbar(x, y, yerr=spread, color=look.colour, marker=look.marker, ms=5, lw=1.4, capsize=2, label=spec)
            for row in rows:
                if row["spec"] == spec and row["status"] != "ok":
                    above = failures.setdefault(row["length"], [])
                    at = 0.97 - 0.09 * len(above)
                    above.append(spec)
                    _cross(axes, row["length"], at, look, axes.get_xaxis_transform())
                    text = f"{row['status'].replace('_', ' ')} "
                    axes.annotate(
                        text, (row["length"], at), (-6, 0), ("data", "axes fraction"), "offset points",
                        ha="right", va="center", fontsize=7,
                    )  # fmt: skip
        ticks = sorted({row["length"] for row in rows})
        axes.set_xticks(ticks, [f"{length:,}" for length in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        low, high = axes.get_ylim()
        if high / low < 30:  # decades alone would leave one or two labels
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        if failures:  # room for the crosses
            axes.set_ylim(low, high * (high / low) ** (0.1 + 0.09 * max(map(len, failures.values()))))
        axes.margins(x=0.1)
        axes.set_xlabel("sequence length, tokens")
        axes.set_title(title)
        if shown:
            axes.legend(loc="best")

    return _panel(path, 4.2, 3.0, paint)


def file_name(*parts: str) -> str:
    """A name for a figure's file, which is also a valid beginning of an id."""
    return "-".join(re.sub(r"[^A-Za-z0-9._-]+", "_", part) for part in parts) + ".svg"


def _rows(axes: Axes, names: Sequence[str], title: str) -> None:
    """Named rows, the first on top, over an axis of differences, on which zero is drawn."""
    axes.axvline(0, color=MUTED, lw=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(title, fontsize=8)


def _cross(axes: Axes, x: float, y: float, look: Look, transform: Transform) -> None:
    """A failed run or measurement, at an edge of the frame."""
    axes.scatter([x], [y], marker="x", s=40, color=look.colour, lw=1.8, transform=transform, clip_on=False, zorder=4)


def _panel(path: Path, width: float, height: float, paint: Callable[[Axes], None]) -> str:
    """Paint one panel (inches), write it to `path`, and return it for use inside a page."""
    style = {**STYLE, "svg.hashsalt": path.name}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        paint(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = _with_own_ids(buffer.getvalue(), path.stem)
    # matplotlib lays text out in its own font; any reader's font that is no wider will do
    svg = svg.replace("'DejaVu Sans'", "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif")
    write_text(path, svg)
    return _for_a_page(svg, width)


def _with_own_ids(svg: str, name: str) -> str:
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    return re.sub(r'(url\(|xlink:href=")#', rf"\1#{name}-", svg)


def _for_a_page(svg: str, width: float) -> str:
    """Without the XML head, as wide as the page allows and no wider than drawn, in the page's colours."""
    svg = svg[svg.index("<svg") :].replace("xlink:href", "href")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]+"', svg)
    assert view is not None
    svg = re.sub(r"<svg[^>]*>", f'<svg {view[0]} style="max-width: {96 * width:.0f}px" aria-hidden="true">', svg, count=1)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg.strip()


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
