"""A process that measures one model, from the outside: it is asked, and answers, fails, or comes too late."""

import json
import selectors
import subprocess
import sys
import time
from tempfile import TemporaryFile
from typing import Any, Self

from wavestack.profiling.process import Request, lacks_memory

KILLED = -9  # what the kernel does to a process that takes too much


class Worker:
    """One fresh process. Whatever goes wrong with it becomes its status and its reason, and it is asked no more.

    Args:
        timeout: seconds that it may take for all of its answers together.

    Attributes:
        status: ok, out_of_memory, timeout, refused or failed.
        facts: what it told of itself.
    """

    def __init__(self, request: Request, timeout: float):
        self.timeout = self.left = timeout
        self.status = "ok"
        self.reason: str | None = None
        command = [sys.executable, "-m", "wavestack.profiling.process", request.to_json()]
        # open for as long as the process; not a pipe, which would fill
        self.said = TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True)
        self.facts = self._answer()

    def ask(self, word: str) -> dict[str, Any]:
        """Its answer, or nothing where it has failed."""
        assert self.process.stdin is not None
        if self.status != "ok":
            return {}
        try:
            self.process.stdin.write(f"{word}\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it is gone, and says why below
            pass
        return self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """What is still running has nothing to save."""
        self.process.kill()
        self.process.communicate()
        self.said.close()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            asked = time.monotonic()
            if not selector.select(max(0.0, self.left)):
                self.process.kill()
                return self._failed("timeout", f"not done after {self.timeout:g} s")
            self.left -= time.monotonic() - asked
        line = self.process.stdout.readline()
        if not line:
            if self.process.wait() == KILLED:
                return self._failed("out_of_memory", "killed, as the system does where memory is short")
            self.said.seek(0)
            said = self.said.read().strip()
            last = (said.splitlines() or [f"exit status {self.process.returncode}"])[-1].strip()
            return self._failed("out_of_memory" if lacks_memory(said) else "failed", last)
        content = json.loads(line)
        if content.get("status", "ok") != "ok":
            return self._failed(content["status"], content["reason"])
        return content

    def _failed(self, status: str, reason: str) -> dict[str, Any]:
        self.status, self.reason = status, reason
        return {}
