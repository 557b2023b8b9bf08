"""The log of all openings of test splits: a table in git that only grows."""

from datetime import UTC, datetime
from pathlib import Path

import pandas

from wavestack.artifacts import append_csv

COLUMNS = ("opened", "profile", "run", "fingerprint", "commit")


def record(log: Path, profile: str, run: str, fingerprint: str, commit: str | None) -> None:
    """Add an opening.

    Args:
        fingerprint: of the model and of the code that trains and tests it.
    """
    opened = datetime.now(UTC).isoformat(timespec="seconds")
    append_csv(log, dict(zip(COLUMNS, (opened, profile, run, fingerprint, commit), strict=True)), COLUMNS)


def count(log: Path, corpus: str) -> tuple[int, int]:
    """How often the test split of a corpus was opened, and to how many models (of whatever code, parameters and seeds)."""
    if not log.is_file():
        return 0, 0
    rows = pandas.read_csv(log)
    of_corpus = rows[rows["run"].str.startswith(f"{corpus}/")]
    return len(of_corpus), len(of_corpus[["run", "fingerprint"]].drop_duplicates())
