"""What other work took of the machine."""

import pytest

from wavestack.profiling import others


def test_what_this_process_took_itself_is_not_other_work(monkeypatch):
    """In 10 seconds all cores were busy for 14, of which 9 were this process's own."""
    clock = {"now": iter([100.0, 110.0]), "busy": iter([1000.0, 1014.0]), "own": iter([50.0, 59.0])}
    monkeypatch.setattr(others.time, "perf_counter", lambda: next(clock["now"]))
    monkeypatch.setattr(others, "_busy", lambda: next(clock["busy"]))
    monkeypatch.setattr(others, "_own", lambda: next(clock["own"]))
    assert others.OtherWork().cores() == pytest.approx(0.5)
