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
for _ in range(40):
    torch.ones(64, 2**18)  # 64 MiB, freed at once
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


def faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's own setting")
def test_freed_memory_is_not_faulted_in_again():
    """Nor at first: small blocks settle in the large one that was freed, and it takes some rounds until there is one to be used again."""
    pages = 64 * 2**20 // resource.getpagesize()  # of one block
    assert faults("given back") - faults("kept") > 20 * pages
