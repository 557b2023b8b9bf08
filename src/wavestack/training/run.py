"""One run of the workflow: from token files to two sets of weights and a curve."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wavestack.artifacts import held, read_json, write_json
from wavestack.corpora.tokens import TokenFile
from wavestack.params import Parameters, Run
from wavestack.training.checkpoint import Architecture, Checkpoints, save
from wavestack.training.interruption import Interruption
from wavestack.training.loop import train
from wavestack.training.processes import Processes
from wavestack.variants import Variant


def architecture_of(parameters: Parameters, run: Run) -> Architecture:
    """What a run trains."""
    return Architecture(parameters.spec(run), parameters.budget(run), parameters.tokenizer(run.corpus).size)


@contextmanager
def alone(run: Run, data: Path, processes: Processes) -> Iterator[None]:
    """Be the only one that trains a run. At the end, when its results are on record, its checkpoints go.

    Args:
        data: the run's folder of heavy results.

    Raises:
        ValueError: it is being trained elsewhere, and by whom.
    """
    folder = data / "checkpoints"
    with held(folder / "lock", f"training {run}") if processes.first else nullcontext():
        yield
        if processes.first:
            shutil.rmtree(folder, ignore_errors=True)


def train_run(
    parameters: Parameters,
    run: Run,
    tokens: Path,
    data: Path,
    reports: Path,
    fingerprint: str,
    choice: Path | None = None,
    *,
    processes: Processes,
    interruption: Interruption,
) -> dict[str, Any]:
    """Train a run, resuming it where it was cut off, and write its results. Whoever calls it has it `alone`.

    Args:
        tokens: folder of the corpus's token files.
        data: gets `best` and `last` (safetensors and JSON), and `checkpoints/`.
        reports: gets `training.json` and `curve.csv`.
        fingerprint: of code and parameters; checkpoints of another one are not resumed.
        choice: what tuning chose, for a run that is tuned.
        processes: those that train together.
        interruption: says when to stop before the end.

    Returns:
        The content of `training.json`, and under `seconds` the time of all training steps.

    Raises:
        ValueError: the tokens are of another vocabulary, or the run is tuned and there is no choice.
        Interrupted: it was to stop, and has saved where it stands.
    """
    architecture = architecture_of(parameters, run)
    if run.tuned != (choice is not None):
        raise ValueError(f"{run}: a tuned run, and no other, needs --choice, the file that wavestack choose wrote")
    chosen = None if choice is None else read_json(choice)["chosen"]
    training = parameters.training(run, chosen)
    fingerprint = fingerprint if chosen is None else f"{fingerprint}, {Variant(training=chosen)}"
    checkpoints = Checkpoints(data / "checkpoints", fingerprint)
    train_tokens, valid_tokens = TokenFile.open(tokens, "train"), TokenFile.open(tokens, "valid")
    for split in (train_tokens, valid_tokens):
        if split.vocabulary != architecture.vocabulary:
            raise ValueError(f"{tokens} was encoded with {split.vocabulary:,} tokens, and the parameters say {architecture.vocabulary:,}")
    trained = train(
        architecture,
        training,
        run.seed,
        train_tokens,
        valid_tokens,
        checkpoints,
        curve=reports / "curve.csv",
        evaluation_batch=parameters.profile.evaluation.batch_tokens,
        processes=processes,
        interruption=interruption,
    )
    progress = trained.progress
    result = {
        "status": progress.status,
        "reason": progress.reason,
        "steps": progress.step,
        "tokens": progress.step * training.batch * architecture.budget.context,
        "best_step": progress.best_step,
        "best_valid_nats": progress.best_nats,
        "train_tokens_of_the_corpus": len(train_tokens.stream),
        "training": training.model_dump(mode="json"),
    }
    if processes.first:
        facts = {"architecture": architecture.to_json(), "run": asdict(run)}
        save(data / "best", trained.best, {**facts, "step": progress.best_step, "valid_nats": progress.best_nats})
        save(data / "last", trained.last, {**facts, "step": progress.step})
        write_json(reports / "training.json", result)
    return {**result, "seconds": progress.seconds}
