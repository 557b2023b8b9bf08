"""The results of one version of the project, for the gate: in a folder, or at a revision in git."""

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas


class Version:
    """A profile's light results in a folder, its `reports/<profile>`."""

    def __init__(self, reports: Path):
        self.reports = reports

    def __str__(self) -> str:
        return str(self.reports)

    def read(self, file: str) -> str | None:
        """The content of a file below the reports; None where there is none."""
        path = self.reports / file
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def metrics(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """The content of `metrics.json`.

        Raises:
            ValueError: there is none, or it is broken.
        """
        content = self._json("metrics.json")
        if content is None:
            raise ValueError(
                f"{self}: there is no metrics.json; it is written by `snakemake --cores`, and in git for profiles that are gated"
            )
        levels = [content, *content.values()] if isinstance(content, dict) else [None]
        levels += [model for corpus in levels[1:] if isinstance(corpus, dict) for model in corpus.values()]
        if not all(isinstance(level, dict) for level in levels):
            raise ValueError(
                f"{self}: metrics.json is not {{corpus: {{model: {{measure: value}}}}}}; write it anew with `snakemake --cores`"
            )
        return content

    def losses(self) -> pandas.DataFrame | None:
        """`losses.csv`; None where there is none."""
        text = self.read("losses.csv")
        return None if text is None else pandas.read_csv(io.StringIO(text))

    def text(self, corpus: str) -> Mapping[str, Any] | None:
        """What pins a corpus and its tokenizer; None where that is not known."""
        manifest = self._json(f"tokens/{corpus}/manifest.json")
        if manifest is None:
            return None
        splits = {f"{split} split": manifest["splits"][split]["sha256"] for split in ("train", "valid")}
        tokenizer = manifest["tokenizer"]
        return {"tokenizer": tokenizer.get("sha256") or tokenizer["kind"], "vocabulary": manifest["vocabulary"], **splits}

    def _json(self, file: str) -> Any:
        text = self.read(file)
        try:
            return None if text is None else json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"{self}: {file} is no JSON ({error}); write it anew with `snakemake --cores`") from None


class Revision(Version):
    """A profile's light results as git has them at a revision."""

    def __init__(self, revision: str, reports: Path):
        try:
            super().__init__(reports.relative_to(Path.cwd()) if reports.is_absolute() else reports)
        except ValueError:
            raise ValueError(f"{reports} is not in {Path.cwd()}, whose revisions git has; run this in the folder that has it") from None
        self.revision = revision
        found = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        if found is None:
            raise ValueError(f"'{revision}' is neither a file nor a revision in git; name one of these")
        self.commit = found.strip()

    def __str__(self) -> str:
        return f"{self.reports} at {self.revision}"

    def read(self, file: str) -> str | None:
        return _git("show", f"{self.commit}:./{(self.reports / file).as_posix()}")


def version(name: str, reports: Path) -> Version:
    """The version that a name means: a `metrics.json`, the folder that it is in, or a revision in git of `reports`.

    Raises:
        ValueError: it is none of them, or `reports` itself, which would be held against itself.
    """
    path = Path(name)
    if not path.exists():
        return Revision(name, reports)
    if path.is_file() and path.name != "metrics.json":
        raise ValueError(f"{path} is no metrics.json; name that of another version, with losses.csv beside it, or a revision in git")
    folder = path.parent if path.is_file() else path
    if folder.resolve() == reports.resolve():
        raise ValueError(f"{name} is what is judged, and no baseline; name another version's folder, or a revision in git")
    return Version(folder)


def _git(*arguments: str) -> str | None:
    """What git says; None where it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None
