"""Findings: what the results say of every published claim."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavestack.report.section import Block, Context, Section
from wavestack.report.table import Column, Content, Row, Table
from wavestack.studies.findings import effect


@dataclass(frozen=True)
class Verdict:
    """A claim in a line of the first screen."""

    verdict: str
    claim: str
    reason: str


def verdicts(context: Context) -> list[Verdict]:
    """All claims, in the order of the file; none where it is missing."""
    content = context.read("findings.json")
    found = content["findings"] if content else []
    return [Verdict(finding["verdict"], finding["claim"], finding["reason"] or _decided_by(finding)) for finding in found]


def _decided_by(finding: Mapping[str, Any]) -> str:
    """The effects that decided, and of what they are."""
    return "; ".join(
        f"{each['protocol']}: {effect(each)}" for each in finding["evidence"] if each["decides"] and each["verdict"] == finding["verdict"]
    )


def table(findings: Sequence[Content]) -> Table:
    """All evidence, that which decides first among its claim's.

    Args:
        findings: of `findings.json`.
    """
    rows = []
    for finding in findings:
        rows.append(Row((finding["claim"], "", "", finding["verdict"], finding["reason"] or ""), "mean"))
        for each in sorted(finding["evidence"], key=lambda each: not each["decides"]):
            said = (each["verdict"], each["reason"] or "")
            rows.append(Row((each["protocol"], effect(each), "decides" if each["decides"] else "beside", *said)))
    columns = ("claim, and the evidence for it", "effect", "", "verdict", "why")
    return Table(tuple(Column(title, numeric=False) for title in columns), tuple(rows))


def section(context: Context) -> Section:
    content = context.read("findings.json")
    caption = (
        "Each claim that was published for WaveStack, and under it what bears on it here. Evidence of a fair comparison decides; other "
        "evidence, that of the published protocol among it, stands beside. A difference supports a claim where its whole interval does; "
        "effects are of the first model against the second: lower is better for the first. “Undecided” is a finding, too."
    )
    blocks = [Block(caption, table(content["findings"]))] if content else []
    return context.section("findings", "Findings", content, ["findings.json", "findings.md"], ["findings"], blocks)
