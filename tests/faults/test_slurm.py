"""The workflow on a real Slurm (`make slurm-up`): what is submitted, the same results as without it, and what a cluster does to jobs."""

import os
import re
import shutil
import signal
import subprocess

import psutil
import pytest
from victim import BIN, RUN, until

pytestmark = pytest.mark.skipif(
    shutil.which("sinfo") is None or subprocess.run(["sinfo"], capture_output=True, check=False).returncode != 0,
    reason="no Slurm answers here; make slurm-up starts one",
)
QUICKLY = ("--slurm-init-seconds-before-status-checks", "2")
LONGER = 256_000  # tokens: 1,000 steps and 100 validations


def on_slurm(*arguments: str) -> tuple[str, ...]:
    return ("snakemake", "--profile", "slurm", "--configfile", "params/faults.yaml", *QUICKLY, *arguments)


@pytest.fixture
def submitted(tmp_path):
    """The lines that sbatch was called with: a program of that name writes them down and calls the real one."""
    lines, folder = tmp_path / "submitted.txt", tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text(f'#!/bin/sh\necho "$@" >> {lines}\nexec {shutil.which("sbatch")} "$@"\n')
    (folder / "sbatch").chmod(0o755)

    def told() -> list[str]:
        return lines.read_text().splitlines()

    told.path = {"PATH": f"{folder}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}"}
    return told


def queue(project) -> list[tuple[str, str, str]]:
    """Jobs of a project: number, state, comment."""
    done = subprocess.run(["squeue", "--states=all", "--noheader", "--format=%i|%T|%k|%Z"], capture_output=True, text=True, check=True)
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return [(number, state, comment) for number, state, comment, place in rows if place == str(project.folder)]


def running(project, rule: str) -> str:
    """The number of the job that runs a rule, once one does."""
    return until(lambda: next((number for number, state, comment in queue(project) if state == "RUNNING" and rule in comment), None), 600)


TRAINING = "rule_train_wildcards_pydocs_wavestack_tiny_base_0 -p main -t 600 --mem 2000 --requeue --ntasks=1 --cpus-per-task=1"


def test_a_training_on_slurm_gives_the_same_bytes(whole, untrained, submitted):
    project = untrained()
    status, told = project.run(*on_slurm("--until", "train"), **submitted.path)
    assert status == 0, told
    (line,) = submitted()
    assert f"--comment {TRAINING} " in line
    trained = {path: content for path, content in project.results().items() if f"{RUN}/" in path}
    assert len(trained) == 6
    assert trained.items() <= whole.results().items()


@pytest.mark.nightly
def test_from_nothing_to_the_report(whole, project, submitted, outcomes):
    status, told = project.run(*on_slurm(), **submitted.path)
    assert status == 0, told
    assert project.results() == whole.results()
    lines = submitted()
    assert len(lines) == 4, lines
    for asked in (
        "rule_text_corpus_tokens -p main -t 360 --mem 4000 --requeue --ntasks=1 --cpus-per-task=2",  # one after another: time adds up
        "rule_checks_budget_contract -p main -t 10 --mem 3000 --requeue --ntasks=1 --cpus-per-task=2",  # side by side: memory does
        TRAINING,
        "rule_measures_evaluate -p main -t 120 --mem 2000 --requeue --ntasks=1 --cpus-per-task=1",
    ):
        assert sum(f"--comment {asked} " in line for line in lines) == 1, lines
    assert not any("--gpus" in line or "--gres" in line for line in lines)
    outcomes["Slurm, nothing goes wrong", "the same bytes as without it"] += 1


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        (["corpus:gpu=1"], "--gpus=1"),
        (["corpus:gres=gpu:1"], "--gres=gpu:1"),  # where --gpus is refused
        (["corpus:slurm_account=ours"], "-A ours"),
        (["corpus:runtime=77", "corpus:mem_mb=3333"], "-t 77 --mem 3333"),
        (["corpus:slurm_extra='--exclusive'"], "--exclusive"),
    ],
)
def test_settings_of_a_step_are_submitted(project, submitted, settings, asked):
    """By itself, without its group: a group adds up what its steps ask for."""
    alone = ("--retries", "0", "--groups", "corpus=corpus", "--until", "corpus")
    project.run(*on_slurm(*alone, "--set-resources", *settings), **submitted.path)
    assert any(asked in line for line in submitted()), submitted()


