"""Panels, of which the figures of the report are made: SVG that is equal bit for bit when the numbers are.

Each figure paints one panel of phone width, writes it to a file, and returns the same drawing for use inside the page: there its
colours are the page's variables, so that it follows light and dark, and its ids begin with the file's name, so that two panels on one
page do not share any. Every seed is a point or a line; a failed run is a cross with its status, never a gap.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Transform

from wavestack.artifacts import write_text

# Okabe and Ito's colours, which colour-blind readers tell apart; a marker beside each, for print without colour.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DARK_PALETTE = ("#6bb8ec", "#ff9d5c", "#3fd0a4", "#eaa9ce", "#9bd5f7", "#f3c04d", "#f4f1ea")
MARKERS = ("o", "s", "^", "D", "v", "P", "*")
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
    line: str = "-"  # where one is drawn without its markers


def looks(specs: Sequence[str]) -> dict[str, Look]:
    """A look for each spec, by its place in the list."""
    n = len(PALETTE)  # whoever comes after so many has a colour again, but another marker and line
    return {
        spec: Look(i % n, PALETTE[i % n], MARKERS[(i + i // n) % len(MARKERS)], "--" if i >= n else "-") for i, spec in enumerate(specs)
    }


def file_name(*parts: str) -> str:
    """A name for a figure's file, which is also a valid beginning of an id."""
    return "-".join(re.sub(r"[^A-Za-z0-9._-]+", "_", part) for part in parts) + ".svg"


def named_rows(axes: Axes, names: Sequence[str], title: str) -> None:
    """Named rows, the first on top, over an axis with that title."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(title, fontsize=8, loc="right")  # longer than the axes, it goes on under the names


def differing_rows(axes: Axes, names: Sequence[str], title: str) -> None:
    """`named_rows` over an axis of differences, on which zero is drawn."""
    axes.axvline(0, color=MUTED, lw=0.8)
    named_rows(axes, names, title)


def cross(axes: Axes, x: float, y: float, look: Look, transform: Transform) -> None:
    """A failed run or measurement, at an edge of the frame."""
    axes.scatter([x], [y], marker="x", s=40, color=look.colour, lw=1.8, transform=transform, clip_on=False, zorder=4)


def panel(path: Path, width: float, height: float, paint: Callable[[Axes], None]) -> str:
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


def short(value: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
