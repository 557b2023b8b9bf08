"""Findings: every published claim with its evidence and a verdict, as JSON for programs and as Markdown for people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wavestack.artifacts import write_json, write_text
from wavestack.params import Parameters
from wavestack.studies.claims import CLAIMS, Claim
from wavestack.studies.evidence import Evidence, Results, Verdict


def write_findings(parameters: Parameters, reports: Path) -> list[dict[str, Any]]:
    """Write `findings.json` and `findings.md` from the studies' files below `reports` and the benchmarks' beside it.

    Returns:
        A finding a claim: its texts, `verdict`, `reason` (None where it is decided) and all `evidence`.
    """
    results = Results(parameters, reports)
    findings = [_finding(claim, claim.evidence(results)) for claim in CLAIMS]
    write_json(reports / "findings.json", {"profile": parameters.name, "findings": findings})
    write_text(reports / "findings.md", _markdown(parameters.name, findings))
    return findings


def _finding(claim: Claim, evidence: Sequence[Evidence]) -> dict[str, Any]:
    deciding = [each for each in evidence if each.decides]
    verdict = decide(deciding, claim.any_of)
    reason = None
    if verdict == "undecided":
        reason = _why(deciding) if deciding else f"it takes {claim.needs}, of which this profile has no results"
    texts = {"id": claim.id, "claim": claim.text, "published": claim.published}
    return {**texts, "verdict": verdict, "reason": reason, "evidence": [asdict(each) for each in evidence]}


def _why(deciding: Sequence[Evidence]) -> str:
    """The reasons, and of how much of the evidence each is, where there is more than one piece."""
    counts = Counter(each.reason for each in deciding if each.reason)
    return "; ".join(f"{reason} (in {count} of {len(deciding)})" if len(deciding) > 1 else reason for reason, count in counts.items())


def decide(evidence: Sequence[Evidence], any_of: bool) -> Verdict:
    """What evidence says together; see `Claim`. Nothing decides nothing."""
    cases: dict[str, list[Verdict]] = {}
    for each in evidence:
        cases.setdefault(each.case, []).append(each.verdict)
    by_case = [_all(verdicts) for verdicts in cases.values()]
    if not any_of:
        return _all(by_case)
    opposite: dict[Verdict, Verdict] = {"supported": "refuted", "refuted": "supported", "undecided": "undecided"}
    return opposite[_all([opposite[verdict] for verdict in by_case])]


def _all(verdicts: Sequence[Verdict]) -> Verdict:
    if "refuted" in verdicts:
        return "refuted"
    return "supported" if verdicts and set(verdicts) == {"supported"} else "undecided"


def _markdown(profile: str, findings: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"# Findings of `{profile}`",
        "",
        "What this profile's results say of the claims published for WaveStack. Evidence with a star decides, since it is of fair "
        "comparisons; other evidence stands beside it. Effects are of the first model against the second: lower is better for the first.",
    ]
    for finding in findings:
        said = finding["verdict"] + (f": {finding['reason']}" if finding["reason"] else "")
        lines += ["", f"## {finding['claim']}", "", f"**{said[0].upper()}{said[1:]}.** Published: {finding['published']}.", ""]
        lines += [f"- {'★ ' if each['decides'] else ''}{told(each)} ([{each['file']}]({each['file']}))" for each in finding["evidence"]]
    return "\n".join(lines).rstrip() + "\n"


def told(evidence: dict[str, Any]) -> str:
    """A piece of evidence in one sentence."""
    said = evidence["verdict"] + (f", {evidence['reason']}" if evidence["reason"] else "")
    return f"{evidence['protocol']}: {effect(evidence)}; {said}"


def effect(evidence: dict[str, Any]) -> str:
    """The number with its unit and interval. Differences have a sign; ratios and exponents have none."""
    measure = evidence["measure"]
    value, low, high = (_number(evidence[key], measure.startswith(("%", "nats"))) for key in ("value", "low", "high"))
    number = f"{value}{measure}" if measure.startswith("%") else f"{measure} {value}"
    return number if evidence["low"] is None else f"{number} ({low} to {high})"


def _number(value: float | None, signed: bool) -> str:
    """Three digits."""
    return "unknown" if value is None else f"{value:{'+' if signed else ''}#.3g}".replace("-", "−")
