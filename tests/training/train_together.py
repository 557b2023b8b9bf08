"""What torchrun starts in each process: `train_together.py FOLDER TOKENS SPEC [--dropout P] [--stop STEP] [--sharded]`."""

import argparse
import os
from dataclasses import asdict
from pathlib import Path

from torch import nn
from torch.distributed.tensor import DTensor

from wavestack.corpora.tokens import TokenFile
from wavestack.params import ModelSpec
from wavestack.schema import Budget, Training
from wavestack.training.checkpoint import Architecture, Checkpoints, save
from wavestack.training.interruption import Interrupted, Interruption
from wavestack.training.loop import train
from wavestack.training.processes import joined

SPECS = {
    "wavestack": ModelSpec(
        "wavestack",
        {
            "lanes": {
                "fourier": {"frequencies": 4},
                "recall": {"features": 8, "heads": 1, "rule": "replace"},
                "wavelet": {"wavelet": "db2", "levels": 2},
            },
            "lane_width": 0.5,
        },
    ),
    "transformer": ModelSpec("transformer", {"head_width": 16}),
}
STEPS, BATCH, CONTEXT = 20, 7, 32


class StopAt(Interruption):
    """Asks for a stop at one of the loop's looks."""

    def __init__(self, step: int | None):
        super().__init__()
        self.step = step

    def reason(self) -> str | None:
        self.step = None if self.step is None else self.step - 1
        return "the test says so" if self.step == 0 else None


parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("tokens", type=Path)
parser.add_argument("spec")
parser.add_argument("--dropout", type=float)
parser.add_argument("--stop", type=int)
parser.add_argument("--sharded", action="store_true")
given = parser.parse_args()

count = int(os.environ["WORLD_SIZE"])
training = Training(
    batch=BATCH,
    processes=count,
    sharded=given.sharded,
    validate_every=8,
    log_every=1,
    validation_tokens=300,
    learning_rate=3e-3,
    dropout=given.dropout,
)
budget = Budget(hidden=32, blocks=2, context=CONTEXT, parameters=20_000, tokens=STEPS * BATCH * CONTEXT)
splits = [TokenFile.open(given.tokens, split) for split in ("train", "valid")]
with joined("cpu", count, given.sharded) as processes:
    together = processes.model

    def counted(model: nn.Module) -> nn.Module:
        shared = together(model)
        global held
        held = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in model.parameters())
        return shared

    processes.model = counted
    for stop in (given.stop, None):
        try:
            trained = train(
                *(Architecture(SPECS[given.spec], budget, 257), training, 0, *splits, Checkpoints(given.folder / "c", "mark")),
                curve=given.folder / "curve.csv",
                evaluation_batch=256,
                processes=processes,
                interruption=StopAt(stop),
            )
            break
        except Interrupted:
            pass
    if processes.first:
        save(given.folder / "trained", trained.last, {"curve": asdict(trained.progress)["curve"], "held": held})
