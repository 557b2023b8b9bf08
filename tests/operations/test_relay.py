"""Signals of Slurm that only Snakemake gets: its training gets them from it."""

import signal
import subprocess
import sys

import pytest

SNAKEMAKE = """
import signal, subprocess, sys
from wavestack.operations.relay import pass_on
pass_on()
signal.signal(signal.SIGTERM, lambda *given: print("snakemake waits for its jobs", flush=True))  # later, as Snakemake does
jobs = [subprocess.Popen([sys.executable, program, verb]) for program, verb in zip(sys.argv[1::2], sys.argv[2::2])]
statuses = [job.wait() for job in jobs]
print("jobs ended with", *statuses)
"""
JOB = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, lambda number, frame: sys.exit(75))
os.write(1, b"started\\n")  # in one piece, beside the other's
time.sleep(float({seconds}))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_training_gets_what_snakemake_gets_and_nothing_else_does(tmp_path, number):
    training, torchrun = tmp_path / "wavestack", tmp_path / "torchrun"
    training.write_text(JOB.format(seconds=60))
    torchrun.write_text(JOB.format(seconds=3))
    jobs = (training, "train", torchrun, "train")
    driver = subprocess.Popen([sys.executable, "-c", SNAKEMAKE, *jobs], stdout=subprocess.PIPE, text=True)
    assert [driver.stdout.readline() for _ in jobs[::2]] == ["started\n"] * 2
    driver.send_signal(number)
    told, _ = driver.communicate(timeout=60)
    assert "jobs ended with 75 0\n" in told
    assert ("snakemake waits for its jobs\n" in told) == (number == signal.SIGTERM)
