import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
RUN = "pydocs/wavestack/tiny/base/seed0"


@dataclass(frozen=True)
class Project:
    """A copy of the project with a workflow of seconds."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data/faults"

    @property
    def reports(self) -> Path:
        return self.folder / "reports/faults"

    def start(self, *command: str, **environment: str) -> subprocess.Popen:
        """A command of this environment, such as snakemake, in the folder."""
        inherited = {name: value for name, value in os.environ.items() if name not in ("FAULT", "FAULT_DONE")}
        found = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{HERE / 'hooks'}{os.pathsep}{self.folder / 'src'}",
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env={**inherited, **found, **environment},
            stdout=self.told.open("w"),  # no pipe: what is left running would keep it open
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def told(self) -> Path:
        """What the last command said."""
        return self.folder / "told.txt"

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        status = self.start(*command, **environment).wait(timeout=600)
        return status, self.told.read_text()

    def workflow(self, *arguments: str) -> tuple[str, ...]:
        return ("snakemake", "--cores", "2", "--configfile", "params/faults.yaml", *arguments)

    def training(self, into: str = "alone", *arguments: str) -> tuple[str, ...]:
        """The training by itself, its results into a folder of their own."""
        options = ("--tokens", "data/faults/tokens/pydocs", "--data", f"{into}/data", "--reports", f"{into}/reports")
        return ("wavestack", "train", RUN, *options, "--params", "params/faults.yaml", *arguments)

    def resume(self, *arguments: str) -> tuple[int, str]:
        return self.run("wavestack", "resume", "--params", "params/faults.yaml", *arguments)

    def results(self) -> dict[str, bytes]:
        """Every deterministic result, light and heavy."""
        kinds = ("metrics.json", "training.json", "curve.csv", "best.*", "last.*", "documents.parquet", "comparison.csv", "losses.csv")
        found = [path for kind in kinds for folder in (self.reports, self.data) for path in folder.rglob(kind)]
        timed = {"comparison.csv"}  # holds seconds
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in sorted(found) if path.name not in timed}

    def unfinished(self) -> list[str]:
        """What a killed writer left."""
        return [str(path) for folder in (self.reports, self.data) for path in folder.rglob("*.tmp")]


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "sources"
    for name in ("src", "workflow", "params"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "Snakefile", folder)
    (folder / "slurm").symlink_to("workflow/profiles/slurm")
    shutil.copy(HERE / "faults.yaml", folder / "params")
    return folder


@pytest.fixture(scope="session")
def whole(sources, tmp_path_factory) -> Project:
    """What comes of it when nothing goes wrong."""
    project = Project(Path(shutil.copytree(sources, tmp_path_factory.mktemp("whole") / "project", symlinks=True)))
    started = time.monotonic()
    status, told = project.run(*project.workflow())
    assert status == 0, told
    print(f"the whole run takes {time.monotonic() - started:.0f} s")
    return project


@pytest.fixture
def project(sources, tmp_path) -> Project:
    """Nothing made yet."""
    return Project(Path(shutil.copytree(sources, tmp_path / "project", symlinks=True)))


@pytest.fixture
def half(whole, project) -> Project:
    """Texts and token files are there, for trainings by themselves."""
    shutil.copytree(whole.data / "tokens", project.data / "tokens")
    return project


@pytest.fixture(scope="session")
def outcomes():
    """Counts of faults and what came of them; printed at the end."""
    counts: Counter[tuple[str, str]] = Counter()
    yield counts
    width = max((len(fault) for fault, _ in counts), default=0)
    print("\n" + "\n".join(f"{fault:<{width}}  {count:>4}  {outcome}" for (fault, outcome), count in sorted(counts.items())))
