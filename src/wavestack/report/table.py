"""Tables of the report: from the content of result files to cells of text, every number at a fixed precision.

A table drops nothing. A run that the parameters want and the file does not have is a row that says so; a run that diverged or a
measurement that failed is a row with its status, and a note with its reason. MISSING stands for a value that there is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wavestack.params import Run

MISSING = "–"
Content = Mapping[str, Any]  # of a JSON file, or a row of one


@dataclass(frozen=True)
class Column:
    title: str
    unit: str = ""
    numeric: bool = True  # right-aligned


@dataclass(frozen=True)
class Row:
    cells: tuple[str, ...]
    kind: str = ""  # mean, failed, or marked: how the row is set off
    spec: str | None = None  # whose colour stands before the row


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()  # what is missing or failed, with reasons


@dataclass(frozen=True)
class Measure:
    """A measure of a run: its key in the files, and how it is shown."""

    key: str
    column: Column
    decimals: int

    def text(self, row: Content) -> str:
        return number(row.get(self.key), self.decimals)


PARAMETERS = Measure("parameters", Column("parameters"), 0)
TRAINING_TOKENS = Measure("training_tokens", Column("training tokens"), 0)
NATS = Measure("nats_per_token", Column("nats ↓", "per token"), 4)
BITS = Measure("bits_per_byte", Column("bits ↓", "per byte"), 4)
PERPLEXITY = Measure("perplexity", Column("perplexity ↓", "per token"), 2)
WORD_PERPLEXITY = Measure("word_perplexity", Column("perplexity ↓", "per word"), 2)
SECONDS = Measure("seconds", Column("training ↓", "s"), 1)
SPEED = Measure("tokens_per_second", Column("speed ↑", "tokens/s"), 0)
OF_A_RUN = (PARAMETERS, TRAINING_TOKENS, NATS, BITS, PERPLEXITY, WORD_PERPLEXITY, SECONDS, SPEED)


def number(value: float | None, decimals: int) -> str:
    """A number with thousands separators; MISSING for None."""
    return MISSING if value is None else f"{value:,.{decimals}f}".replace("-", "−")


def signed(value: float | None, decimals: int, unit: str = "") -> str:
    """A difference, its sign always shown."""
    return MISSING if value is None else f"{value:+,.{decimals}f}{unit}".replace("-", "−")


def share(value: float | None) -> str:
    """A share as a percentage; one below the precision is not shown as zero."""
    if value is None:
        return MISSING
    return "< 0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def count(number_of: int, noun: str) -> str:
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def run_of(row: Content) -> Run:
    return Run(row["corpus"], row["spec"], row["budget"], row["variant"], row["seed"])


def failure(row: Content | None, reason: str | None) -> str | None:
    """What became of a run or measurement without numbers; None for one that is ok."""
    if row is None:
        return "missing: no result"
    if row["status"] == "ok":
        return None
    return f"{row['status']}: {reason or 'no reason recorded'}"


def by_seed(entry: Content) -> str:
    pairs = zip(entry["seeds"], entry["nats"], strict=True)
    return ", ".join(f"{MISSING if nats is None else signed(nats, 4)} (seed {seed})" for seed, nats in pairs)


def level(entry: Content) -> str:
    """Of an interval that a family widened."""
    return MISSING if entry.get("level") is None else f"{entry['level']:.1%}"


def verdict(entry: Content) -> str:
    """What a difference says, of the first model against the second, and why where it decides nothing."""
    return f"undecided: {entry['reason']}" if entry["verdict"] == "undecided" else entry["verdict"]


def interval(entry: Content) -> str:
    """Of a difference in perplexity; older files have none."""
    if entry.get("low_percent") is None:
        return MISSING
    return f"{signed(entry['low_percent'], 1)} to {signed(entry['high_percent'], 1, '%')}"