@pytest.mark.nightly
def test_a_refused_submission_is_told_and_can_be_mended(whole, project, outcomes):
    """Snakemake passes on what sbatch says of a step; of a group of steps it does not, so the training is refused here."""
    status, told = project.run(*on_slurm("--retries", "0", "--set-resources", "train:slurm_partition=nowhere"))
    assert status != 0
    assert "invalid partition specified: nowhere" in told
    assert not any("train" in comment for _, _, comment in queue(project))
    status, told = project.run(*on_slurm())
    assert status == 0, told
    assert project.results() == whole.results()
    outcomes["Slurm, sbatch refuses", "its reason is told"] += 1


@pytest.mark.nightly
def test_scancel_in_mid_run_is_told_and_one_command_finishes(whole, project, outcomes):
    driver = project.start(*on_slurm("--retries", "0"))
    subprocess.run(["scancel", running(project, "train")], check=True)
    assert driver.wait(timeout=600) != 0
    told = project.told.read_text()
    assert "CANCELLED" in told, told
    status, told = project.resume()
    assert status == 0, told
    assert project.results() == whole.results()
    outcomes["Slurm, scancel in mid-run", "CANCELLED is told, then the same bytes"] += 1


@pytest.mark.nightly
def test_over_its_memory_it_is_tried_with_more(whole, project, submitted, outcomes):
    grown = ("train:mem_mb=attempt * attempt * 150", "train:runtime=attempt * 10")
    status, told = project.run(*on_slurm("--set-resources", *grown), **submitted.path)
    assert status == 0, told
    asked = [line for line in submitted() if "rule_train" in line]
    assert [f"-t {10 * attempt} --mem {150 * attempt**2} " in line for attempt, line in enumerate(asked, 1)] == [True] * len(asked)
    assert len(asked) >= 2
    assert re.search("status is: '(FAILED|OUT_OF_MEMORY)'", told), told
    assert project.results() == whole.results()
    outcomes["Slurm, over its memory", "told, tried with more, the same bytes"] += 1


@pytest.fixture
def longer(half):
    """A project whose training takes longer, and the same training by itself, that nothing stops."""
    status, told = half.run(*half.training("alone", "--set", f"budgets.tiny.tokens={LONGER}"))
    assert status == 0, told
    return half


def ends_with_the_same_bytes(longer) -> None:
    assert "resumed at step" in (longer.folder / "logs/faults/train" / f"{RUN}.log").read_text()
    for name in ("best.safetensors", "last.safetensors"):
        assert (longer.data / "runs" / RUN / name).read_bytes() == (longer.folder / "alone/data" / name).read_bytes()


def stopped(project) -> int:
    return sum("train" in comment and state == "FAILED" for _, state, comment in queue(project))


@pytest.mark.nightly
def test_a_training_over_its_time_goes_on_in_the_next_job(longer, outcomes):
    """More than half a minute of work in jobs of one minute, of which the last half is the margin."""
    options = ("--retries", "40", "--set-resources", "train:runtime=1", "--config", f"budgets={{tiny: {{tokens: {LONGER}}}}}")
    status, told = longer.run(*on_slurm("--until", "train", *options))
    assert status == 0, told
    stops = stopped(longer)
    assert stops >= 1, told
    ends_with_the_same_bytes(longer)
    outcomes["Slurm, over its time", f"stopped {stops} times before the end of its job, the same bytes"] += 1


@pytest.mark.nightly
def test_a_job_whose_time_is_cut_meanwhile_is_told_and_one_command_finishes(longer, outcomes):
    """The training learned at its start when the job ends; then the operator thinks better of it, while its node is stuck."""
    laid = ("--config", f"budgets={{tiny: {{tokens: {LONGER}}}}}")
    driver = longer.start(*on_slurm("--until", "train", "--retries", "0", *laid))
    number = running(longer, "train")
    until(lambda: list(longer.data.rglob("step*.json")), 600)
    for training in longer.trainings():
        training.suspend()
    subprocess.run(["scontrol", "update", f"jobid={number}", "timelimit=1"], check=True)
    assert driver.wait(timeout=600) != 0
    assert "TIMEOUT" in longer.told.read_text()
    status, told = longer.run(*on_slurm("--until", "train", *laid))
    assert status == 0, told
    ends_with_the_same_bytes(longer)
    outcomes["Slurm, its time is cut", "TIMEOUT is told, then the same bytes"] += 1


