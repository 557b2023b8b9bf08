"""Answers of Slurm's commands, from programs of their names; the real ones are in tests/faults/test_slurm.py."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from wavestack.operations.slurm import Job, end_of_job, jobs_in


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Put a program first on the PATH that answers so."""

    def put(program: str, answer: str, status: int = 0) -> None:
        script = tmp_path / program
        script.write_text(f"#!/bin/sh\ncat >&{2 if status else 1} <<'END'\n{answer}\nEND\nexit {status}\n")
        script.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("SLURM_JOB_ID", "SLURM_JOB_END_TIME"):
        monkeypatch.delenv(name, raising=False)
    return put


def test_jobs_are_those_of_the_folder_that_have_not_ended(answers, monkeypatch):
    answers("squeue", "1|RUNNING|train|/a\n2|COMPLETED|train|/a\n3|PENDING|e|v|/b\n4|PENDING|odd|/a\n5|RUNNING|own|/a")
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    assert list(jobs_in(Path("/a"))) == [Job("1", "train"), Job("4", "odd")]


def test_a_slurm_that_does_not_answer_is_not_taken_for_one_without_jobs(answers):
    answers("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", status=1)
    with pytest.raises(ValueError, match=r"Slurm does not answer `squeue.*Unable to contact slurm controller"):
        list(jobs_in(Path("/a")))
    answers("squeue", "error: fetch_config: failed to fetch remote configs\nfatal: Could not establish a configuration source", status=1)
    with pytest.raises(ValueError, match="failed to fetch remote configs"):  # a name service names one, and it is down
        list(jobs_in(Path("/a")))
    answers("squeue", "error: fetch_config: DNS SRV lookup failed\nfatal: Could not establish a configuration source", status=1)
    assert list(jobs_in(Path("/a"))) == []


def test_the_end_of_the_job(answers, monkeypatch):
    assert end_of_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    answers("scontrol", "JobId=7 StartTime=2026-11-26T09:00:00 EndTime=2026-11-26T10:00:00 Deadline=N/A")
    assert end_of_job() == datetime(2026, 11, 26, 10).timestamp()
    answers("scontrol", "", status=1)
    assert end_of_job() is None
    answers("scontrol", "JobId=7 EndTime=Unknown")
    assert end_of_job() is None
    monkeypatch.setenv("SLURM_JOB_END_TIME", "123456")
    assert end_of_job() == 123456
