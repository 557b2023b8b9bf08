"""What Slurm sends to a job, passed on to the training in it.

Where Slurm keeps jobs in cgroups, a signal other than SIGKILL reaches the process that Slurm itself started, which is Snakemake, and none
of its children (`_slurm_cgroup_is_pid_a_slurm_task` in proctrack_cgroup.c). Snakemake waits for its jobs when it gets SIGTERM, and dies of
SIGUSR1; a training would learn of neither, and lose what it did since its last checkpoint.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from wavestack.training.interruption import SIGNALS


def pass_on() -> None:
    """From now on, trainings below this process get the signals that it gets.

    SIGUSR1 does nothing else any more; what SIGTERM does is Snakemake's to say, when it sets its handler: Python tells the number of each
    signal that has one to one end of a pipe, and a thread waits at the other. Called in the main thread.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(told,), daemon=True).start()


def _wait(told: int) -> None:
    while numbers := os.read(told, 16):
        for number in set(numbers) & set(SIGNALS):
            for training in trainings():
                with contextlib.suppress(psutil.Error):
                    training.send_signal(number)


def trainings() -> Iterator[psutil.Process]:
    """Those below this process; a torchrun above some of them is none, since it would end them before they have saved."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            match process.cmdline():
                case [_, program, "train", *_] if Path(program).name == "wavestack":
                    yield process
