"""The heap of a process that takes turns with others: given back while they have theirs, and there again before its own.

And of one whose memory is looked at, which has no heap for its large tensors.

A training keeps the memory that it frees, and pays for its pages once. Where each call found them gone, it would spend a tenth of its time
on having them made again, which says nothing of the model.
"""

import ctypes
import sys
from pathlib import Path

import torch

from wavestack.allocation import MMAP_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD, give_back, set_options

MAPPED_AT_MOST = 2**16  # blocks, by default
PAGE_OF_ITS_OWN = 2**16  # bytes, from which on a tensor is worth pages of its own
NEVER = -1
BLOCK = 2**20  # bytes, at least, so that there are few
POPULATE_WRITE = 23  # MADV_POPULATE_WRITE of madvise(2): make the pages of a range, as a write to each would; since Linux 5.14


class Heap:
    """That of glibc in this process, which grows at its end. Where there is no such, nothing is done."""

    def __init__(self) -> None:
        self.end = 0  # the furthest that it reached
        if _range()[1]:
            set_options((TRIM_THRESHOLD, NEVER))  # other thresholds end at 2 GiB, and what is free beyond would be given back in a call

    def leave(self) -> None:
        """Give what is free in it back to the system."""
        self.end = max(self.end, _range()[1])
        give_back()

    def enter(self) -> None:
        """Have every page again that was there before it was left."""
        start, _ = _range()
        held, room = [], self.end - start  # fill what is free, until the heap grows; all is freed again, and stays part of it
        while (missing := self.end - _range()[1]) > 0 and room > 0:  # more than fits in: another allocator, or mapped memory, gives it
            held.append(torch.empty(max(missing, BLOCK), dtype=torch.uint8))
            room -= held[-1].nbytes
        start, end = _range()
        if end > start:  # what an older kernel refuses is paid for by the call
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), POPULATE_WRITE)


def free_at_once() -> bool:
    """A large tensor has pages of its own, which go back to the system with it, so that no hole between tensors is counted.

    Returns:
        Whether the C library was told so, which only glibc can be.
    """
    return set_options((MMAP_MAX, MAPPED_AT_MOST), (MMAP_THRESHOLD, PAGE_OF_ITS_OWN))


def _range() -> tuple[int, int]:
    """Where it begins and ends."""
    if sys.platform != "linux":
        return 0, 0
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    found = [int(address, 16) for line in lines if line.endswith("[heap]") for address in line.split()[0].split("-")]
    return min(found, default=0), max(found, default=0)
