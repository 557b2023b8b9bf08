"""The sequence-length sweep: what was measured at each length, in one table."""

from pathlib import Path
from typing import Any

from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import Parameters

COLUMNS = (
    "spec",
    "length",
    "batch",
    "status",
    "reason",
    "steps",
    "seconds_median",
    "seconds_quartiles",
    "tokens_per_second",
    "peak_bytes",
)


def write_lengths(parameters: Parameters, reports: Path) -> dict[str, Any]:
    """Put the lengths together into `studies/lengths.json` and `.csv`."""
    study = parameters.profile.studies.lengths
    assert study is not None
    measured = [read_json(reports / "profile" / f"length{length}.json") for length in study.lengths]
    rows = [
        {column: {**found, **point, "spec": spec}.get(column) for column in COLUMNS}
        for point in measured
        for spec, found in point["models"].items()
    ]
    result = {"device": study.device, "threads": study.threads, "rows": rows}
    write_json(reports / "studies" / "lengths.json", result)
    write_csv(reports / "studies" / "lengths.csv", rows, COLUMNS)
    return result
