"""The sequence-length sweeps: what was measured at each length, how it grows, and where one model overtakes another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import Parameters
from wavestack.schema import Sweep
from wavestack.studies.growth import Ratio, crossover, difference, exponent, shape, upper_half

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
    "yardstick_seconds",
    "peak_bytes",
    "peak_bytes_by_process",
    "accounted_bytes",
    "unaccounted",
    "state_bytes",
    "flops",
    "counted_flops",
    "flops_per_second",
    "attention",
    "dropout",
)
PEAKS = ("peak_bytes", "accounted_bytes")  # the first one is quoted
COUNTS = {"training": PEAKS, "forward": PEAKS, "prefill": PEAKS, "decode": ("state_bytes",), "generation": PEAKS[:1]}  # of a sweep's mode
LONG = 1024  # tokens, from which on what a call costs whatever its length is lost in what it costs for it
Row = Mapping[str, Any]


def write_lengths(parameters: Parameters, reports: Path) -> dict[str, Any]:
    """Put the lengths together into `studies/lengths.json` and `.csv`: those that were measured so far, which on one machine takes hours.

    Returns:
        sweeps: of each its settings and the sweep that it is a round of; rows, a model at a length each; ratios of times that were measured
        side by side; yardsticks, the first model's times at each length against its own at one of them; fits, exponents of time and of
        memory (of the state, where tokens are decoded) over all lengths, their upper half, and those from 1,024 on; shapes of the curves;
        crossovers with the model that is named first; and of a later round its exponents less those of the first one, and the ratios of
        both.

    Raises:
        ValueError: a length was measured of other models than the parameters name.
    """
    study = parameters.profile.studies.lengths
    assert study is not None
    found = {sweep.name: _sweep(sweep, sweep.specs or study.specs, reports / "profile" / sweep.name) for sweep in study.sweeps}
    sweeps = [sweep for sweep in found.values() if sweep is not None]
    for asked in study.sweeps:
        first, again = found[asked.first_round], found[asked.name]
        if asked.round > 1 and first is not None and again is not None:
            again |= {"differences": _differences(first, again), "repeated": _repeated(first, again)}
    result = {"threads": study.threads, "sweeps": sweeps}
    write_json(reports / "studies" / "lengths.json", result)
    write_csv(reports / "studies" / "lengths.csv", [row for sweep in sweeps for row in sweep["rows"]], COLUMNS)
    return result


def _sweep(sweep: Sweep, specs: Sequence[str], folder: Path) -> dict[str, Any] | None:
    """None where no length of it was measured yet."""
    places = [folder / f"length{length}.json" for length in sorted(sweep.lengths)]
    points = [read_json(place) for place in places if place.is_file()]
    if not points:
        return None
    for point, spec in product(points, specs):
        if spec not in point["models"]:
            raise ValueError(f"{folder}/length{point['length']}.json is of other models, without {spec}; measure this length again")
    rows = [
        {column: {**point["models"][spec], **point, **_yardstick_of(point), "spec": spec}.get(column) for column in COLUMNS}
        for point in points
        for spec in specs
    ]
    ratios = [{"spec": spec, "length": point["length"], **found} for point in points for spec, found in point["ratios"].items()]
    curves = _curves(rows, in_yardsticks(rows))
    return {
        "name": sweep.name,
        "first_round": sweep.first_round,
        **sweep.model_dump(mode="json", include={"mode", "device", "precision", "compile"}),
        **{key: {str(point["length"]): point.get(key) for point in points} for key in ("matrix_peak", "matrix_peaks", "other_cores")},
        "rows": rows,
        "ratios": ratios,
        "yardsticks": [{"at": point["length"], **point["yardstick"]} for point in points if point.get("yardstick")],
        "fits": [
            {"spec": spec, "measure": measure, "range": name, **(asdict(found) if found else NOTHING)}
            for (spec, measure), curve in curves.items()
            for name, start in _ranges(rows).items()
            for found in [exponent(_from(start, curve))]
        ],
        "shapes": [
            {"spec": spec, "measure": measure, **asdict(found)}
            for (spec, measure), curve in curves.items()
            for found in [shape(curve)]
            if found
        ],
        "crossovers": _crossovers(rows, ratios, specs),
    }


def _differences(first: Row, second: Row) -> list[dict[str, Any]]:
    """Of the exponents of two rounds of a sweep, where both have one: both of times in yardsticks, or both in seconds."""
    known = in_yardsticks([*first["rows"], *second["rows"]])
    before = _curves(first["rows"], known)
    return [
        {"spec": spec, "measure": measure, "range": name, **asdict(found)}
        for (spec, measure), curve in _curves(second["rows"], known).items()
        for name, start in _ranges(second["rows"]).items()
        for found in [difference(_from(start, before.get((spec, measure), {})), _from(start, curve))]
        if found
    ]


def _repeated(first: Row, again: Row) -> list[dict[str, Any]]:
    """Ratios of two rounds of a sweep; whether the later one is `inside` the first one's interval, and whether their intervals `meet`.

    An interval is of the calls of one job. Of jobs that differ in nothing, a later ratio is inside in fewer than 19 of 20, since it has
    noise of its own.
    """
    before = {(ratio["spec"], ratio["than"], ratio["length"]): ratio for ratio in first["ratios"]}
    found = []
    for ratio in again["ratios"]:
        earlier = before.get((ratio["spec"], ratio["than"], ratio["length"]))
        if earlier is None:
            continue
        ends = [each[end] for each in (earlier, ratio) for end in ("low", "high")]
        known = None not in ends
        rounds = {name: {key: each[key] for key in ("ratio", "low", "high")} for name, each in (("first", earlier), ("again", ratio))}
        inside = earlier["low"] <= ratio["ratio"] <= earlier["high"] if known else None
        meet = earlier["low"] <= ratio["high"] and ratio["low"] <= earlier["high"] if known else None
        found.append({"spec": ratio["spec"], "than": ratio["than"], "length": ratio["length"], **rounds, "inside": inside, "meet": meet})
    return found


def _yardstick_of(point: Row) -> dict[str, Any]:
    return {"yardstick_seconds": (point.get("yardstick") or {}).get("seconds_median")}


def times(rows: Sequence[Row], spec: str, yardsticks: bool) -> dict[int, float]:
    """Of a sequence at each length; where tokens are decoded behind it, of one of those. In units of the yardstick's time, or in seconds.

    Lengths are measured in jobs of their own, hours apart, and a machine is not always as fast: a yardstick, timed in each, tires with it.
    """
    of_it = [row for row in rows if row["spec"] == spec and row["status"] == "ok"]
    return {row["length"]: _seconds(row) / (row["yardstick_seconds"] if yardsticks else 1) for row in of_it}


def in_yardsticks(rows: Sequence[Row]) -> bool:
    """Whether every job timed its yardstick, so that times may be told in it."""
    return all(row.get("yardstick_seconds") for row in rows)


def _seconds(row: Row) -> float:
    return float(row["batch"] / row["tokens_per_second"] if row["mode"] == "decode" else row["seconds_median"] / row["batch"])


def byte_ratios(first: Row, second: Row, mode: str) -> list[float]:
    """What the first takes over what the second does, in memory, or in state where tokens are decoded.

    One for each way in which the bytes of both were counted; on the CPU these are the process's high-water mark and the sum of its tensors.
    """
    return [first[count] / second[count] for count in COUNTS[mode] if min(first.get(count) or 0, second.get(count) or 0) > 0]


def _curves(rows: Sequence[Row], yardsticks: bool) -> dict[tuple[str, str], dict[int, float]]:
    """Of each model (in the order of the rows) each measure, against the length."""
    measures = ("time", _second(rows))
    specs = dict.fromkeys(row["spec"] for row in rows)
    return {(spec, measure): _curve(rows, spec, measure, yardsticks) for spec in specs for measure in measures}


def _curve(rows: Sequence[Row], spec: str, measure: str, yardsticks: bool) -> dict[int, float]:
    if measure == "time":
        return times(rows, spec, yardsticks)
    of_it = {row["length"]: MEASURES[measure](row) for row in rows if row["spec"] == spec and row["status"] == "ok"}
    return {length: value for length, value in of_it.items() if value is not None}


def _second(rows: Sequence[Row]) -> str:
    """What is measured besides time: a peak in decoding has two copies of the past, one to start from each time."""
    return "state" if rows[0]["mode"] == "decode" else "memory"


def _ranges(rows: Sequence[Row]) -> dict[str, float]:
    """Where each begins; of the sweep, whatever a model could not do."""
    return {"all": 0, "upper half": upper_half({row["length"] for row in rows}), f"from {LONG:,}": LONG}


def _from(start: float, curve: Mapping[int, float]) -> dict[int, float]:
    return {length: value for length, value in curve.items() if length >= start}


MEASURES: dict[str, Callable[[Row], float | None]] = {
    "memory": lambda row: None if row["peak_bytes"] is None else row["peak_bytes"] / row["batch"],
    "state": lambda row: row["state_bytes"],
}
NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None, "lengths": []}


def _crossovers(rows: Sequence[Row], ratios: Sequence[Row], specs: Sequence[str]) -> list[dict[str, Any]]:
    """From which length on the model that is named first takes less time, or less of the second measure, than each other one.

    The ends of a ratio of times are of its interval, those of a ratio of bytes what it is as each way to count them has it.
    """
    ours, second, found = specs[0], _second(rows), []
    measured = {(row["spec"], row["length"]): row for row in rows if row["status"] == "ok"}
    for theirs in specs[1:]:
        times: dict[int, Ratio] = {
            row["length"]: (row["ratio"], row["low"], row["high"]) for row in ratios if (row["spec"], row["than"]) == (theirs, ours)
        }
        taken: dict[int, Ratio] = {}
        for length in (length for spec, length in measured if spec == ours and (theirs, length) in measured):
            ratios_of_bytes = byte_ratios(measured[theirs, length], measured[ours, length], rows[0]["mode"])
            if ratios_of_bytes:
                ends = (min(ratios_of_bytes), max(ratios_of_bytes)) if len(ratios_of_bytes) > 1 else (None, None)
                taken[length] = (ratios_of_bytes[0], *ends)
        for measure, pairs in (("time", times), (second, taken)):
            crossing = crossover(pairs)
            if crossing is not None:
                found.append({"spec": ours, "against": theirs, "measure": measure, **asdict(crossing)})
    return found
