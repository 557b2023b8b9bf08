"""The gate's verdicts as a table in text, which is Markdown as well."""

from collections.abc import Sequence

from wavestack.gate import POWER, SOUGHT, Verdict, exit_status
from wavestack.report.table import MISSING, number, signed

COLUMNS = ("metric", "better", "baseline", "current", "effect", "interval", "floor", "power", "verdict")
SUMMARIES = {
    0: "No regression.",
    1: "Regression: at least one metric is worse than chance and its floor allow.",
    2: "Cannot judge: at least one metric passed nothing.",
}


def lines(verdicts: Sequence[Verdict], baseline: str, current: str) -> list[str]:
    """The table, then a summary and the reasons."""
    rows = [COLUMNS, *(_row(verdict) for verdict in verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    shown = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    reasons = [f"- {verdict.metric}: {verdict.reason}" for verdict in verdicts if verdict.reason]
    power = f"Power is that of finding a worsening of {SOUGHT:g}%; below {POWER:.0%} a loss is not judged."
    return [f"Baseline: {baseline}. Current: {current}.", "", *shown, "", SUMMARIES[exit_status(verdicts)], power, *reasons]


def _row(verdict: Verdict) -> tuple[str, ...]:
    decimals = 4 if verdict.metric.endswith("nats_per_token") else 0
    percent = None if verdict.low is None else f"{signed(verdict.low, 2)} to {signed(verdict.high, 2, '%')}"
    return (
        verdict.metric,
        verdict.direction,
        number(verdict.baseline, decimals),
        number(verdict.current, decimals),
        signed(verdict.effect, 2, "%"),
        percent or MISSING,
        MISSING if verdict.floor is None else f"{verdict.floor:g}%",
        MISSING if verdict.power is None else f"{verdict.power:.0%}",
        verdict.verdict,
    )
