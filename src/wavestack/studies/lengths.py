"""The sequence-length sweeps: what was measured at each length, how it grows, and where one model overtakes another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import Parameters
from wavestack.schema import Sweep
from wavestack.studies.growth import crossover, exponent, shape, upper_half

COLUMNS = (
    "sweep",
    "mode",
    "spec",
    "length",
    "batch",
    "status",
    "reason",
    "parameters",
    "non_embedding_parameters",
    "calls",
    "seconds_median",
    "seconds_quartiles",
    "tokens_per_second",
    "peak_bytes",
    "accounted_bytes",
    "state_bytes",
    "flops",
    "counted_flops",
    "flops_per_second",
    "attention",
    "dropout",
)
Row = Mapping[str, Any]


def write_lengths(parameters: Parameters, reports: Path) -> dict[str, Any]:
    """Put the lengths together into `studies/lengths.json` and `.csv`.

    Returns:
        sweeps: of each its settings; rows, a model at a length each; ratios of times that were measured side by side; fits, exponents of
        time and of memory over all lengths and over their upper half; shapes of the curves; crossovers with the model that is named first.
    """
    study = parameters.profile.studies.lengths
    assert study is not None
    sweeps = [_sweep(sweep, sweep.specs or study.specs, reports / "profile" / sweep.name) for sweep in study.sweeps]
    result = {"threads": study.threads, "sweeps": sweeps}
    write_json(reports / "studies" / "lengths.json", result)
    write_csv(reports / "studies" / "lengths.csv", [row for sweep in sweeps for row in sweep["rows"]], COLUMNS)
    return result


def _sweep(sweep: Sweep, specs: Sequence[str], folder: Path) -> dict[str, Any]:
    points = [read_json(folder / f"length{length}.json") for length in sorted(sweep.lengths)]
    rows = [
        {column: {**point["models"][spec], **point, "spec": spec}.get(column) for column in COLUMNS} for point in points for spec in specs
    ]
    ratios = [{"spec": spec, "length": point["length"], **found} for point in points for spec, found in point["ratios"].items()]
    curves = {(spec, measure): _curve(rows, spec, of) for spec in specs for measure, of in MEASURES.items()}
    return {
        "name": sweep.name,
        **sweep.model_dump(mode="json", include={"mode", "device", "precision", "compile"}),
        "matrix_peak": {str(point["length"]): point["matrix_peak"] for point in points},
        "rows": rows,
        "ratios": ratios,
        "fits": [
            {"spec": spec, "measure": measure, "range": name, **(asdict(found) if found else NOTHING)}
            for (spec, measure), curve in curves.items()
            for name, part in (("all", curve), ("upper half", upper_half(curve) if curve else curve))
            for found in [exponent(part)]
        ],
        "shapes": [
            {"spec": spec, "measure": measure, **asdict(found)}
            for (spec, measure), curve in curves.items()
            for found in [shape(curve)]
            if found
        ],
        "crossovers": _crossovers(rows, ratios, specs),
    }


def seconds(row: Row) -> float:
    """Of a sequence; where tokens are decoded behind it, of one of those."""
    return row["batch"] / row["tokens_per_second"] if row["mode"] == "decode" else row["seconds_median"] / row["batch"]


def _curve(rows: Sequence[Row], spec: str, of: Callable[[Row], float]) -> dict[int, float]:
    return {row["length"]: of(row) for row in rows if row["spec"] == spec and row["status"] == "ok"}


MEASURES: dict[str, Callable[[Row], float]] = {"time": seconds, "memory": lambda row: row["peak_bytes"] / row["batch"]}
NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "lengths": []}


def _crossovers(rows: Sequence[Row], ratios: Sequence[Row], specs: Sequence[str]) -> list[dict[str, Any]]:
    """From which length on the model that is named first takes less time, or less memory, than each other one."""
    ours, found = specs[0], []
    for theirs in specs[1:]:
        times = {row["length"]: (row["ratio"], row["low"], row["high"]) for row in ratios if (row["spec"], row["than"]) == (theirs, ours)}
        own, their = (_curve(rows, spec, MEASURES["memory"]) for spec in (ours, theirs))
        memory = {length: (their[length] / own[length],) * 3 for length in own if their.get(length) and own[length] > 0}
        for measure, pairs in (("time", times), ("memory", memory)):
            crossing = crossover(pairs)
            if crossing is not None:
                found.append({"spec": ours, "against": theirs, "measure": measure, **asdict(crossing)})
    return found
