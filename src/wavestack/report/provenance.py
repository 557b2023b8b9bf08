"""What made the results: commits, machines, inputs, seconds and memory of every step."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavestack.artifacts import read_json
from wavestack.params import Run
from wavestack.report.table import MISSING, Column, Content, Row, Table, number


@dataclass(frozen=True)
class Machine:
    """Where and with what steps ran."""

    steps: int
    hardware: str
    versions: str


@dataclass(frozen=True)
class Provenance:
    """What made the results of a section."""

    table: Table
    commits: Sequence[str]  # distinct
    dirty: int  # steps that ran with uncommitted changes, or outside a checkout
    missing: int
    machines: Sequence[Machine]
    inputs: Sequence[tuple[str, Sequence[tuple[str, str]]]]  # step, (file, SHA-256) of what went in


def run_steps(runs: Iterable[Run]) -> list[str]:
    return [f"runs/{run}/{step}" for run in runs for step in ("train", "evaluate")]


def provenance(steps: Iterable[str], reports: Path) -> Provenance:
    """What `<step>.provenance.json` and `<step>.timing.json` below the reports say, for each step."""
    records = {step: (_content(reports / f"{step}.provenance.json"), _content(reports / f"{step}.timing.json")) for step in steps}
    made = {step: record for step, (record, _) in records.items() if record is not None}
    places = [(_hardware(record["machine"]), _versions(record["versions"])) for record in made.values()]
    return Provenance(
        table=table(records),
        commits=list(dict.fromkeys(commit({**record, "dirty": False}) for record in made.values())),
        dirty=sum(record["dirty"] is not False for record in made.values()),
        missing=len(records) - len(made),
        machines=[Machine(places.count(place), *place) for place in dict.fromkeys(places)],
        inputs=[(step, list(record["inputs"].items())) for step, record in made.items() if record["inputs"]],
    )


def _content(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _hardware(machine: Mapping[str, Any]) -> str:
    return f"{machine['system']}, {machine['processor']}, {machine['cores']} cores, {machine['accelerator'] or 'no accelerator'}"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def table(records: Mapping[str, tuple[Content | None, Content | None]]) -> Table:
    """Which commit, parameters and command made each result, and what it took.

    Args:
        records: content of (`X.provenance.json`, `X.timing.json`) by X, a path below the reports; None where missing.
    """
    rows, notes = [], []
    for path, (made, timing) in records.items():
        timing = timing or {}
        peak = timing.get("peak_memory_bytes")
        took = (number(timing.get("seconds"), 1), number(None if peak is None else peak / 2**20, 0))
        if made is None:
            rows.append(Row((path, "missing", *(MISSING,) * 3, *took), "failed"))
            notes.append(f"{path}.provenance.json: missing")
            continue
        cells = (path, commit(made), made["fingerprint"], made["finished"], made["command"], *took)
        rows.append(Row(cells, "failed" if made["dirty"] or made["commit"] is None else ""))
    titles = ("result", "commit", "fingerprint", "finished", "command")
    columns = tuple(Column(title, numeric=False) for title in titles)
    return Table((*columns, Column("time", "s"), Column("peak memory", "MiB")), tuple(rows), tuple(notes))


def commit(made: Content) -> str:
    """The commit of a provenance file, with a mark where the code was not the commit's."""
    if made["commit"] is None:
        return "not a git checkout"
    return made["commit"][:10] + (" + uncommitted changes" if made["dirty"] else "")
