"""What the machine has to give: FLOPs a second of a large matrix product, and memory."""

import subprocess
import sys
import time
from collections.abc import Iterator
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


def matrix_peak_alone(device: str, precision: str, threads: int, timeout: float) -> float | None:
    """`matrix_peak` of a fresh process, which leaves nothing on the device; None where it fails, or takes more than `timeout` seconds."""
    command = [sys.executable, "-m", "wavestack.profiling.peak", device, precision, str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return float(done.stdout)


def available_memory(system: Path = Path("/")) -> int | None:
    """Bytes that a process may still take, where the system says so: of the machine, and of the job or container that it is in.

    Args:
        system: where its `proc` and `sys` are.
    """
    try:
        lines = (system / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return None
    machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return min([machine, *_left_to_groups(system)])


def _left_to_groups(system: Path) -> Iterator[int]:
    """Bytes that each of this process's control groups may still take, beside what it keeps of files; of either version (cgroups(7))."""
    root = system / "sys/fs/cgroup"
    for line in (system / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top, most, taken, files = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, most, taken, files = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(top):
                break
            if not (folder / taken).is_file():  # a container's own group is mounted at the top, under a path that is the machine's
                continue
            limit = (folder / most).read_text().strip()
            if limit != "max":
                statistics = dict(row.split() for row in (folder / "memory.stat").read_text().splitlines())
                yield int(limit) - int((folder / taken).read_text()) + int(statistics.get(files, 0))


if __name__ == "__main__":
    sys.stdout.write(f"{matrix_peak(sys.argv[1], sys.argv[2], int(sys.argv[3]))}\n")
