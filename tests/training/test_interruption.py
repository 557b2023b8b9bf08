"""Signals and deadlines between two steps; what is saved is as good as what was never stopped."""

import os
import signal

import pytest
import torch
from test_loop import TRAINING, run

from wavestack.training import interruption
from wavestack.training.checkpoint import Architecture, Checkpoints
from wavestack.training.interruption import MARGIN, Interrupted, Interruption, watching


@pytest.fixture
def architecture(wavestack, budget):
    return Architecture(wavestack, budget.model_copy(update={"tokens": 4 * 32 * 11}), 257)


class StopAt(Interruption):
    """Asks for a stop before the steps of these numbers of looks."""

    def __init__(self, *looks: int):
        super().__init__()
        self.looks, self.count = looks, -1

    def reason(self):
        self.count += 1
        return "asked to" if self.count in self.looks else None


@pytest.mark.parametrize("dropout", [None, 0.1])
@pytest.mark.parametrize("log_every", [1, 4])
def test_stopped_at_every_step_is_bitwise_the_same(architecture, tokens, tmp_path, dropout, log_every):
    """Losses, order of the data, optimiser, random states; and the mean of losses that a row of the curve tells."""
    training = TRAINING.model_copy(update={"dropout": dropout, "log_every": log_every})
    whole = run(architecture, tokens, tmp_path / "whole", training)
    told = []
    while True:
        try:
            stopped = run(architecture, tokens, tmp_path / "stopped", training, interruption=StopAt(1))
            break
        except Interrupted as stop:
            told.append(str(stop).partition(",")[0])
            torch.manual_seed(len(told))  # whatever the next process begins with
    assert told == [f"stopped at step {step} of 11" for step in range(1, 11)]
    assert stopped.progress.curve == whole.progress.curve
    assert (tmp_path / "stopped/curve.csv").read_bytes() == (tmp_path / "whole/curve.csv").read_bytes()
    for kind in ("last", "best"):
        for name, tensor in getattr(whole, kind).items():
            assert torch.equal(getattr(stopped, kind)[name], tensor), name


def test_a_stop_before_the_first_step_keeps_the_first_validation(architecture, tokens, tmp_path):
    with pytest.raises(Interrupted, match="step 0 of 11"):
        run(architecture, tokens, tmp_path, interruption=StopAt(0))
    assert Checkpoints(tmp_path / "c", "mark").newest() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_sets_a_flag_and_nothing_else(number):
    before = signal.getsignal(number)
    with watching(None) as stop:
        assert stop.reason() is None
        os.kill(os.getpid(), number)
        assert stop.reason() == f"{signal.Signals(number).name} was received"
    assert signal.getsignal(number) == before


def test_it_stops_before_a_step_that_might_not_end_in_time(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(interruption.time, "time", lambda: clock[0])
    stop = Interruption(deadline=1000 + MARGIN + 100)
    looks = []
    for _ in range(12):  # steps of 20 s each
        looks.append(stop.reason())
        clock[0] += 20
    assert looks[:4] == [None] * 4  # 60 s are over, and 40 are left before the margin: two steps
    assert looks[4] == f"{MARGIN + 20:.0f} s are left of its time, and a step takes up to 20 s"
