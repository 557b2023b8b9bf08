"""What the benchmarks share: contenders that take turns, medians with quartiles, and a CSV with what made it beside it.

A ratio is of two medians of one run on one machine. "speed" is how many times as fast the contender is (theirs over ours), "cost" how many
times as much it takes (ours over theirs).
"""

import argparse
import gc
import os
import random
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch

from wavestack.allocation import keep_freed_memory
from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.provenance import fingerprint, recorded


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Row:
    """One measurement, and how it compares with another one; what there is none of is None."""

    benchmark: str
    case: str
    length: int
    contender: str
    unit: Literal["s", "bytes"]
    median: float
    low: float
    high: float
    against: str | None = None
    against_median: float | None = None
    ratio_of: Literal["speed", "cost"] | None = None
    ratio: float | None = None
    target: str | None = None
    met: bool | None = None
    bound: float | None = None  # of the ratio, by FLOPs alone


@dataclass(frozen=True)
class Case:
    """What the rows of one comparison have in common."""

    benchmark: str
    name: str
    unit: Literal["s", "bytes"] = "s"

    def alone(self, length: int, contender: str, found: Spread) -> Row:
        return Row(self.benchmark, self.name, length, contender, self.unit, **asdict(found))

    def speed(self, length: int, contender: str, found: Spread, against: str, theirs: Spread, at_least: float | None = None) -> Row:
        """How many times as fast as another contender."""
        ratio = theirs.median / found.median
        target, met = (None, None) if at_least is None else (f"at least {at_least:g}", ratio >= at_least)
        row = self.alone(length, contender, found)
        return replace(row, against=against, against_median=theirs.median, ratio_of="speed", ratio=ratio, target=target, met=met)

    def cost(self, length: int, contender: str, found: Spread, against: str, theirs: Spread, at_most: float | None = None) -> Row:
        """How many times as much time or memory as another contender; no ratio to nothing."""
        ratio = found.median / theirs.median if theirs.median else None
        target, met = (None, None) if at_most is None else (f"at most {at_most:g}", found.median <= at_most * theirs.median)
        row = self.alone(length, contender, found)
        return replace(row, against=against, against_median=theirs.median, ratio_of="cost", ratio=ratio, target=target, met=met)


def interleaved(contenders: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Spread]:
    """Seconds of each contender, which take turns: what the machine does besides hits all of them alike.

    The first round warms up and does not count, and what it allocates is kept. Every round is in another order, so that none always runs
    after the same one.
    """
    if repeats < 2:
        raise ValueError(f"quartiles need at least 2 repeats, not {repeats}")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    keep_freed_memory()  # as a training does
    names, draw = list(contenders), random.Random(0)
    gc.collect()
    gc.disable()  # a collection would count for whoever runs when it starts
    try:
        for turn in range(repeats + 1):
            draw.shuffle(names)
            for name in names:
                began = time.perf_counter()
                contenders[name]()
                took = time.perf_counter() - began
                if turn:
                    seconds[name].append(took)
    finally:
        gc.enable()
    return {name: Spread.of(found) for name, found in seconds.items()}


def arguments(about: str | None, repeats: int = 7) -> argparse.ArgumentParser:
    """The options that every benchmark has; `about` is its docstring."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=repeats, help="measurements of each contender (default: %(default)s)")
    parser.add_argument("--reports", type=Path, default=Path("reports/benchmarks"), help="folder of the CSV (default: %(default)s)")
    return parser


@contextmanager
def recording(name: str, reports: Path, about: str, code: Sequence[str], **settings: Any) -> Iterator[list[Row]]:
    """Collect a benchmark's rows, then print them and write `<name>.csv`, and beside it what made it and what that took.

    Args:
        name: of the benchmark, and of its script.
        reports: folder of the results.
        about: the script's docstring; its first paragraph says on the report's page what is compared.
        code: `module:Class` strings of what is measured, for the fingerprint.
        settings: sizes, repeats and threads of this run.
    """
    rows: list[Row] = []
    scripts = {getattr(module, "__file__", None) or "" for module in sys.modules.values()}
    inputs = sorted(os.path.relpath(script) for script in scripts if Path(script).parent == Path(__file__).parent)
    settings = {"about": " ".join(about.strip().partition("\n\n")[0].split()), "threads": torch.get_num_threads(), **settings}
    with recorded(reports, name, settings, fingerprint(settings, code), inputs):
        yield rows
        show(rows)
        write_csv(reports / f"{name}.csv", [asdict(row) for row in rows], [field.name for field in fields(Row)])
    path = reports / f"{name}.provenance.json"
    write_json(path, {**read_json(path), "command": shlex.join(["python", *sys.argv])})  # a script's, not the workflow's
    print(f"wrote {reports / name}.csv")


def show(rows: Sequence[Row]) -> None:
    for row in rows:
        scale, unit = (1e3, "ms") if row.unit == "s" else (2**-20, "MiB")
        found = f"{row.median * scale:.2f} {unit} ({row.low * scale:.2f} to {row.high * scale:.2f})"
        said = f"{row.case}, {row.length:,}: {row.contender} {found}"
        if row.ratio is not None:
            said += f", {row.ratio:.2f} times the {row.ratio_of} of {row.against}"
        if row.bound is not None and row.ratio is not None:
            said += f", {row.ratio / row.bound:.0%} of the {row.bound:.2f} that FLOPs alone allow"
        if row.target is not None:
            said += f"; {row.target}: {'met' if row.met else 'MISSED'}"
        print(said)
