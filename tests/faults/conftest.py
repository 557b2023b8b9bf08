import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from victim import HERE, ROOT, Project


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
def whole(sources, once) -> Project:
    """What comes of it when nothing goes wrong."""

    def make(folder: Path) -> None:
        project = Project(Path(shutil.copytree(sources, folder / "project", symlinks=True)))
        started = time.monotonic()
        status, told = project.run(*project.workflow())
        assert status == 0, told
        print(f"the whole run takes {time.monotonic() - started:.0f} s")

    return Project(once("whole", make) / "project")


@pytest.fixture
def copied(tmp_path) -> Iterator[Callable[[Path], Project]]:
    """Makes projects that are copies of a folder; nothing of them is at work after the test."""
    projects = []

    def copy(folder: Path) -> Project:
        projects.append(Project(Path(shutil.copytree(folder, tmp_path / f"project{len(projects)}", symlinks=True))))
        return projects[-1]

    yield copy
    for project in projects:
        project.stop()


@pytest.fixture
def another(sources, copied) -> Callable[[], Project]:
    """Makes projects in which nothing is made yet."""
    return lambda: copied(sources)


@pytest.fixture
def untrained(whole, copied) -> Callable[[], Project]:
    """Makes projects in which all is made that comes before the training, and nothing that comes after it."""

    def make() -> Project:
        project = copied(whole.folder)
        for folder in (project.data / "runs", project.data / "measures", project.reports / "runs", project.reports / "studies"):
            shutil.rmtree(folder)
        for file in ("metrics.json", "losses.csv", "findings.json", "index.html"):
            (project.reports / file).unlink()
        return project

    return make


@pytest.fixture
def project(another) -> Project:
    return another()


@pytest.fixture
def half(whole, project) -> Project:
    """Texts and token files are there, for trainings by themselves."""
    shutil.copytree(whole.data / "tokens", project.data / "tokens")
    return project


@pytest.fixture
def outcomes(request):
    """Counts of faults and what came of them, for the table at the end of the tests."""
    counts: Counter[tuple[str, str]] = Counter()
    yield counts
    request.node.user_properties += [("fault", [*told, count]) for told, count in counts.items()]
