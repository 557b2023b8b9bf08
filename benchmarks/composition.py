"""A lane added to a trained model, trained alone, and removed again: the validation loss at each point, and whether logits are the same.

    python benchmarks/composition.py CHECKPOINT [--lane chebyshev] [--steps 200]

CHECKPOINT is a WaveStack run's, `<data>/runs/<corpus>/<spec>/<budget>/<variant>/seed<k>/best`; the corpus's token files are found from it.
The lane trains on the train split, with AdamW and the schedule of a training, while all other weights are frozen. Writes
`composition/<corpus>.csv` below the folder of reports, with a row a point:

    nats, perplexity      a token, on the validation documents that a training watches
    parameters            of the model at that point
    logits_changed        the largest absolute difference from the trained model's logits; 0.0 is bit-equal
"""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator
from math import exp
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from wavestack import registry
from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.corpora.tokens import TokenFile
from wavestack.evaluation.likelihood import document_losses, spread_documents
from wavestack.models.wavestack import WaveStack
from wavestack.operations.text import open_checkpoint
from wavestack.provenance import fingerprint, recorded
from wavestack.schema import Training
from wavestack.training.batches import stream_sequences
from wavestack.training.optimizer import adamw, learning_rate

COLUMNS = ("point", "nats", "perplexity", "parameters", "logits_changed")
SEED = 1  # of the new lane's weights and of the order of the data


def composed(model: WaveStack, lane: str, train: TokenFile, valid: TokenFile, training: Training, steps: int) -> Iterator[dict[str, Any]]:
    """Rows of the CSV, in order; at the end the model is what it was."""
    watched = spread_documents(valid, training.validation_tokens)
    sample = torch.from_numpy(stream_sequences(valid, 2, model.context, SEED, 0)[:, :-1])
    with torch.no_grad():
        before = model(sample)

    def row(point: str) -> dict[str, Any]:
        losses = document_losses(model, valid, watched, model.context, 8192)
        nats = float(losses["nats"].sum() / losses["tokens"].sum())
        with torch.no_grad():
            changed = (model(sample) - before).abs().max().item()
        return dict(zip(COLUMNS, (point, nats, exp(nats), model.parameter_counts()[0], changed), strict=True))

    yield row("trained model")
    torch.manual_seed(SEED)
    model.add_lane(lane)
    yield row(f"{lane} added")
    model.freeze_except(lane)
    optimizer = adamw(model, training)
    for step in range(steps):
        batch = torch.from_numpy(stream_sequences(train, training.batch, model.context, SEED, step))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, training)
        optimizer.zero_grad()
        _loss(model, batch).backward()
        optimizer.step()
    yield row(f"{lane} trained alone, {steps} steps")
    model.remove_lane(lane)
    yield row(f"{lane} removed")


def _loss(model: WaveStack, batch: Tensor) -> Tensor:
    return functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--lane", default="chebyshev", choices=registry.LANES, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--reports", type=Path, default=Path("reports/benchmarks"), help="default: %(default)s")
    options = parser.parse_args()
    try:
        model, _ = open_checkpoint(options.checkpoint)
        if not isinstance(model, WaveStack):
            raise ValueError(f"{options.checkpoint} holds a {type(model).__name__}, which has no lanes; name a WaveStack's")
        checkpoint = options.checkpoint.resolve()
        run = read_json(checkpoint.with_suffix(".json"))["run"]
        tokens = checkpoint.parents[6] / "tokens" / run["corpus"]
        train, valid = (TokenFile.open(tokens, split) for split in ("train", "valid"))
        training = Training(batch=options.batch)
        torch.set_num_threads(training.threads)
        settings = {"run": run, "lane": options.lane, "steps": options.steps, "training": training.model_dump()}
        code = ["wavestack.models.wavestack:WaveStack", registry.LANES[options.lane]]
        reports = options.reports / "composition"
        with recorded(reports, run["corpus"], settings, fingerprint(settings, code), [os.path.relpath(__file__)]):
            rows = []
            for row in composed(model, options.lane, train, valid, training, options.steps):
                rows.append(row)
                print(f"{row['point']}: {row['nats']:.4f} nats a token, logits changed by {row['logits_changed']:g}")
            write_csv(reports / f"{run['corpus']}.csv", rows, COLUMNS)
    except ValueError as error:
        sys.exit(f"composition: {error}")
    path = reports / f"{run['corpus']}.provenance.json"
    write_json(path, {**read_json(path), "command": shlex.join(["python", *sys.argv])})


if __name__ == "__main__":
    main()
