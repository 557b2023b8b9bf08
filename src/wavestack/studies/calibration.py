"""The calibration: whether a run of known outcome came out as it is known to."""

from pathlib import Path
from typing import Any

from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import Parameters
from wavestack.studies.results import COLUMNS, run_row


def write_calibration(parameters: Parameters, reports: Path) -> dict[str, Any]:
    """Write `studies/calibration.json`, with the run, the known loss, and whether it was reached, and `.csv`."""
    study = parameters.profile.studies.calibration
    assert study is not None
    [run] = parameters.calibration_runs()
    row = run_row(run, reports)
    nats = row["nats_per_token"]
    passed = row["status"] == "ok" and nats <= study.at_most
    result = {"row": row, "at_most": study.at_most, "passed": passed}
    write_json(reports / "studies" / "calibration.json", result)
    write_csv(reports / "studies" / "calibration.csv", [row], COLUMNS)
    return result


def uncalibrated(parameters: Parameters, reports: Path) -> str | None:
    """Why no verdict may be given yet; None where the calibration was passed."""
    study = parameters.profile.studies.calibration
    if study is None:
        return "this profile calibrates no baseline"
    path = reports / "studies" / "calibration.json"
    if not path.is_file():
        return "the calibration has not run"
    found = read_json(path)
    if found["passed"]:
        return None
    nats = found["row"]["nats_per_token"]
    reached = "diverged" if nats is None else f"reached {nats:.3f} nats per token"
    return f"the calibration failed: {study.spec} on {study.corpus} {reached}, and at most {study.at_most} is known"
