"""A training that is asked to stop, or whose time runs out: it saves where it stands and leaves with a status that means "resume me".

The handler of a signal only sets a flag, and the loop looks at it between two steps: saving inside of a handler hangs now and then, since
it may interrupt anything.
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

RESUME = 75  # exit status; EX_TEMPFAIL of sysexits.h: try again
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
MARGIN = 30.0  # seconds before the end of its time at which a training has saved


class Interrupted(Exception):
    """A training stopped before its end and has saved where it stands."""


class Interruption:
    """Whether a training should stop now, and why.

    Attributes:
        deadline: in seconds since the epoch, when whoever gave the time takes it back; None for never.
        signal: the name of the signal that came, if one did.
    """

    def __init__(self, deadline: float | None = None):
        self.deadline = deadline
        self.signal: str | None = None
        self._last = time.time()
        self._longest = 0.0

    def receive(self, number: int, frame: object) -> None:
        self.signal = signal.Signals(number).name

    def reason(self) -> str | None:
        """Why to stop now; None to go on. Called between steps, it stops before one that may not come to its end in time."""
        now = time.time()
        self._longest, self._last = max(self._longest, now - self._last), now
        if self.signal:
            return f"{self.signal} was received"
        if self.deadline is not None and now + 2 * self._longest + MARGIN > self.deadline:
            return f"{max(0.0, self.deadline - now):.0f} s are left of its time, and a step takes up to {self._longest:.0f} s"
        return None


@contextmanager
def watching(deadline: float | None) -> Iterator[Interruption]:
    """Look out for signals, and for the end of the time, in seconds since the epoch."""
    interruption = Interruption(deadline)
    before = {number: signal.signal(number, interruption.receive) for number in SIGNALS}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
