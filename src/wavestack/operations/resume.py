"""After a kill of the workflow: what it left running is stopped, its lock is taken away, and what was not finished is made.

Snakemake's lock names no owner, so whoever could own it is looked for: processes of this machine that work in this folder, Snakemakes of
other machines that have not said here that they ended (`wavestack.operations.snakemake`), and jobs that Slurm runs in this folder.
"""

import contextlib
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import psutil

from wavestack.artifacts import TEMPORARY, held
from wavestack.operations.inventory import Result, results, take_away_stale
from wavestack.operations.slurm import Job, cancel, jobs_in
from wavestack.operations.snakemake import DRIVERS
from wavestack.operations.stages import shortened, snakemake
from wavestack.params import Parameters

log = logging.getLogger(__name__)

PATIENCE = 60.0  # seconds in which a training that was told to stop has saved
LOCKS = Path(".snakemake/locks")
RESUMING = Path(".snakemake/resume.lock")
UNDER_SNAKEMAKE = "--mode"  # an option of the Snakemakes that Snakemake starts, of a job that it submitted or of a group


def resume(parameters: Parameters, profile: Path, overrides: Sequence[str], reports: Path, wait: bool) -> None:
    """Finish what a killed workflow began.

    Args:
        profile: the file of parameters.
        overrides: what the parameters have laid over it.
        reports: the profile's folder of light results.
        wait: for what it left running, instead of stopping it; a training that is stopped has saved where it stands.

    Raises:
        ValueError: a Snakemake or another resume is at work here, or may be; something does not stop; Snakemake fails; or a result is not
            of today's code.
    """
    here = Path.cwd()
    everything = list(results(parameters, reports))
    with held(RESUMING, "resuming"):
        _refuse_if_alive(here)
        _end(list(orphans(here)), list(jobs_in(here)), wait)
        _refuse_if_alive(here)  # nor did anybody start one meanwhile
        if LOCKS.is_dir() and any(LOCKS.iterdir()):
            log.info("nobody owns the lock: taken away")
            snakemake(profile, overrides, "--unlock", "--quiet")
        for folder in (reports, Path("data") / parameters.name):
            for unfinished in list(folder.rglob(f".*{TEMPORARY}")):  # nobody writes any more
                shutil.rmtree(unfinished) if unfinished.is_dir() else unfinished.unlink(missing_ok=True)
        _acknowledge(list(current_trainings(everything)), profile, overrides)
        take_away_stale(everything)
        snakemake(profile, overrides)
    problems = [problem for result in everything if (problem := result.problem())]
    if problems:
        raise ValueError("\n".join(["after all of it was made:", *shortened(problems)]))


def current_trainings(everything: Iterable[Result]) -> Iterator[Result]:
    """Those that are there, of today's code and parameters, and of inputs that still are what they were."""
    return (result for result in everything if result.output.name == "training.json" and result.problem() is None)


def _acknowledge(trainings: Sequence[Result], profile: Path, overrides: Sequence[str]) -> None:
    """Let Snakemake know of trainings that came to their ends with no driver looking on: it would do hours of work again.

    Those that it knows stay as they are. What comes before them is not looked at, since that may have to be made again.
    """
    if not trainings:
        return
    try:
        snakemake(profile, overrides, *(str(result.output) for result in trainings), "--touch", "--quiet", "--allowed-rules", "train")
    except ValueError as error:
        log.warning("trainings that no workflow saw the end of are done again: %s", error)


def drivers(folder: Path) -> Iterator[psutil.Process]:
    """Snakemakes of this machine that are at work in a folder and were started by a person, not by Snakemake."""
    for process, command in _working_in(folder):
        if runs(command, "snakemake") and UNDER_SNAKEMAKE not in command:
            yield process


def orphans(folder: Path) -> Iterator[psutil.Process]:
    """Jobs of this machine that are at work in a folder, with the shells and the torchruns that they are in."""
    for process, command in _working_in(folder):
        under = runs(command, "snakemake") and UNDER_SNAKEMAKE in command
        step = all(any(sign in word for word in command) for sign in ("wavestack", "--fingerprint"))
        if under or step or "wavestack.profiling.process" in command:
            yield process


def _refuse_if_alive(here: Path) -> None:
    alive = [str(process.pid) for process in drivers(here)]
    if alive:
        raise ValueError(
            f"snakemake is at work in this folder (process {', '.join(alive)}); wait for its end, or stop it: kill -INT {' '.join(alive)}"
        )
    for record in sorted(DRIVERS.glob("*")):
        host, _, process = record.name.rpartition(".")
        if host == socket.gethostname():
            if _may_be_snakemake(int(process)):  # of another user, say: in which folder it works cannot be seen
                raise ValueError(f"snakemake was started here (process {process}) and has not ended; wait for its end")
            record.unlink(missing_ok=True)  # of a process that is no more
        else:
            raise ValueError(
                f"snakemake was started here on {host} (process {process}) and has not ended as far as can be seen from this machine; "
                f"resume there, or, if it is dead: rm '{record}'"
            )


def _end(processes: list[psutil.Process], jobs: list[Job], wait: bool) -> None:
    """Wait for what was left running, or stop it."""
    left_running = [*(f"process {process.pid}" for process in processes), *(f"Slurm job {job.number} ({job.name})" for job in jobs)]
    for name in left_running:
        log.info("%s, left by a workflow that is gone: %s", "waited for" if wait else "stopped", name)
    if not wait:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                if not runs(process.cmdline(), "torchrun"):  # it ends with its trainings, and would give them half a minute
                    process.terminate()
        if jobs:
            cancel(jobs)
    left = psutil.wait_procs(processes, timeout=None if wait else PATIENCE)[1]
    for process in left:
        log.warning("killed, since it did not stop in %.0f s: process %d", PATIENCE, process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    if survivors := psutil.wait_procs(left, timeout=PATIENCE)[1]:
        numbers = " ".join(str(process.pid) for process in survivors)
        raise ValueError(f"these processes do not end, and may write: {numbers}; resume again when they are gone")
    ends = time.monotonic() + PATIENCE
    while jobs and (remaining := [job for job in jobs_in(Path.cwd()) if job in jobs]):
        if not wait and time.monotonic() > ends:
            numbers = " ".join(job.number for job in remaining)
            raise ValueError(f"Slurm has not ended jobs {numbers}; look at squeue, and resume again when they are gone")
        time.sleep(1)


def _working_in(folder: Path) -> Iterator[tuple[psutil.Process, list[str]]]:
    """Processes and their commands, without this one and those that it was started by."""
    own = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    for process in psutil.process_iter():
        try:
            if process.pid not in own and process.status() != psutil.STATUS_ZOMBIE and process.cwd() == str(folder):
                yield process, process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def _may_be_snakemake(process: int) -> bool:
    """Whether a process lives and is one, or is hidden from this user."""
    try:
        os.kill(process, 0)
        return runs(psutil.Process(process).cmdline(), "snakemake")
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
    except (PermissionError, psutil.AccessDenied):
        return True


def runs(command: Sequence[str], program: str) -> bool:
    """Whether a command line runs a program: by its name, as a script of Python's, or as a module."""
    names = [Path(word).name for word in command[:3]]
    return program in (names if names and names[0].startswith("python") else names[:1])
