"""Memory that is freed stays with the process, as a GPU's caching allocator keeps it.

glibc gives large blocks back to the system as soon as they are freed, and the next step of a training faults the same pages in again: a
seventh of its time.
"""

import ctypes
import sys

# Of malloc.h
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for the rest of this process; whether it was told, which only glibc can be."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(TRIM_THRESHOLD, 2**31 - 1) and mallopt(MMAP_MAX, 0))
