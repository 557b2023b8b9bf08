"""`snakemake` with a bare `--cores`.

Snakemake's help says of `--cores N` that "if N is omitted or `all`, the limit is set to the number of available CPU cores", and its parser
(9.27 and all of 9) then refuses the omission: "expected one argument". This script, installed under the same name, fills it in.
"""

import sys
from collections.abc import Sequence

BARE = ("--cores", "-c")


def with_all_cores(arguments: Sequence[str]) -> list[str]:
    """The arguments with `all` after a `--cores` that has no value."""
    filled: list[str] = []
    for position, argument in enumerate(arguments, start=1):
        filled.append(argument)
        if argument in BARE and (position == len(arguments) or arguments[position].startswith("-")):
            filled.append("all")
    return filled


def main() -> None:
    """Snakemake's own command line, its arguments filled in."""
    from snakemake.cli import main as snakemake_main

    sys.exit(snakemake_main(with_all_cores(sys.argv[1:])))
