"""The training loop: deterministic on a CPU, resumable at any checkpoint with bitwise the same losses."""

import contextlib
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from wavestack.allocation import keep_freed_memory
from wavestack.artifacts import write_csv
from wavestack.corpora.tokens import TokenFile
from wavestack.device import autocast, round_products
from wavestack.evaluation.likelihood import document_losses, spread_documents
from wavestack.models.language_model import LanguageModel
from wavestack.schema import Training
from wavestack.training.batches import IGNORED, batch_at
from wavestack.training.checkpoint import Architecture, Checkpoints
from wavestack.training.interruption import Interrupted, Interruption
from wavestack.training.optimizer import adamw, learning_rate
from wavestack.training.processes import Processes

log = logging.getLogger(__name__)

CURVE = ("step", "tokens", "learning_rate", "train_nats", "valid_nats")


@dataclass
class Progress:
    """Where a training stands: everything that a checkpoint must hold beside tensors."""

    step: int = 0  # optimiser steps done
    status: str = "ok"  # or "diverged"
    reason: str | None = None
    best_step: int = 0
    best_nats: float | None = None
    curve: list[dict[str, Any]] = field(default_factory=list)  # rows of CURVE
    recent: list[float] = field(default_factory=list)  # train losses since the last row
    seconds: float = 0.0  # over all attempts, of training steps alone


@dataclass
class Trained:
    """What a training leaves: its progress, and two sets of weights."""

    progress: Progress
    best: dict[str, Tensor]  # at the lowest validation loss
    last: dict[str, Tensor]


def train(
    architecture: Architecture,
    training: Training,
    seed: int,
    train_tokens: TokenFile,
    valid_tokens: TokenFile,
    checkpoints: Checkpoints,
    curve: Path,
    evaluation_batch: int,
    processes: Processes,
    interruption: Interruption,
) -> Trained:
    """Train a model from its newest checkpoint, or from the start.

    Args:
        architecture: what to build; its budget says for how many tokens, in sequences of how many.
        seed: of the weights and of the order of the data; runs that are compared share it.
        checkpoints: where to resume from and save to. They stay: the caller clears them when the results are safe.
        curve: a CSV of the losses, written anew at every validation so that it can be watched.
        evaluation_batch: positions a forward pass in validation.
        processes: those that train together; the first of them writes.
        interruption: says between steps whether to stop before the end.

    Raises:
        ValueError: where the train split is shorter than one sequence.
        Interrupted: it was to stop, and has saved where it stands.
    """
    keep_freed_memory()
    torch.set_num_threads(training.threads)
    torch.use_deterministic_algorithms(training.device == "cpu")
    round_products(training.device, training.precision)
    torch.manual_seed(seed)
    context = architecture.budget.context
    steps = math.ceil(architecture.budget.tokens / (training.batch * context))
    model = architecture.build()
    if training.dropout is not None:
        set_dropout(model, training.dropout)
    together = processes.model(model)
    optimizer = adamw(model, training)
    if not processes.first:
        torch.manual_seed(_seed_of(seed, processes.rank))  # dropout falls on other places in each process
    progress, best = _resume(checkpoints, model, optimizer, processes)
    forward = torch.compile(together) if training.compile else together
    watched = spread_documents(valid_tokens, training.validation_tokens)

    def measure() -> float:
        model.eval()
        with autocast(training.device, training.precision):
            # not the compiled model: windows have many lengths, and each would be compiled
            losses = document_losses(model, valid_tokens, watched, context, evaluation_batch)
        model.train()
        return float(losses["nats"].to_numpy().sum() / losses["tokens"].sum())  # pandas would leave NaN out of the sum

    def validate() -> float | None:
        nonlocal best
        nats = processes.from_first(measure, with_model=True)
        finite = math.isfinite(nats)
        if not progress.curve or (finite and (progress.best_nats is None or nats < progress.best_nats)):
            progress.best_nats, progress.best_step, best = nats if finite else None, progress.step, _copy(model, processes)
        if not finite:
            progress.status, progress.reason = "diverged", f"the validation loss is not finite at step {progress.step}"
        return nats if finite else None

    def record(train_nats: float | None, valid_nats: float | None) -> None:
        rate = learning_rate(max(0, progress.step - 1), steps, training)
        row = (progress.step, progress.step * training.batch * context, rate, train_nats, valid_nats)
        progress.curve.append(dict(zip(CURVE, row, strict=True)))
        shown = [f"{name} {nats:.4f}" for name, nats in (("train", train_nats), ("valid", valid_nats)) if nats is not None]
        log.info("step %d of %d: %s nats a token", progress.step, steps, ", ".join(shown))

    def save() -> None:
        tensors = _standing(model, optimizer, best, processes)
        if processes.first:
            write_csv(curve, progress.curve, CURVE)
            checkpoints.save(progress.step, tensors, {"progress": asdict(progress)})

    if not progress.curve:
        record(None, validate())  # before the first step, so that there is a best even if it diverges at once
    with _progress_bar(steps, progress.step) as bar:
        while progress.step < steps and progress.status == "ok":
            reason = interruption.reason()
            if processes.sum(reason is not None):
                save()
                processes.wait()  # torchrun ends all of them when the first one leaves: not before it is written
                done = f"stopped at step {progress.step} of {steps}, which is saved"
                raise Interrupted(f"{done}: {reason or 'another process is to stop'}; the same command goes on from there")
            started = time.perf_counter()
            loss, fault = _step(forward, model, optimizer, training, train_tokens, context, seed, progress.step, steps, processes)
            progress.seconds += time.perf_counter() - started
            if fault:
                progress.status, progress.reason = "diverged", f"{fault} at step {progress.step + 1}"
                log.warning("diverged: %s", progress.reason)
                break
            progress.step += 1
            progress.recent.append(loss)
            bar(progress.step, loss)
            validating = progress.step % training.validate_every == 0 or progress.step == steps
            if validating or progress.step % training.log_every == 0:
                record(sum(progress.recent) / len(progress.recent), validate() if validating else None)
                progress.recent.clear()
            if validating and progress.status == "ok":
                save()
    if processes.first:
        write_csv(curve, progress.curve, CURVE)
    return Trained(progress, best, _copy(model, processes))


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Let every dropout layer of a model drop this share."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share


