"""What Slurm knows: which jobs it has in a folder, and when the job ends that this process is in."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

log = logging.getLogger(__name__)

NO_CLUSTER = "DNS SRV lookup failed"  # its commands are installed, and know of none: no file names one, and no name service
ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED")


@dataclass(frozen=True)
class Job:
    number: str
    name: str


def jobs_in(folder: Path) -> Iterator[Job]:
    """What Slurm runs or will run in a folder, but for the job that this process is in.

    Raises:
        ValueError: there is a cluster and it does not answer, so that nobody knows.
    """
    if shutil.which("squeue") is None:
        return
    try:
        told = _asked("squeue", "--me", "--noheader", "--states=all", "--format=%A|%T|%j|%Z")
    except ValueError as error:
        if NO_CLUSTER in str(error):
            return
        raise
    for line in told.splitlines():
        number, state, name, place = line.split("|", 3)
        if state in ALIVE and place == str(folder) and number != os.environ.get("SLURM_JOB_ID"):
            yield Job(number, name)


def cancel(jobs: list[Job]) -> None:
    """Their processes get SIGTERM, and SIGKILL when the cluster's KillWait is over; ValueError where Slurm does not answer."""
    _asked("scancel", *(job.number for job in jobs))


def end_of_job() -> float | None:
    """In seconds since the epoch, when Slurm ends the job that this process is in; None in no job, and in one without an end."""
    number, ends = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_END_TIME")
    if ends is not None:  # of newer Slurms
        return float(ends)
    if number is None:
        return None
    try:
        told = re.search(r"\bEndTime=(\S+)", _asked("scontrol", "show", "job", number, "--oneliner"))
    except ValueError as error:
        log.warning("when this job ends is not known: %s", error)
        return None
    if told is None or told[1] == "Unknown":
        return None
    return datetime.fromisoformat(told[1]).timestamp()  # of this machine's time zone


def _asked(*command: str) -> str:
    """What a command of Slurm's answers; ValueError where it does not."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        raise ValueError(f"Slurm does not answer `{' '.join(command)}`: {told.strip()}; try again when it does") from None
