"""SIGKILL in every phase of a training, of the training and of the driver above it: the same bytes in the end."""

import random
import shutil
import signal
import time

import psutil
import pytest
from victim import RUN

PHASES = {"computing": 100, "validating": 11, "writing": 12, "renaming": 30}  # how often a training enters them
SEED = random.randrange(10**6)


def drawn(kills: int, phases=tuple(PHASES)) -> list[tuple[str, int]]:
    """Moments, each phase equally often."""
    draw = random.Random(SEED)
    return [(phase, draw.randint(1, PHASES[phase])) for _, phase in zip(range(kills), phases * kills, strict=False)]


def kill_a_training(whole, half, outcomes, phase: str, count: int) -> None:
    fault = {"FAULT": f"{phase} {count} training", "FAULT_DONE": str(half.folder / "killed")}
    status, told = half.run(*half.training(), **fault)
    assert status == -signal.SIGKILL, f"{phase} {count}, seed {SEED}: {told}"
    status, told = half.run(*half.training())
    assert status == 0, told
    for name in ("best.safetensors", "best.json", "last.safetensors", "last.json"):
        assert (half.folder / "alone/data" / name).read_bytes() == (whole.data / "runs" / RUN / name).read_bytes(), (phase, count, SEED)
    for name in ("training.json", "curve.csv"):
        assert (half.folder / "alone/reports" / name).read_bytes() == (whole.reports / "runs" / RUN / name).read_bytes(), (phase, count)
    outcomes[f"SIGKILL of a training, {phase}", "the same bytes"] += 1
    shutil.rmtree(half.folder / "alone")
    (half.folder / "killed").unlink()


def kill_the_driver(whole, project, outcomes, phase: str, count: int) -> None:
    """The training lives on, and `resume` finds it."""
    fault = {"FAULT": f"{phase} {count} driver", "FAULT_DONE": str(project.folder / "killed")}
    status, told = project.run(*project.workflow(), **fault)
    assert status == -signal.SIGKILL, f"{phase} {count}, seed {SEED}: {told}"
    status, told = project.resume()
    assert status == 0, told
    assert project.results() == whole.results(), (phase, count, SEED)
    assert project.unfinished() == []
    outcomes[f"SIGKILL of the driver, {phase}", "the same bytes"] += 1


@pytest.mark.parametrize("phase", ["writing", *(pytest.param(phase, marks=pytest.mark.nightly) for phase in PHASES if phase != "writing")])
def test_a_training_killed_in_each_phase(whole, half, outcomes, phase):
    kill_a_training(whole, half, outcomes, *drawn(1, (phase,))[0])


@pytest.mark.nightly
def test_a_training_killed_at_twenty_steps(whole, half, outcomes):
    for phase, count in drawn(20, ("computing",)):
        kill_a_training(whole, half, outcomes, phase, count)


@pytest.mark.nightly
def test_the_driver_killed_over_a_training_that_lives_on(whole, untrained, outcomes):
    kill_the_driver(whole, untrained(), outcomes, *drawn(1, ("computing",))[0])


@pytest.mark.nightly
def test_the_driver_killed_thirty_times_in_the_phases_of_a_training(whole, untrained, outcomes):
    for phase, count in drawn(30):
        project = untrained()
        kill_the_driver(whole, project, outcomes, phase, count)
        shutil.rmtree(project.folder)


@pytest.mark.nightly
def test_the_driver_killed_twenty_times_at_any_moment(whole, another, outcomes):
    """From its start to its end; with all that it started, every other time."""
    draw, began = random.Random(SEED), time.monotonic()
    timed = another()
    status, told = timed.run(*timed.workflow())
    assert status == 0, told
    seconds = time.monotonic() - began
    for number in range(20):
        project = another()
        driver = project.start(*project.workflow())
        time.sleep(draw.uniform(0.5, seconds))
        started = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        verbs = {word for process in started for word in _words(process)} & {"corpus", "tokens", "contract", "budget", "train", "evaluate"}
        driver.kill()
        if number % 2:
            for process in started:
                process.kill()
        driver.wait()
        status, told = project.resume()
        assert status == 0, told
        assert project.results() == whole.results(), (number, SEED)
        assert project.unfinished() == []
        left = "with all its jobs" if number % 2 else "its jobs live on"
        outcomes[f"SIGKILL of the driver, {left}, at {' and '.join(sorted(verbs)) or 'work of its own'}", "the same bytes"] += 1
        shutil.rmtree(project.folder)


def _words(process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []
