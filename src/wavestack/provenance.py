"""What made a result: the code and the parameters as one fingerprint, and commit, inputs, versions, machine, seconds and memory.

The fingerprint decides whether a result is current. It covers the syntax trees of every module that a step runs, without comments and
docstrings, and the parameters that the step reads. It does not cover versions or the machine: those are recorded, not compared.
"""

import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from wavestack.artifacts import sha256, write_json

PACKAGE = Path(__file__).parent
# Modules that change no number. Parameters count by their values and registry entries by what they name.
PLUMBING = {
    "wavestack",
    *(f"wavestack.{name}" for name in ("allocation", "artifacts", "cli", "provenance", "registry", "steps")),
    *(f"wavestack.{name}" for name in ("params", "reading", "schema", "telling", "variants")),
}
VERSIONED = ("torch", "numpy", "tokenizers", "datasets", "PyWavelets", "snakemake")


def fingerprint(settings: Mapping[str, Any], entries: Iterable[str]) -> str:
    """One hash of the parameters a step reads and of the code it runs.

    Args:
        settings: what the step reads, as JSON types.
        entries: `module` or `module:Class` strings; the modules that they import are followed.
    """
    content = {"settings": settings, "entries": sorted(entries), "code": code_fingerprint(entries)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def code_fingerprint(entries: Iterable[str]) -> str:
    """A hash of the syntax trees of these modules and of all modules of the package that they import.

    With a user's own module count those that it imports from the working directory.

    Raises:
        ValueError: a module has no source.
    """
    found: set[str] = set()
    waiting = [entry.partition(":")[0] for entry in entries]
    while waiting:
        module = waiting.pop()
        if module not in found and module not in PLUMBING:
            found.add(module)
            waiting += _module(module)[1]
    digest = hashlib.sha256()
    for module in sorted(found):
        digest.update(f"{module}\n{_module(module)[0]}\n".encode())
    return digest.hexdigest()[:16]


@cache
def _module(name: str) -> tuple[str, tuple[str, ...]]:
    """A module's code without comments and docstrings, and the modules that count with it."""
    file = _file(name)
    if file is None:
        raise ValueError(f"module '{name}' has no Python source, by which a change of it would be seen")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # `from wavestack.lanes import projection` names a module, `from wavestack.lanes.lane import Lane` a class in one
            origin = _origin(node, name, file)
            imported |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
                node.body = body[1:] or [ast.Pass()]
    return ast.unparse(tree), tuple(sorted(module for module in imported if _counts(module, name)))


def _origin(node: ast.ImportFrom, importer: str, file: Path) -> str:
    """The module that names are imported from, spelt out where dots stand for a part of it."""
    if node.level == 0:
        return node.module or ""
    package = importer.split(".") if file.name == "__init__.py" else importer.split(".")[:-1]
    return ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])


def _counts(module: str, importer: str) -> bool:
    """Whether a module counts with one that imports it: of the package all do, and of a user's own what is not installed."""
    file = _file(module)
    if file is None or _of_the_package(module):
        return file is not None
    return not _of_the_package(importer) and file.is_relative_to(Path.cwd()) and "site-packages" not in file.parts


def _of_the_package(module: str) -> bool:
    return module.partition(".")[0] == "wavestack"


def _file(module: str) -> Path | None:
    """A module's source; None where it has none. A user's own module is looked for as `registry.load` does."""
    first, *rest = module.split(".")
    roots = [PACKAGE] if _of_the_package(module) else [Path.cwd() / folder / first for folder in (*sys.path, "")]
    for path in (root.joinpath(*rest) for root in roots):
        for file in (path / "__init__.py", path.with_name(f"{path.name}.py")):
            if file.is_file():
                return file
    return None


@contextmanager
def recorded(
    folder: str | Path, name: str, settings: Mapping[str, Any], mark: str, inputs: Iterable[str | Path], outputs: Iterable[str | Path] = ()
) -> Iterator[dict]:
    """Time a step and, when it succeeds, write `<name>.provenance.json` and `<name>.timing.json` into `folder`.

    Args:
        folder: where the step's light results stand.
        name: of the step.
        settings: the parameters that the step read.
        mark: the step's fingerprint.
        inputs: small files that pin what went in (manifests, not the data).
        outputs: small files that pin what came out and is not in git, such as a checkpoint's.

    Yields:
        A dict to which the step adds its own timings (tokens per second, ...).
    """
    timing: dict[str, Any] = {}
    # of now, and not of when it is done: meanwhile somebody may commit, edit, or make an input again
    made, hashes = commit(), {str(path): sha256(path) for path in inputs if Path(path).is_file()}
    started = time.perf_counter()
    yield timing
    timing["seconds"] = round(time.perf_counter() - started, 3)
    timing["peak_memory_bytes"] = peak_memory()
    folder = Path(folder)
    write_json(folder / f"{name}.timing.json", timing)
    write_json(
        folder / f"{name}.provenance.json",
        {
            "command": _command(),
            "settings": settings,
            "fingerprint": mark,
            "inputs": hashes,
            "outputs": {str(path): sha256(path) for path in outputs if Path(path).is_file()},
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            **made,
            **machine(),
        },
    )


def _command() -> str:
    """The command that made this, as it can be typed again: what the workflow left in the environment is spelt out."""
    laid_over = os.environ.get("WAVESTACK_SET", "").splitlines() if "--set" not in sys.argv else []
    return shlex.join(["wavestack", *sys.argv[1:], *(word for item in laid_over for word in ("--set", item))])


def machine() -> dict[str, Any]:
    """Versions and hardware, for the record."""
    versions = {"python": platform.python_version()}
    versions |= {name: version for name in VERSIONED if (version := _version(name))}
    return {
        "versions": versions,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": os.cpu_count(),
            "accelerator": _accelerator(),
        },
    }


def _version(name: str) -> str | None:
    """None where it is not installed: a training on a bare GPU machine, say, needs no Snakemake."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def peak_memory() -> int:
    """High-water mark of this process's resident memory, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def _accelerator() -> str | None:
    torch = sys.modules.get("torch")  # a step that did not need torch does not start it for this
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None


def commit() -> dict[str, Any]:
    """The commit, and whether code or parameters differ from it. Results (`reports/`) are written while running and do not count.

    Modules of a user's own count wherever they stand.
    """
    sources = ["Snakefile", "workflow", "src", "params", "pyproject.toml", ":(glob)**/*.py", ":(exclude)tests", ":(exclude)benchmarks"]
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        status = subprocess.run(["git", "status", "--porcelain", "--", *sources], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}  # not a git checkout
    return {"commit": commit, "dirty": bool(status.stdout.strip())}
