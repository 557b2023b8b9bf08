"""What the page is made of: sections, which show the results of a study in blocks, and what every section is given."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from wavestack.artifacts import read_json
from wavestack.params import Parameters, Run
from wavestack.report.panel import Look, file_name
from wavestack.report.provenance import Provenance, provenance
from wavestack.report.table import Content, Table, run_of
from wavestack.studies.evidence import Results


@dataclass(frozen=True)
class Block:
    """Figures with a table beside them, and how to read both."""

    caption: str
    table: Table | None = None
    figures: Sequence[Markup] = ()
    title: str = ""


@dataclass(frozen=True)
class Section:
    name: str
    title: str
    files: Sequence[str]  # raw results, relative to the page
    provenance: Provenance
    blocks: Sequence[Block] = ()
    absent: str = ""  # why there is nothing to show
    asked_for: bool = True  # the profile has the study


class Figures:
    """The folder of the figures, which holds the page's and no older ones."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.written: set[Path] = set()

    def path(self, *parts: str) -> Path:
        path = self.folder / file_name(*parts)
        self.written.add(path)
        return path

    def forget_others(self) -> None:
        for path in self.folder.glob("*.svg"):
            if path not in self.written:
                path.unlink()


@dataclass(frozen=True)
class Context:
    """What a section is made from."""

    parameters: Parameters  # what was asked for
    reports: Path  # folder of the profile's results, as the other steps leave it
    looks: Mapping[str, Look]  # of the specs
    figures: Figures

    def read(self, path: str) -> Any:
        """The content of a JSON file below the reports; None where there is none."""
        return content(self.reports / path)

    def study(self, name: str) -> tuple[Any, Any]:
        """What the profile asks of a study, and what came out; None where it asks nothing, or nothing is there."""
        return getattr(self.parameters.profile.studies, name), self.read(f"studies/{name}.json")

    @cached_property
    def tested(self) -> Any:
        """The comparison on the test split; None where it is closed to the models of today."""
        return Results(self.parameters, self.reports).tested()

    def reasons(self, rows: Iterable[Content]) -> dict[Run, str]:
        """Why runs are not ok, which their own metrics say and a study's table does not."""
        failed = {run_of(row) for row in rows if row["status"] != "ok"}
        found = {run: self.read(f"runs/{run}/metrics.json") for run in failed}
        return {run: metrics["reason"] for run, metrics in found.items() if metrics is not None}

    def section(self, name: str, title: str, found: Any, files: Sequence[str], steps: Sequence[str], blocks: Sequence[Block]) -> Section:
        """A section with what made it; it says so where `found`, the content of the first file, is None."""
        absent = "" if found is not None else f"Missing: {files[0]} does not exist; the step that writes it has not run."
        return Section(name, title, files, provenance(steps, self.reports), blocks, absent)


def content(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def asked_for(section: Section, study: Any) -> Section:
    """The section of a study, which a profile may be without."""
    return section if study is not None else replace(section, asked_for=False)


def corpora_of(runs: Iterable[Run], found: Any) -> list[str]:
    """Corpora of what was asked for, then those that only the file has."""
    return list(dict.fromkeys([*(run.corpus for run in runs), *(row["corpus"] for row in (found or {"rows": []})["rows"])]))
