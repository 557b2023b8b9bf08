"""The real Snakemake on a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNAKEMAKE = Path(sys.executable).parent / "snakemake"


def copy_of_the_project(folder: Path) -> Path:
    for name in ("Snakefile", "workflow", "src", "params"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    shutil.copy(ROOT / "tests" / "workflow" / "tiny.yaml", folder / "params")
    return folder


def under_git(project: Path) -> None:
    """The copy in a repository of its own, in which nothing is committed yet."""
    shutil.copy(ROOT / ".gitignore", project)
    git(project, "init")
    git(project, "config", "user.name", "Tests")
    git(project, "config", "user.email", "tests@example.org")


def commit(project: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--message", "results")


def git(project: Path, *command: str) -> None:
    subprocess.run(["git", *command], cwd=project, capture_output=True, check=True)


def environment(project: Path) -> dict[str, str]:
    """The copy's own package; and a PATH without this environment, since rules must find `wavestack` by themselves."""
    return {**os.environ, "PYTHONPATH": str(project / "src"), "PATH": "/usr/local/bin:/usr/bin:/bin"}


def snakemake(project: Path, *arguments: str, params: str = "params/tiny.yaml") -> subprocess.CompletedProcess:
    command = [SNAKEMAKE, *arguments, "--configfile", params]
    return subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=False)


def planned(project: Path, *arguments: str, params: str = "params/tiny.yaml") -> dict[str, set[str]]:
    """What a dry run would do: rule -> its messages."""
    done = snakemake(project, "--cores", "-n", *arguments, params=params)
    assert done.returncode == 0, done.stderr + done.stdout
    lines = re.findall(r"^(?:Job|localrule|rule) ?\d*:? ?(.*)$", done.stdout + done.stderr, re.MULTILINE)
    jobs: dict[str, set[str]] = {}
    for line in lines:
        rule, _, rest = line.partition(" ")
        jobs.setdefault(rule, set()).add(rest)
    return jobs


def metrics(project: Path) -> dict[str, bytes]:
    found = sorted((project / "reports" / "tiny").rglob("metrics.json"))
    return {str(path.relative_to(project)): path.read_bytes() for path in found}
