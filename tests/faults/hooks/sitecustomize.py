"""What Python runs first in every process of a test: SIGKILL at a chosen moment of a training.

`$FAULT` is `PHASE COUNT VICTIM`: the phase is computing, validating, writing or renaming, the victim is `training` (this process) or
`driver` (the Snakemake above it, and the training lives on). The kill comes when the phase is entered for the COUNT-th time, once: a file
named by `$FAULT_DONE` says that it came.
"""

import importlib.abc
import importlib.util
import itertools
import os
import pathlib
import signal
import sys


def kill(victim: str) -> None:
    import psutil

    with open(os.environ["FAULT_DONE"], "x") as file:  # noqa: PTH123  (fails where it came before)
        file.write("killed\n")
    if victim == "training":
        os.kill(os.getpid(), signal.SIGKILL)
    for process in psutil.Process().parents():
        if any(pathlib.Path(word).name == "snakemake" for word in process.cmdline()[:3]):
            process.kill()
            return


def counted(function, phase: str):
    """The function, with the kill before one of its calls."""
    chosen, count, victim = os.environ["FAULT"].split()
    if phase != chosen:
        return function
    calls = itertools.count(1)

    def watched(*given, **named):
        if next(calls) == int(count) and not pathlib.Path(os.environ["FAULT_DONE"]).exists():
            if phase == "writing":  # half of it is there
                function(*given, **named)
                half = pathlib.Path(given[1])
                os.truncate(half, half.stat().st_size // 2)
                kill(victim)
            else:
                kill(victim)
        return function(*given, **named)

    return watched


NAMES = {
    "wavestack.training.loop": {"_step": "computing", "document_losses": "validating"},
    "wavestack.training.checkpoint": {"save_file": "writing"},
}


class Patched(importlib.abc.MetaPathFinder):
    """Finds the training's modules once they are asked for, and puts the kill into them."""

    def find_spec(self, name, path, target=None):
        if name not in NAMES:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        assert spec is not None
        assert spec.loader is not None
        honest = spec.loader.exec_module

        def exec_module(module):
            honest(module)
            for function, phase in NAMES[name].items():
                setattr(module, function, counted(getattr(module, function), phase))

        spec.loader.exec_module = exec_module
        return spec


if "FAULT" in os.environ and "train" in sys.orig_argv[:4]:
    sys.meta_path.insert(0, Patched())
    pathlib.Path.replace = counted(pathlib.Path.replace, "renaming")
