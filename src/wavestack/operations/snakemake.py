"""`snakemake`, with three things beside it: a bare `--cores`, files told by their bytes, and a word in the folder while it works there.

Snakemake's help says of `--cores N` that "if N is omitted or `all`, the limit is set to the number of available CPU cores", and its parser
(9.27 and all of 9) then refuses the omission: "expected one argument". This script, installed under the same name, fills it in.

A file that is newer than what was made of it, with the same bytes, is no reason to make that again, says Snakemake, and looks at the
bytes of files of up to 1 MB. Texts are larger, and copying, mounting or checking them out gives them new times: all trainings would be done
again.

Snakemake's lock does not say whose it is. So that `wavestack resume` on another machine of a cluster does not take away the lock of one
that lives, each leaves a file named by its machine and its process for as long as it is there.
"""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

BARE = ("--cores", "-c")
CHECKSUM = "--max-checksum-file-size"
DRIVERS = Path(".snakemake/drivers")


def with_all_cores(arguments: Sequence[str]) -> list[str]:
    """The arguments with `all` after a `--cores` that has no value."""
    filled: list[str] = []
    for position, argument in enumerate(arguments, start=1):
        filled.append(argument)
        if argument in BARE and (position == len(arguments) or arguments[position].startswith("-")):
            filled.append("all")
    return filled


def by_bytes(arguments: Sequence[str]) -> list[str]:
    """The arguments with files of any size compared by their bytes, unless they say up to which."""
    said = any(argument.partition("=")[0] == CHECKSUM for argument in arguments)
    return [*arguments] if said else [CHECKSUM, "1PB", *arguments]


@contextmanager
def announced() -> Iterator[None]:
    """A file for as long as this process is at work, where there is a workflow."""
    if not Path("Snakefile").is_file():
        yield
        return
    record = DRIVERS / f"{socket.gethostname()}.{os.getpid()}"
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    try:
        yield
    finally:
        record.unlink(missing_ok=True)


def others() -> list[str]:
    """Those that are at work in this folder beside this process, as far as can be seen from this machine."""
    found = []
    for record in sorted(DRIVERS.glob("*")):
        host, _, process = record.name.rpartition(".")
        if host != socket.gethostname():
            found.append(f"process {process} on {host}")
        elif int(process) != os.getpid() and psutil.pid_exists(int(process)):
            found.append(f"process {process}")
    return found


def main() -> None:
    """Snakemake's own command line, its arguments filled in; where it fails beside another one, that is said."""
    from snakemake.cli import main as snakemake_main

    with announced():
        try:
            snakemake_main(by_bytes(with_all_cores(sys.argv[1:])))
        except SystemExit as end:
            if end.code and (found := others()):
                print(
                    f"snakemake is at work in this folder, too ({', '.join(found)}): one at a time makes a profile's results; wait for "
                    "its end, or stop it. What is said above, of incomplete files or a lock, comes of that.",
                    file=sys.stderr,
                )
            raise
