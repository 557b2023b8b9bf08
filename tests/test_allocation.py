"""That freed memory is used again without asking the system for it."""

import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from wavestack.allocation import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
for _ in range(12):
    torch.ones(64, 2**18)  # 64 MiB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's own setting")
def test_freed_memory_is_not_faulted_in_again():
    """Half of what is given back and asked for again, at most: small blocks may settle in a large freed one, and another must be found."""
    pages = 64 * 2**20 // resource.getpagesize()
    saved = faults("given back") - faults("kept")
    assert saved > 6 * pages
