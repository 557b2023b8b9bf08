from pathlib import Path

import pytest
from project import copy_of_the_project, snakemake


@pytest.fixture(scope="session")
def pristine(once) -> Path:
    """A project that ran once, from nothing to the report, and what Snakemake told of it in `told.txt` beside it; tests work on copies."""

    def make(folder: Path) -> None:
        done = snakemake(copy_of_the_project(folder / "project"), "--cores", "2")
        assert done.returncode == 0, done.stdout + done.stderr
        (folder / "told.txt").write_text(done.stdout + done.stderr)

    return once("two-cores", make) / "project"
