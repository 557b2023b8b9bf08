"""What the machine has to give: FLOPs a second of a large matrix product, and memory."""

import time
from pathlib import Path
from statistics import median

import torch

SIZE = {"cpu": 2048, "cuda": 8192}  # of square matrices: large enough that larger ones are no faster
REPEATS = 7


def matrix_peak(device: str, precision: str, threads: int) -> float:
    """FLOPs a second of a product of square matrices, the median of several; what shares of a peak are of."""
    size, dtype = SIZE[device], getattr(torch, precision)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        seconds = []
        for _ in range(REPEATS + 1):  # the first one warms up
            started = time.perf_counter()
            torch.mm(a, b, out=out)
            if device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    return 2 * size**3 / median(seconds[1:])


def available_memory() -> int | None:
    """Bytes that a process may still take, where the system says so."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return None
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
