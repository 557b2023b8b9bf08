"""After a clone: heavy results fetched, checked byte by byte, and made known to Snakemake, so that nothing is made twice or is stale."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wavestack.operations.inventory import STAGES, results, take_away_stale
from wavestack.operations.stages import shortened, snakemake
from wavestack.params import Parameters


@dataclass(frozen=True)
class Stored:
    """A file that DVC stores, and the MD5 that dvc.lock has of it."""

    path: Path
    md5: str


def restore(parameters: Parameters, profile: Path, reports: Path, remote: str | None) -> list[str]:
    """Fetch a profile's heavy results, check them, and mark what is current as up to date.

    Results of other code or parameters are taken away, one light file each, so that Snakemake makes them again.

    Returns:
        The problems of the results that were taken away.

    Raises:
        ValueError: DVC or Snakemake fails, or a file is not what was stored.
    """
    stages = [f"{stage}@{parameters.name}" for stage in STAGES]
    locked = _locked(stages)
    _dvc("pull", *(["--remote", remote] if remote else []), *stages)
    check(locked)
    snakemake(profile, [], "--touch", "--forceall", "--quiet", "all")
    return take_away_stale(results(parameters, reports))


def check(locked: list[dict[str, Any]]) -> None:
    """Hash every file of these outputs.

    Raises:
        ValueError: some are missing or are not what was stored, with their names and what to do.
    """
    cache = Path(_dvc("cache", "dir").strip())
    wrong = [file for file in stored(locked, cache) if not file.path.is_file() or _md5(file.path) != file.md5]
    if wrong:
        objects = list(dict.fromkeys(str(_object(cache, file.md5)) for file in wrong))
        paths = [str(file.path) for file in wrong]
        raise ValueError(
            "\n".join(
                [
                    f"{len(wrong)} files are not what was stored:",
                    *shortened(paths, 20),
                    "delete them with what the cache has of them, and restore again; if that gives the same, the remote has them so:",
                    f"rm -f {' '.join(paths + objects)}",
                ]
            )
        )


def stored(locked: list[dict[str, Any]], cache: Path) -> Iterator[Stored]:
    """The files of outputs as dvc.lock lists them; those of a folder are listed by an object of the cache."""
    for output in locked:
        path, md5 = Path(output["path"]), output["md5"]
        if md5.endswith(".dir"):
            content = _object(cache, md5).read_bytes()
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5.removesuffix(".dir"):
                raise ValueError(
                    f"{_object(cache, md5)}, the list of what {path} holds, is not what was stored; delete it and restore again"
                )
            yield from (Stored(path / entry["relpath"], entry["md5"]) for entry in json.loads(content))
        else:
            yield Stored(path, md5)


def _locked(stages: list[str]) -> list[dict[str, Any]]:
    """The heavy outputs of stages, which git does not have.

    Raises:
        ValueError: dvc.lock does not have these stages, or is broken.
    """
    lock = Path("dvc.lock")
    try:
        known = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"] if lock.is_file() else {}
        missing = [stage for stage in stages if stage not in known]
        outputs = [output for stage in stages if stage in known for output in known[stage].get("outs", [])]
        heavy = [{"path": output["path"], "md5": output["md5"]} for output in outputs if output["path"].startswith("data/")]
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())
        raise ValueError(f"{lock} cannot be read ({said}); take the one of a commit: git checkout HEAD -- {lock}") from None
    if missing:
        makes = "`dvc repro` makes it, once `profiles` in dvc.yaml names it"
        raise ValueError(f"dvc.lock has no {', '.join(missing)}; nothing is stored of this profile, and {makes}")
    return heavy


def _object(cache: Path, md5: str) -> Path:
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _dvc(*arguments: str) -> str:
    """What DVC prints.

    Raises:
        ValueError: it fails, with its own message and what helps.
    """
    done = subprocess.run(["dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"`dvc {' '.join(arguments)}` failed:\n{(done.stderr or done.stdout).strip()}\n{_remedy(done.stderr)}")
    return done.stdout


def _remedy(message: str) -> str:
    """The one command that helps."""
    for sign, remedy in (
        ("unsaved files", "these were made here and are stored nowhere: keep them with dvc commit, or delete them and restore again"),
        ("no remote", "name one: dvc remote add --default NAME FOLDER-OR-URL"),
        ("acquire lock", "another DVC works here: wait for it; if there is none, rm -f .dvc/tmp/lock .dvc/tmp/rwlock"),
        ("Failed to pull", "the remote lacks some of it: dvc push, where it was made, or dvc repro, to make it here"),
        ("not a dvc repository", "go to the root of the checkout"),
    ):
        if sign.lower() in message.lower():
            return remedy
    return "look at the remote: dvc remote list"
