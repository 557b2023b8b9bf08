from pathlib import Path

import pytest
from project import copy_of_the_project, snakemake


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    """A project that ran once, from nothing to the report; tests work on copies."""
    project = copy_of_the_project(tmp_path_factory.mktemp("two-cores") / "project")
    done = snakemake(project, "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return project
