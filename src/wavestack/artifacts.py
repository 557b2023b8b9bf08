"""Writing results so that a reader sees the whole file or none of it, and reading them back."""

import csv
import errno
import fcntl
import hashlib
import io
import json
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp"  # how the names of files end that are being written


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """A private temporary name beside `path`; on success its content is flushed to disk and takes the place of `path`.

    The temporary file is this process's alone, so two writers never mix their lines; whoever renames last wins whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)  # mkstemp's 0600 would hide results from the rest of a group
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename durable: the name lives in the folder, not in the file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    with written_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> None:
    """Write JSON that is equal bit for bit when the content is; NaN and infinity are refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write rows under exactly these columns; floats in full precision."""
    import pandas  # takes as long to load as all else that a command needs before it starts

    frame = pandas.DataFrame([dict(row) for row in rows], columns=list(columns))
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))


def append_csv(path: str | Path, row: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Append a row to a table that only grows; writers at the same time, on whatever file system has locks, do not mix their lines.

    Raises:
        ValueError: the table has other columns.
    """
    import pandas

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed
        file.seek(0)
        before = file.read()
        found = next(csv.reader(io.StringIO(before.decode(), newline="")), None)
        if found not in (None, list(columns)):
            raise ValueError(f"{path} has other columns than {', '.join(columns)}; move it away")
        frame = pandas.DataFrame([dict(row)], columns=list(columns))
        line = frame.to_csv(index=False, header=found is None, lineterminator="\n").encode()
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(len(before))  # a full disk leaves no half row, to which the next one would be glued
            raise


@contextmanager
def held(path: str | Path, purpose: str) -> Iterator[None]:
    """Be the only process, on whatever machine the file system joins, that holds this lock file; it is let go by a process that dies, too.

    Args:
        path: of the lock file; whoever holds it may remove it.
        purpose: what it is held for, in words.

    Raises:
        ValueError: another process holds it, and which.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(f"{path} is held by {file.read().strip() or 'another process'}; wait for its end, or stop it") from None
        if not path.exists() or not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise ValueError(f"{path} was let go and removed while it was waited for; what it was held for is done, or can be tried again")
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}, {purpose}\n")
        file.flush()
        yield


def read_json(path: str | Path) -> Any:
    """Read JSON; ValueError naming the file where it is missing or broken."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; the step that writes it has not run") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error}); delete it and run the step that writes it again") from None


def sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
