"""Memory that is freed stays with the process, as a GPU's caching allocator keeps it.

glibc gives large blocks back to the system as soon as they are freed, and the next step of a training faults the same pages in again: a
seventh of its time.
"""

import ctypes
import sys

# Of malloc.h
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4


def keep_freed_memory() -> bool:
    """Tell the C library to keep what is freed, for the rest of this process; whether it was told, which only glibc can be."""
    return set_options((TRIM_THRESHOLD, 2**31 - 1), (MMAP_MAX, 0))


def give_back() -> None:
    """Give what is kept and free back to the system, once."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def set_options(*options: tuple[int, int]) -> bool:
    """Of mallopt(3), each with its value, for the rest of this process; whether it took them."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(*option) == 1 for option in options)
