"""What else the machine did meanwhile: time that other processes took, or that a hypervisor gave to other machines."""

import os
import time

import psutil

IDLE = ("idle", "iowait", "guest", "guest_nice")  # a guest's time is in user's already


class OtherWork:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self.started, self.busy, self.own = time.perf_counter(), _busy(), _own()

    def cores(self) -> float:
        """How many cores it took on average; own processes count as own once they have ended."""
        elapsed = time.perf_counter() - self.started
        return max(0.0, (_busy() - self.busy) - (_own() - self.own)) / elapsed


def _busy() -> float:
    """Seconds of all cores."""
    return sum(seconds for kind, seconds in psutil.cpu_times()._asdict().items() if kind not in IDLE)


def _own() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system
