"""Speed: the benchmarks, which are of the code and no profile."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from wavestack.report.provenance import provenance
from wavestack.report.section import Block, Context, Section
from wavestack.report.table import MISSING, Column, Content, Row, Table, number, share

OF_A_BENCHMARK = (
    *("case", "length", "contender", "unit", "median", "low", "high"),
    *("against", "against_median", "ratio_of", "ratio", "target", "met"),
)
AS = {"speed": "as fast", "cost": "as much"}  # what a benchmark's ratio says
BENCHMARKS = "../benchmarks"  # of the code and no profile: beside the profiles' results


def table(rows: Sequence[Content]) -> Table:
    """The comparisons of one benchmark. What others are compared with stands in their rows and has none of its own.

    Args:
        rows: of `benchmarks/<name>.csv`.
    """
    theirs = {(row["case"], row["against"]) for row in rows if row["against"] is not None}
    bounded = any(row.get("bound") is not None for row in rows)  # by FLOPs, of the ratio
    shown = []
    for row in rows:
        if row["against"] is None and (row["case"], row["contender"]) in theirs:
            continue
        ratio, bound = row["ratio"], row.get("bound")
        limit = (share(None if ratio is None or bound is None else ratio / bound), number(bound, 2)) if bounded else ()
        result = MISSING if row["met"] is None else "met" if row["met"] else "missed"
        cells = (
            row["case"],
            number(row["length"], 0),
            row["contender"],
            _amount(row["median"], row["unit"]),
            f"{_amount(row['low'], row['unit'])} to {_amount(row['high'], row['unit'])}",
            row["against"] or MISSING,
            _amount(row["against_median"], row["unit"]),
            MISSING if ratio is None else f"{number(ratio, 2)} × {AS[row['ratio_of']]}",
            *limit,
            row["target"] or MISSING,
            result,
        )
        shown.append(Row(cells, "failed" if result == "missed" else ""))
    columns = (
        Column("case", numeric=False),
        Column("length", "tokens"),
        Column("ours", numeric=False),
        Column("median ↓", "of ours"),
        Column("quartiles", "of ours"),
        Column("theirs", numeric=False),
        Column("median ↓", "of theirs"),
        Column("ratio", "ours to theirs"),
        *((Column("of the bound ↑", "by FLOPs alone"), Column("bound", "by FLOPs alone")) if bounded else ()),
        Column("target", numeric=False),
        Column("result", numeric=False),
    )
    return Table(columns, tuple(shown))


def _amount(value: float | None, unit: str) -> str:
    scale, shown = {"s": (1e3, "ms"), "bytes": (2**-20, "MiB")}[unit]
    return MISSING if value is None else f"{number(value * scale, 2)} {shown}"


def section(context: Context) -> Section:
    caption = (
        "Ratios of medians, of one run on one machine in which the contenders took turns; they say little of other machines. “As fast” is "
        "their time over ours, “as much” our time or memory over theirs. A bound is the ratio of the FLOPs that either needs."
    )
    blocks: list[Block] = []
    benchmarks = {path.stem: _read(path) for path in sorted((context.reports / BENCHMARKS).glob("*.csv"))}
    for name, rows in benchmarks.items():
        made = context.read(f"{BENCHMARKS}/{name}.provenance.json")
        about = _about(made["settings"]) if made else ""
        blocks.append(Block(" ".join(filter(None, [about, caption if not blocks else ""])), table(rows), title=f"benchmarks/{name}.py"))
    made = provenance([f"{BENCHMARKS}/{name}" for name in benchmarks], context.reports)
    if not blocks:
        absent = f"No benchmark was run: {BENCHMARKS}/ holds no results. Each script below benchmarks/ writes its own there."
        return Section("speed", "Speed", (), made, absent=absent)
    return Section("speed", "Speed", [f"{BENCHMARKS}/"], made, blocks)


def _about(settings: Mapping[str, Any]) -> str:
    """What a benchmark compares, and how often and on how many threads it did."""
    threads = settings.get("threads")
    several = " and ".join(map(str, threads)) if isinstance(threads, list) else threads
    facts = [f"Threads: {several}."] if several else []
    facts += [f"Repeats: {settings['repeats']}."] if "repeats" in settings else []
    return " ".join(filter(None, [settings.get("about"), *facts]))


def _read(path: Path) -> list[dict[str, Any]]:
    """The rows of a benchmark, None where a cell is empty."""
    try:
        frame = pandas.read_csv(path, dtype=dict.fromkeys(("case", "contender", "against", "target"), "object"))
        lacking = [column for column in OF_A_BENCHMARK if column not in frame]
    except (ValueError, pandas.errors.ParserError) as error:
        raise ValueError(f"{path} is no benchmark ({error}); delete it and run the benchmark again") from None
    if lacking:
        raise ValueError(f"{path} is no benchmark (it lacks {', '.join(lacking)}); delete it and run the benchmark again")
    rows = frame.to_dict("records")
    return [{str(column): None if pandas.isna(value) else value for column, value in row.items()} for row in rows]
