"""Contract: what was checked before training."""

from collections.abc import Mapping, Sequence

from wavestack.report.provenance import provenance
from wavestack.report.section import Block, Context, Section
from wavestack.report.table import MISSING, Column, Content, Row, Table
from wavestack.variants import Variant

CHECKS = (  # of the contract, in its order
    "causality by perturbation",
    "causality by gradient",
    "prefix consistency",
    "step equals parallel",
    "chunk carry",
    "batch invariance",
    "save and load",
    "parameter count",
)


def table(contents: Mapping[tuple[str, str, str], Content | None]) -> Table:
    """A row a model and precision, a column a check: whether it holds, with the largest difference seen.

    Args:
        contents: of `contract/<spec>/<budget>/<variant>.json` by that triple; None where it is missing. Older files name no precision,
            which was float32, and no declared breaks, of which there were none.
    """
    found = {finding["check"] for content in contents.values() if content is not None for finding in content["findings"]}
    checks = [*CHECKS, *sorted(found - set(CHECKS))]
    rows, notes = [], []
    for (spec, budget, variant), content in contents.items():
        findings = content["findings"] if content is not None else []
        if content is None:
            notes.append(f"{spec}/{budget}/{variant}: missing, no contract was checked")
        notes += [f"{spec}/{variant} {_broken(finding)}" for finding in findings if not finding["passed"]]
        by_precision: dict[str, list[Content]] = {}
        for finding in findings:
            by_precision.setdefault(finding.get("precision", "float32"), []).append(finding)
        names, colour = (spec, variant, budget), spec  # once a model
        for precision, these in by_precision.items() or [(MISSING, [])]:
            cells = [_held([finding for finding in these if finding["check"] == check]) for check in checks]
            bad = not these or not all(finding["passed"] for finding in these)
            declared = any(finding.get("declared") for finding in these)
            rows.append(Row((*names, precision, *cells), "failed" if bad else "marked" if declared else "", colour))
            names, colour = ("", "", ""), ""
    named = (Column(title, numeric=False) for title in ("model", "variant", "budget", "precision"))
    return Table((*named, *(Column(check) for check in checks)), tuple(rows), tuple(notes))


def _held(findings: Sequence[Content]) -> str:
    """What was found of one check, in words, and the largest difference."""
    if not findings:
        return MISSING
    worst = max(findings, key=lambda finding: (not finding["passed"], finding["difference"] is None, abs(finding["difference"] or 0)))
    size = worst["difference"]
    if size is None:  # infinite or no number, which JSON has not
        return "BROKEN, not finite"
    shown = f"{size:.1e}" if isinstance(size, float) else f"{size:,}"
    said = ("holds", "declared break") if worst["passed"] else ("BROKEN", "NO BREAK")
    return f"{said[bool(worst.get('declared'))]} {shown}"


def _broken(finding: Content) -> str:
    at = "" if finding["position"] is None else f" from position {finding['position']:,} on"
    named = f"{finding['check']} ({finding.get('precision', 'float32')}){at}: {finding['detail']}"
    missed = finding.get("declared") and finding["difference"] is not None
    return f"declares a break that does not occur, {named}" if missed else f"breaks {named}"


def section(context: Context) -> Section:
    caption = (
        "What a model must satisfy before it may train, with random weights in every parameter. Differences are relative to the largest "
        "logit or gradient (in float32 about 1e-7 is the order of summation, and 1e-5 is allowed; bfloat16's autocast keeps 8 bits, and is "
        "allowed more), for the parameter count in parameters; smaller is better. A declared break is a known fault of a published model, "
        "which is looked for in float32 alone and must occur."
    )
    models = dict.fromkeys((run.spec, run.budget, Variant.parse(run.variant).model) for run in context.parameters.runs())
    steps = {model: f"contract/{'/'.join(model)}" for model in models}
    contents = {model: context.read(f"{step}.json") for model, step in steps.items()}
    made = provenance(steps.values(), context.reports)
    return Section("contract", "Contract", ["contract/"], made, [Block(caption, table(contents))])
