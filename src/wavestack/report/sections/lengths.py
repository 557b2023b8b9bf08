"""Sequence length: time and memory of training steps."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from wavestack.report.panel import Look, Rows, cross, panel, short
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import MISSING, Column, Content, Row, Table, count, failure, number


def table(content: Content, wanted: Iterable[tuple[str, int]]) -> Table:
    """Every measurement of a training step; those that failed with their status.

    Args:
        content: of `studies/lengths.json`.
        wanted: (spec, length) of the parameters.
    """
    found = {(row["spec"], row["length"]): row for row in content["rows"]}
    rows, notes = [], []
    for spec, length in dict.fromkeys([*wanted, *found]):
        row = found.get((spec, length), {})
        failed = failure(row or None, row.get("reason"))
        low, high = row.get("seconds_quartiles") or (None, None)
        peak = row.get("peak_bytes")
        rows.append(
            Row(
                (
                    spec,
                    number(length, 0),
                    number(row.get("batch"), 0),
                    "ok" if failed is None else failed.partition(":")[0],
                    number(row.get("steps"), 0),
                    number(row.get("seconds_median"), 4),
                    MISSING if low is None else f"{number(low, 4)} to {number(high, 4)}",
                    number(row.get("tokens_per_second"), 0),
                    number(None if peak is None else peak / 2**20, 1),
                ),
                "failed" if failed else "",
                spec,
            )
        )
        notes += [f"{spec} at length {length:,}: {failed}"] if failed else []
    columns = (
        Column("model", numeric=False),
        Column("length", "tokens"),
        Column("batch", "sequences"),
        Column("status", numeric=False),
        Column("timed steps"),
        Column("step ↓", "s, median"),
        Column("quartiles", "s"),
        Column("speed ↑", "tokens/s"),
        Column("peak memory ↓", "MiB"),
    )
    return Table(columns, tuple(rows), tuple(notes))


def figure(
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
                    cross(axes, row["length"], at, look, axes.get_xaxis_transform())
                    text = f"{row['status'].replace('_', ' ')} "
                    axes.annotate(
                        text, (row["length"], at), (-6, 0), ("data", "axes fraction"), "offset points",
                        ha="right", va="center", fontsize=7,
                    )  # fmt: skip
        ticks = sorted({row["length"] for row in rows})
        axes.set_xticks(ticks, [f"{length:,}" for length in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
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

    return panel(path, 4.2, 3.0, paint)


def section(context: Context) -> Section:
    study, content = context.study("lengths")
    blocks = []
    if study is not None and content is not None:
        rows = content["rows"]
        panels = [
            figure(context.figures.path("lengths-speed"), "tokens per second (higher is better)", rows, _speed, context.looks),
            figure(context.figures.path("lengths-memory"), "peak memory, MiB (lower is better)", rows, _memory, context.looks),
        ]
        wanted = [(spec, length) for spec in study.specs for length in study.lengths]
        caption = (
            f"A training step (forward, backward, optimiser) on {content['device']} with {count(content['threads'], 'thread')}, in "
            "fresh processes, models taking turns. Medians over all timed steps, whiskers are quartiles; peak memory is above that of the "
            "loaded model. Both axes are logarithmic; a cross at the upper edge is a measurement that failed, with its status."
        )
        blocks.append(Block(caption, table(content, wanted), [Markup(panel) for panel in panels]))
    steps = ["studies/lengths", *(f"profile/length{length}" for length in study.lengths)] if study else []
    found = context.section("lengths", "Sequence length", content, ["studies/lengths.json", "profile/"], steps, blocks)
    return asked_for(found, study)


def _speed(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if row["status"] != "ok":
        return None
    low, high = row["seconds_quartiles"]  # a slow quartile is a low speed
    speed, median = row["tokens_per_second"], row["seconds_median"]
    return speed, speed * median / high, speed * median / low


def _memory(row: Mapping[str, Any]) -> tuple[float, float, float] | None:
    if row["status"] != "ok":
        return None
    return (row["peak_bytes"] / 2**20,) * 3
