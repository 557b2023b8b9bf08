"""Two at once: two drivers, two copies of a training, and a resume beside a living driver."""

import signal
import time
from base64 import urlsafe_b64encode
from pathlib import Path

import psutil
import pytest
from victim import until

LONG = ("--config", "budgets={tiny: {tokens: 15360000}}")  # a training of many minutes


def trainings(project) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(project.folder) and process.cmdline()[1:3][-1:] == ["train"]:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def at_work(project):
    """A driver in the middle of a long training; nothing of it is left afterwards."""
    driver = project.start(*project.workflow(*LONG))
    (training,) = until(lambda: [p for p in trainings(project) if (project.data / "runs").is_dir()])
    until(lambda: list(project.data.rglob("step*.json")))
    yield driver, training
    for process in (psutil.Process(driver.pid) if driver.poll() is None else None, training):
        if process is not None and process.is_running():
            process.kill()
    driver.wait()


def test_the_second_of_two_at_once_is_refused_at_once(project, at_work, outcomes):
    driver, training = at_work
    status, told = project.run(*project.workflow(*LONG))
    assert status == 1
    assert f"snakemake is at work in this folder, too (process {driver.pid})" in told
    status, told = project.run(*project.workflow("--rerun-incomplete", *LONG))
    assert status == 1
    assert "Directory cannot be locked" in told
    outcomes["two drivers at once", "the second is refused"] += 1

    status, told = project.resume()
    assert status == 1
    assert f"snakemake is at work in this folder (process {driver.pid})" in told
    outcomes["resume beside a living driver", "refused"] += 1

    again = training.cmdline()[2:]
    status, told = project.run("wavestack", *again, WAVESTACK_SET=training.environ()["WAVESTACK_SET"])
    assert status == 1
    assert f"is held by process {training.pid} on" in told
    outcomes["two copies of a training at once", "the second is refused"] += 1
    assert training.is_running()


def test_sigterm_saves_within_half_a_minute_and_resume_goes_on(project, at_work, outcomes):
    """The driver is gone; its training is told to stop, saves between two checkpoints of its own, and leaves with the status for it."""
    driver, training = at_work
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    began = time.monotonic()
    training.terminate()
    psutil.wait_procs([training], timeout=30)
    assert not training.is_running()
    assert time.monotonic() - began < 30
    (log,) = project.folder.glob("logs/faults/train/pydocs/wavestack/tiny/base/*.log")
    last = log.read_text().strip().splitlines()[-1]
    assert "which is saved: SIGTERM was received; the same command goes on from there" in last
    step = int(last.split("step ")[1].split()[0])
    assert max(int(Path(path).stem.removeprefix("step")) for path in project.data.rglob("step*.json")) == step
    outcomes["SIGTERM to a training", "saved within 30 s"] += 1


@pytest.mark.nightly
def test_resume_takes_the_values_that_were_laid_over_the_profile(project):
    """As --set spells them, or as Snakemake does."""
    laid = ("--config", "budgets={tiny: {tokens: 12800}}", "training={log_every: 10}")
    status, told = project.run(*project.workflow(*laid, "--until", "train"))
    assert status == 0, told
    trained = project.results()
    status, told = project.resume("--set", "budgets.tiny.tokens=12800", "--set", "training.log_every=10")
    assert status == 0, told
    assert {name: content for name, content in project.results().items() if name in trained} == trained
    assert "train pydocs" not in told  # it was there


@pytest.mark.nightly
def test_a_stage_of_dvc_makes_again_what_was_left_half_done(whole, untrained):
    """Which `snakemake` by itself refuses to go on from. Its record of it is a file named by the result's name."""
    project = untrained()
    left = project.reports.joinpath("tokens/pydocs/manifest.json").relative_to(project.folder)
    project.folder.joinpath(".snakemake/incomplete", urlsafe_b64encode(str(left).encode()).decode()).write_text("{}")
    status, told = project.run(*project.workflow())
    assert (status, str(left) in told) == (1, True), told
    status, told = project.run("wavestack", "reproduce", "report", "--params", "params/faults.yaml")
    assert status == 0, told
    assert project.results() == whole.results()


@pytest.mark.nightly
@pytest.mark.parametrize("waiting", [False, True])
def test_a_training_that_lives_on_is_stopped_or_waited_for(whole, project, outcomes, waiting):
    driver = project.start(*project.workflow())
    until(lambda: trainings(project))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    status, told = project.resume(*(["--wait"] if waiting else []))
    assert status == 0, told
    assert f"{'waited for' if waiting else 'stopped'}, left by a workflow that is gone" in told
    assert project.results() == whole.results()
    outcomes["SIGKILL of the driver, its training lives on", f"{'waited for' if waiting else 'stopped'}, the same bytes"] += 1


def test_a_driver_of_another_machine_is_not_thought_dead(project):
    record = project.folder / ".snakemake/drivers/elsewhere.123"
    record.parent.mkdir(parents=True)
    record.touch()
    status, told = project.resume()
    assert status == 1
    assert "snakemake was started here on elsewhere (process 123)" in told
    assert "rm '.snakemake/drivers/elsewhere.123'" in told
