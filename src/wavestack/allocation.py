"""Memory that is freed stays with the process, as a GPU's caching allocator keeps it.

glibc gives large blocks back to the system as soon as they are freed, and the next step of a training faults the same pages in again: a
seventh of its time.
"""

import ctypes
import sys

# Of malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
MAPPED_AT_MOST = 2**16  # blocks, by default
PAGE_OF_ITS_OWN = 2**16  # bytes, from which on a tensor is worth pages of its own


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for the rest of this process; whether it was told, which only glibc can be."""
    return _set((TRIM_THRESHOLD, 2**31 - 1), (MMAP_MAX, 0))


def free_at_once() -> bool:
    """The opposite: a large tensor has pages of its own, which go back to the system with it: no hole between tensors is counted."""
    return _set((MMAP_MAX, MAPPED_AT_MOST), (MMAP_THRESHOLD, PAGE_OF_ITS_OWN))


def give_back() -> None:
    """Give what is kept and free back to the system, once."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def _set(*options: tuple[int, int]) -> bool:
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(*option) == 1 for option in options)
