"""The contract of one spec, or of everything that is registered, as rows of findings and as a table to read."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf, isfinite
from typing import Any

from wavestack import contract, registry
from wavestack.device import available
from wavestack.params import ModelSpec, Parameters
from wavestack.schema import Budget, knob_schema

# Lanes and mixers are looked at inside of a small WaveStack: two blocks, so that what one leaves the next one reads.
SMALL = Budget(hidden=128, blocks=2, context=256, parameters=500_000, tokens=1)

Findings = list[dict[str, Any]]


def check_spec(parameters: Parameters, spec: str, budget: str, variant: str, device: str = "cpu") -> Findings:
    """The findings of one spec at a budget of the profile; ValueError for a device that is not there."""
    return _check(parameters.specs[spec].variant(variant), parameters.profile.budgets[budget], available(device))


def check_registered(parameters: Parameters, device: str = "cpu") -> dict[str, Findings]:
    """Every model, lane and mixer that is registered: models as the profile's specs have them, a lane alone, a mixer over three lanes."""
    specs = {f"model {name}": spec for name, spec in parameters.specs.items()}
    specs |= {f"lane {name}": _wavestack([name], "gated") for name in registry.LANES}
    specs |= {f"mixer {name}": _wavestack(["fourier", "recall", "wavelet"], name) for name in registry.MIXERS}
    device = available(device)
    return {name: _check(spec, _deep_enough(spec), device) for name, spec in specs.items()}


def _deep_enough(spec: ModelSpec) -> Budget:
    """SMALL, with as many blocks as the spec's lanes name."""
    named = [block for knobs in (spec.knobs.get("lanes") or {}).values() for block in knobs.get("blocks") or []]
    blocks = 1 + max(named, default=0)
    if blocks <= SMALL.blocks:
        return SMALL
    return SMALL.model_copy(update={"blocks": blocks, "parameters": SMALL.parameters * blocks // SMALL.blocks})


def _wavestack(lanes: Sequence[str], mixer: str) -> ModelSpec:
    knobs = {name: knob_schema(registry.LANES[name])().model_dump() for name in lanes}
    return ModelSpec("wavestack", {"lanes": knobs, "mixer": mixer, "lane_width": 0.25})


def _check(spec: ModelSpec, budget: Budget, device: str = "cpu") -> Findings:
    rows = []
    for finding in contract.check(spec, budget, device=device):
        difference = finding.difference if isfinite(finding.difference) else None  # JSON has no infinity
        rows.append(asdict(finding) | {"verdict": finding.verdict, "difference": difference})
    return rows


def broken(rows: Mapping[str, Findings]) -> list[str]:
    """A line for each finding that does not pass: the check, the position and the size of the difference."""
    return [
        f"{name}: {found['check']} ({found['precision']}) {found['verdict']}, {_position(found)}{found['detail']}"
        for name, findings in rows.items()
        for found in findings
        if not found["passed"]
    ]


def _position(found: Mapping[str, Any]) -> str:
    return "" if found["position"] is None else f"position {found['position']}, "


def table(rows: Mapping[str, Findings]) -> str:
    """A line for each model and precision, the checks' largest differences beside one another; `!` where it breaks, `d` as declared."""
    checks = [*contract.CHECKS, "save and load", "parameter count"]
    width = max(map(len, rows))
    lines = [f"{'':{width}}  {'':8}  " + "  ".join(f"{place + 1:>8}" for place in range(len(checks)))]
    for name, findings in rows.items():
        for precision in contract.TOLERANCE:
            by_check = {found["check"]: found for found in findings if found["precision"] == precision}
            cells = [_cell(by_check.get(check)) for check in checks]
            lines.append(f"{name:{width}}  {precision:8}  " + "  ".join(f"{cell:>8}" for cell in cells))
    legend = ", ".join(f"{place + 1} {check}" for place, check in enumerate(checks))
    return "\n".join([*lines, f"{legend}; largest relative differences, ! broken, d a declared break"])


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    mark = "!" if not found["passed"] else "d" if found["declared"] else ""
    return f"{inf if found['difference'] is None else found['difference']:.1g}{mark}"