@pytest.mark.nightly
def test_a_training_preempted_three_times(longer, outcomes):
    """By the signal that Slurm sends to a job that must make room, some validations after its start."""
    options = ("--retries", "3", "--config", f"budgets={{tiny: {{tokens: {LONGER}}}}}")
    driver = longer.start(*on_slurm("--until", "train", *options))
    for stops in range(3):
        number, before = running(longer, "train"), {path.name for path in longer.data.rglob("step*.json")}
        until(lambda before=before: {path.name for path in longer.data.rglob("step*.json")} - before, 600)
        subprocess.run(["scancel", "--signal=TERM", number], check=True)
        until(lambda stops=stops: stopped(longer) > stops, 600)
    assert driver.wait(timeout=600) == 0, longer.told.read_text()
    assert stopped(longer) == 3
    ends_with_the_same_bytes(longer)
    outcomes["Slurm, preempted", "stopped 3 times, the same bytes"] += 1


@pytest.mark.nightly
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_reaches_snakemake_alone_reaches_its_training(longer, outcomes, number):
    """As where Slurm keeps jobs in cgroups: only what slurmstepd started gets it. Between two checkpoints, so that it must save."""
    options = ("--retries", "0", "--config", f"budgets={{tiny: {{tokens: {LONGER}}}}}")
    driver = longer.start(*on_slurm("--until", "train", *options))
    running(longer, "train")
    until(lambda: list(longer.data.rglob("step*.json")), 600)
    started = [process for process in psutil.process_iter() if process.name() == "slurmstepd" for process in process.children()]
    for process in started:
        if process.cwd() == str(longer.folder) and "--mode" in process.cmdline():
            process.send_signal(number)
    assert driver.wait(timeout=600) != 0
    told = (longer.folder / "logs/faults/train" / f"{RUN}.log").read_text()
    assert f"which is saved: {number.name} was received" in told
    status, told = longer.run(*on_slurm("--until", "train", *options))
    assert status == 0, told
    ends_with_the_same_bytes(longer)
    outcomes[f"Slurm, {number.name} to Snakemake alone", "the training saves, the same bytes"] += 1


@pytest.mark.nightly
def test_a_job_that_is_requeued_goes_on(longer, outcomes):
    """By Slurm itself, under its old number, as where a job must make room; the driver sees it wait and run again."""
    options = ("--retries", "0", "--config", f"budgets={{tiny: {{tokens: {LONGER}}}}}")
    driver = longer.start(*on_slurm("--until", "train", *options))
    number = running(longer, "train")
    until(lambda: list(longer.data.rglob("step*.json")), 600)
    subprocess.run(["scontrol", "requeue", number], check=True)
    assert driver.wait(timeout=600) == 0, longer.told.read_text()
    assert [(found, state) for found, state, comment in queue(longer) if "train" in comment] == [(number, "COMPLETED")]
    ends_with_the_same_bytes(longer)
    outcomes["Slurm, requeued", "the same job goes on, the same bytes"] += 1


@pytest.mark.nightly
def test_a_node_that_is_drained_keeps_jobs_waiting(whole, project, outcomes):
    node = subprocess.run(["sinfo", "--noheader", "--format=%n"], capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["scontrol", "update", f"nodename={node}", "state=drain", "reason=test"], check=True)
    try:
        driver = project.start(*on_slurm())
        reason = until(lambda: [state for _, state, _ in queue(project) if state == "PENDING"])
        assert reason
        told = subprocess.run(["squeue", "--noheader", "--format=%r"], capture_output=True, text=True, check=True).stdout
        assert re.search("Nodes_?required|ReqNodeNotAvail|Resources", told), told
    finally:
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"], check=True)
    assert driver.wait(timeout=400) == 0, project.told.read_text()
    assert project.results() == whole.results()
    outcomes["Slurm, a node drained", "jobs wait, then the same bytes"] += 1


@pytest.mark.nightly
def test_the_driver_killed_while_its_job_runs(whole, project, outcomes):
    """`resume` finds the job by its folder and cancels it, so that no second one writes the same files."""
    driver = project.start(*on_slurm())
    running(project, "train")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    status, told = project.resume()
    assert status == 0, told
    assert "left by a workflow that is gone: Slurm job" in told
    assert project.results() == whole.results()
    assert project.unfinished() == []
    outcomes["Slurm, SIGKILL of the driver", "its job is cancelled, the same bytes"] += 1


@pytest.mark.nightly
def test_a_job_that_ended_with_no_driver_is_not_done_again(whole, project, outcomes):
    driver = project.start(*on_slurm())
    number = running(project, "train")
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    until(lambda: (number, "COMPLETED") in [(found, state) for found, state, _ in queue(project)], 600)
    status, told = project.run("wavestack", "resume", "--params", "params/faults.yaml", SNAKEMAKE_PROFILE="slurm")
    assert status == 0, told
    assert f"train {RUN}" not in told
    assert project.results() == whole.results()
    outcomes["Slurm, SIGKILL of the driver, its job ends", "it is not done again, the same bytes"] += 1