def _copy(model: torch.nn.Module, processes: Processes) -> dict[str, Tensor]:
    """Of the weights, in the main memory of the first process."""
    return {name: tensor.clone() for name, tensor in processes.gathered(model.state_dict()).items()}


def _step(
    forward: Callable[[Tensor], Tensor],
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    training: Training,
    tokens: TokenFile,
    context: int,
    seed: int,
    step: int,
    steps: int,
    processes: Processes,
) -> tuple[float, str | None]:
    """One optimiser step: its mean loss in nats, and what is not finite, if anything (then the weights stay as they were)."""
    inputs, targets = batch_at(tokens, training, context, seed, step)
    optimizer.zero_grad(set_to_none=True)
    model.at_step(step)
    loss_sum, scored = 0.0, int((targets != IGNORED).sum())
    if scored == 0:
        return loss_sum, None  # rows of nothing but padding
    own = (processes.rows(tensor).to(processes.device).chunk(training.accumulation) for tensor in (inputs, targets))
    for part, wanted in zip(*own, strict=True):
        with autocast(training.device, training.precision):
            logits = forward(part)
        loss = functional.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction="sum") / scored
        loss_sum += loss.item()
        if model.penalty is not None:
            loss = loss + model.penalty * (int((wanted != IGNORED).sum()) / scored)
        (loss * processes.count).backward()  # of which the mean over processes is taken
    loss_sum = processes.sum(loss_sum)
    norm = processes.whole(torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)).item()
    if not math.isfinite(loss_sum):
        return loss_sum, "the loss is not finite"
    if not math.isfinite(norm):
        return loss_sum, "the gradient is not finite"
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, steps, training)
    optimizer.step()
    return loss_sum, None


def _standing(model: torch.nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """All tensors that a training goes on from, whole, in the first process; `_resume` reads them."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        tensors |= {f"optimizer.{name}.{key}": value for key, value in optimizer.state[parameter].items()}
    tensors = processes.gathered(tensors) | {f"best.{name}": tensor for name, tensor in best.items()}
    for rank, states in enumerate(processes.all(_random_states(processes.device))):
        tensors |= {f"random.{rank}.{key}": state for key, state in states.items()}
    return tensors


def _seed_of(seed: int, rank: int) -> int:
    """Of the dropout of a process that is not the first."""
    return int(numpy.random.SeedSequence([seed, rank]).generate_state(1, numpy.uint64)[0] >> 1)


def _random_states(device: str) -> dict[str, Tensor]:
    """Those that dropout draws from."""
    return {"cpu": torch.get_rng_state(), **({"cuda": torch.cuda.get_rng_state(device)} if device != "cpu" else {})}


def _resume(
    checkpoints: Checkpoints, model: torch.nn.Module, optimizer: torch.optim.Optimizer, processes: Processes
) -> tuple[Progress, dict[str, Tensor]]:
    """Put model, optimiser and random state back to the newest checkpoint; its progress and best weights."""
    step = processes.from_first(checkpoints.newest)
    if step is None:
        return Progress(), {}
    tensors, facts = checkpoints.load(step)
    held = model.state_dict()
    model.load_state_dict({name: processes.placed(tensor, held[name]) for name, tensor in _below("model.", tensors).items()})
    for name, parameter in model.named_parameters():
        state = _below(f"optimizer.{name}.", tensors)
        # AdamW keeps its step count on the CPU, and its moments beside the parameter
        optimizer.state[parameter] = {key: value if key == "step" else processes.placed(value, parameter) for key, value in state.items()}
    random = _below(f"random.{processes.rank}.", tensors)
    torch.set_rng_state(random["cpu"])
    if processes.device != "cpu":
        torch.cuda.set_rng_state(random["cuda"], processes.device)
    log.info("resumed at step %d", facts["step"])
    return Progress(**facts["progress"]), _below("best.", tensors)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


@contextlib.contextmanager
def _progress_bar(steps: int, done: int) -> Iterator[Callable[[int, float], None]]:
    """A bar on a terminal; elsewhere nothing, since the log has plain lines."""
    with tqdm(total=steps, initial=done, unit="step", disable=not sys.stderr.isatty()) as bar:

        def show(step: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(nats=f"{loss:.3f}", refresh=False)

        yield show
