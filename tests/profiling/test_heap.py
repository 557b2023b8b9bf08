"""Memory of a process that waits goes back to the system, and is there again, page for page, before the process goes on."""

import subprocess
import sys
from unittest.mock import Mock

import pytest
import torch

from wavestack.profiling.heap import BLOCK, Heap

PROGRAM = """
import resource
import torch
from wavestack.allocation import keep_freed_memory
from wavestack.profiling.heap import Heap

def taken():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS:")) // 1024  # MiB

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def call():
    before = faults()
    parts = [torch.ones(2**20) for _ in range(int(SIZE))]  # 4 MiB each
    return faults() - before

keep_freed_memory()
heap = Heap()
for _ in range(4):  # until it grows no more
    again = call()
print(again)
warm = taken()
heap.leave()
print(warm - taken())
if ENTER:
    heap.enter()
print(warm - taken())
print(call())
"""


def run(size: int, enter: bool) -> list[int]:
    program = PROGRAM.replace("SIZE", str(size)).replace("ENTER", str(enter))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(sys.platform != "linux", reason="the heap is that of Linux")
# 100 MiB, and more than the 2 GiB that a threshold of glibc can name
@pytest.mark.parametrize("size", [25, pytest.param(560, marks=pytest.mark.nightly)])
def test_pages_are_given_back_and_made_again_before_a_call(size):
    again, given, missing, after = run(size, enter=True)
    pages = size * 1024  # of 4 KiB
    assert again < 0.05 * pages
    assert given > 3.5 * size
    assert missing < 0.4 * size
    assert after < 0.05 * pages
    assert run(size, enter=False)[3] > 0.9 * pages


def test_memory_that_comes_from_elsewhere_is_not_asked_for_without_end(monkeypatch):
    """Where another allocator is at work, no block makes the heap grow."""
    heap = Heap()
    heap.end = 100 * BLOCK
    monkeypatch.setattr("wavestack.profiling.heap._range", lambda: (0, 98 * BLOCK))
    monkeypatch.setattr("wavestack.profiling.heap.ctypes.CDLL", lambda _: Mock())
    empty = Mock(return_value=torch.zeros(2 * BLOCK, dtype=torch.uint8))
    monkeypatch.setattr("wavestack.profiling.heap.torch.empty", empty)
    heap.enter()
    assert empty.call_count == 50  # of two blocks each, as many as the heap had
