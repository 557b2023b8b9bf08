"""Two at once: two drivers, two copies of a training, and a resume beside a living driver."""

import signal
import socket
import subprocess
import time
from base64 import urlsafe_b64encode

import psutil
import pytest
from victim import RUN, until

from wavestack.artifacts import held
from wavestack.training.checkpoint import load
from wavestack.training.interruption import RESUME

LONG = ("--config", "budgets={tiny: {tokens: 15360000}}")  # a training of many minutes


@pytest.fixture
def at_work(project):
    """A driver in the middle of a long training; nothing of it is left afterwards."""
    driver = project.start(*project.workflow(*LONG))
    (training,) = until(lambda: [p for p in project.trainings() if (project.data / "runs").is_dir()])
    until(lambda: list(project.data.rglob("step*.json")))
    yield driver, training
    for process in (psutil.Process(driver.pid) if driver.poll() is None else None, training):
        if process is not None and process.is_running():
            process.kill()
    driver.wait()


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_sigterm_saves_within_half_a_minute(project, at_work, outcomes):
    """The driver is gone; its training is told to stop, and saves where it stands, between two checkpoints of its own."""
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
    newest = max(project.data.rglob("step*.json"))
    assert load(newest.with_suffix(""))[1]["progress"]["step"] == step
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


def test_a_training_out_of_time_leaves_with_the_status_that_means_resume_me(whole, half, outcomes):
    status, told = half.run(*half.training("alone", "--minutes", "0.5"))
    assert status == RESUME == 75
    assert "which is saved" in told
    status, told = half.run(*half.training())
    assert (status, "resumed at step 0" in told) == (0, True), told
    assert (half.folder / "alone/data/last.safetensors").read_bytes() == (whole.data / "runs" / RUN / "last.safetensors").read_bytes()
    assert not (half.folder / "alone/data/checkpoints").exists()
    outcomes["a training out of its time", "status 75, then the same bytes"] += 1


@pytest.mark.nightly
@pytest.mark.parametrize("what", ["stopped", "waited for", "finished"])
def test_a_training_that_lives_on_is_stopped_or_waited_for_and_not_made_twice(whole, project, outcomes, what):
    driver = project.start(*project.workflow())
    until(project.trainings)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    if what == "finished":
        until(lambda: not project.trainings())
    status, told = project.resume(*(["--wait"] if what == "waited for" else []))
    assert status == 0, told
    assert (f"{what}, left by a workflow that is gone" in told) == (what != "finished")
    assert (f"train {RUN}" in told) == (what == "stopped")
    assert project.results() == whole.results()
    status, told = project.run(*project.workflow())
    assert (status, "Nothing to be done" in told) == (0, True), told
    outcomes["SIGKILL of the driver, its training lives on", f"{what}, the same bytes"] += 1


@pytest.mark.nightly
def test_two_processes_of_one_training_save_at_a_signal(project, outcomes):
    """As the workflow starts them, with torchrun, which ends all of them once the first one leaves."""
    laid = (*LONG, "training={processes: 2}")
    driver = project.start(*project.workflow(*laid, "--until", "train"))
    (both,) = until(lambda: [found for found in [project.trainings()] if len(found) == 2])
    until(lambda: list(project.data.rglob("step*.json")))
    for training in both:
        training.terminate()
    assert driver.wait(timeout=120) != 0
    told = (project.folder / "logs/faults/train" / f"{RUN}.log").read_text()
    assert "which is saved: SIGTERM was received" in told
    step = int(told.split("stopped at step ")[1].split()[0])
    assert load(max(project.data.rglob("step*.json")).with_suffix(""))[1]["progress"]["step"] == step
    outcomes["SIGTERM to a training of two processes", "saved"] += 1


def test_the_second_resume_is_refused(command, project, outcomes):
    with held(project.folder / ".snakemake/resume.lock", "resuming"):
        done = command("resume", "--params", "params/faults.yaml", cwd=project.folder)
    assert done.returncode == 1
    assert ".snakemake/resume.lock is held by process" in done.stderr
    outcomes["two resumes at once", "the second is refused"] += 1


def test_a_driver_whose_folder_cannot_be_seen_is_not_thought_dead(command, project, tmp_path):
    """As one of another user; here it is in another folder."""
    driver = subprocess.Popen(["bash", "-c", "exec -a snakemake sleep 60"], cwd=tmp_path)
    try:
        record = project.folder / f".snakemake/drivers/{socket.gethostname()}.{driver.pid}"
        record.parent.mkdir(parents=True)
        record.touch()
        done = command("resume", "--params", "params/faults.yaml", cwd=project.folder)
        assert done.returncode == 1
        assert f"snakemake was started here (process {driver.pid}) and has not ended" in done.stderr
        assert record.exists()
    finally:
        driver.kill()
        driver.wait()


def test_a_driver_of_another_machine_is_not_thought_dead(command, project):
    record = project.folder / ".snakemake/drivers/elsewhere.123"
    record.parent.mkdir(parents=True)
    record.touch()
    done = command("resume", "--params", "params/faults.yaml", cwd=project.folder)
    assert done.returncode == 1
    assert "snakemake was started here on elsewhere (process 123)" in done.stderr
    assert "rm '.snakemake/drivers/elsewhere.123'" in done.stderr
