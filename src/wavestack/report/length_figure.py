"""A measure against the sequence length, both axes logarithmic: points with quartiles, fitted curves, crossovers and failures."""

from collections.abc import Callable, Iterable, Mapping
from math import exp, log
from pathlib import Path
from statistics import fmean

import numpy
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from wavestack.report.panel import Look, Rows, cross, panel, short
from wavestack.report.table import Content

Measure = Callable[[Content], tuple[float, float, float] | None]  # value, low and high of a row; None where it has none
Curve = Callable[[float], float]  # of the length
NAMED = 4  # models in a legend inside the frame; more of them stand beside it
SMOOTH = 50  # places of a curve


def figure(
    path: Path,
    title: str,
    rows: Rows,
    measure: Measure,
    specs: Mapping[str, Look],
    curves: Mapping[str, Curve] | None = None,
    crossings: Iterable[tuple[str, float]] = (),
) -> str:
    """A measure of every model; one that failed is a cross at the upper edge, with its status.

    Args:
        path: of the SVG.
        title: of the measure, with its unit and direction.
        rows: of a sweep in `studies/lengths.json`.
        curves: that models' points were fitted with, but for a factor: drawn through the middle of them.
        crossings: models that the first one overtakes, and from which length on.
    """
    shown = [spec for spec in specs if any(row["spec"] == spec for row in rows)]

    def paint(axes: Axes) -> None:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for spec in shown:
            look = specs[spec]
            points = [(row["length"], measure(row)) for row in sorted(rows, key=lambda r: r["length"]) if row["spec"] == spec]
            good = [(length, *found) for length, found in points if found is not None]
            x, y = [point[0] for point in good], [point[1] for point in good]
            spread = [[value - low for _, value, low, _ in good], [high - value for _, value, _, high in good]]
            curve = (curves or {}).get(spec)
            line = "none" if curve else "-"
            axes.errorbar(x, y, yerr=spread, color=look.colour, marker=look.marker, ms=5, lw=1.4, ls=line, capsize=2, label=spec)
            if curve:
                middle = exp(fmean(log(value / curve(length)) for length, value in zip(x, y, strict=True)))
                between = numpy.geomspace(x[0], x[-1], SMOOTH)
                axes.plot(between, [middle * curve(length) for length in between], color=look.colour, lw=1.0, ls=look.line)
        for overtaken, crossing in crossings:
            axes.axvline(crossing, color=specs[overtaken].colour, lw=1.0, ls=":")
        _crosses(axes, rows, shown, specs)
        axes.margins(x=0.1)
        axes.set_xlabel("sequence length, tokens")
        axes.set_title(title)
        if shown:
            beside = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if len(shown) > NAMED else {"loc": "best"}
            axes.legend(**beside)

    return panel(path, 4.2 if len(shown) <= NAMED else 6.2, 3.0, paint)


def _crosses(axes: Axes, rows: Rows, shown: Iterable[str], specs: Mapping[str, Look]) -> None:
    """Failures at the upper edge, one below the other, and ticks at the lengths that were measured."""
    failures: dict[int, list[str]] = {}
    for spec in shown:
        for row in rows:
            if row["spec"] == spec and row["status"] != "ok":
                above = failures.setdefault(row["length"], [])
                at = 0.97 - 0.09 * len(above)
                above.append(spec)
                cross(axes, row["length"], at, specs[spec], axes.get_xaxis_transform())
                text = f"{row['status'].replace('_', ' ')} "
                axes.annotate(
                    text, (row["length"], at), (-6, 0), ("data", "axes fraction"), "offset points", ha="right", va="center", fontsize=7
                )
    ticks = sorted({row["length"] for row in rows})
    axes.set_xticks(ticks, [f"{length:,}" for length in ticks], rotation=45 if len(ticks) > 5 else 0)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    low, high = axes.get_ylim()
    if high / low < 30:  # decades alone would leave one or two labels
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    if failures:  # room for the crosses
        axes.set_ylim(low, high * (high / low) ** (0.1 + 0.09 * max(map(len, failures.values()))))
