"""A copy of the project with a workflow of seconds, and what tests do to it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
RUN = "pydocs/wavestack/tiny/base/seed0"


@dataclass(frozen=True)
class Project:
    """A copy of the project with a workflow of seconds."""

    folder: Path
    started: list[subprocess.Popen] = field(default_factory=list)

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
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**inherited, **found, **environment},
            stdout=self.told.open("w"),  # no pipe: what is left running would keep it open
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def stop(self) -> None:
        """Leave nothing of what was started at work, where a test ends early."""
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    @property
    def told(self) -> Path:
        """What the last command said."""
        return self.folder / "told.txt"

    def run(self, *command: str, **environment: str) -> tuple[int, str]:
        status = self.start(*command, **environment).wait(timeout=1800)
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
        kinds = ("metrics.json", "training.json", "curve.csv", "best.*", "last.*", "documents.parquet", "losses.csv")
        found = [path for kind in kinds for folder in (self.reports, self.data) for path in folder.rglob(kind)]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in sorted(found)}

    def trainings(self) -> list[psutil.Process]:
        """Those that are at work in the folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and process.cmdline()[1:3][-1:] == ["train"]:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def unfinished(self) -> list[str]:
        """What a killed writer left."""
        return [str(path) for folder in (self.reports, self.data) for path in folder.rglob("*.tmp")]


def until(condition, seconds: float = 120):
    """Wait for something; what it was."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"it did not happen in {seconds:.0f} s"
        time.sleep(0.1)
    return found
