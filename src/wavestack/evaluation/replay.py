"""The published evaluation, replayed: one document a row, cut or padded, and the mean of the batch means of the first few batches.

Rows are kept with their sums, of text and of padding apart, so that every way to score them can be had afterwards. The model is that of the
last step, as published. A row has no end-of-text before its text, and the first token of a row is not scored.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pandas
import torch
from torch.nn import functional

from wavestack.allocation import keep_freed_memory
from wavestack.artifacts import write_json, written_atomically
from wavestack.corpora.tokens import TokenFile
from wavestack.device import available, round_products
from wavestack.evaluation.likelihood import Logits
from wavestack.params import Parameters, Run
from wavestack.schema import Replay
from wavestack.training.batches import document_rows
from wavestack.training.checkpoint import load_model

SUMS = ("text_nats", "text_tokens", "padding_nats", "padding_tokens", "compared_nats", "compared_tokens")


@torch.no_grad()
def row_losses(
    model: Logits, tokens: TokenFile, documents: Sequence[int] | numpy.ndarray, context: int, batch: int, compared: int
) -> pandas.DataFrame:
    """Sums of the losses of each row, in nats.

    Args:
        model: from tokens to logits; put in evaluation mode by the caller.
        documents: which of the token file's, in the order of the rows.
        context: tokens a row.
        batch: rows a forward pass.
        compared: tokens at the start of each document that models of several contexts are compared on.

    Returns:
        A row a document, in the order asked: document; text_nats, text_tokens, padding_nats, padding_tokens of the whole row; and
        compared_nats, compared_tokens of the text among its first tokens.
    """
    chosen = numpy.asarray(documents, dtype=numpy.int64)
    device = next(model.parameters()).device if isinstance(model, torch.nn.Module) else torch.device("cpu")
    found = []
    for start in range(0, len(chosen), batch):
        rows, lengths = document_rows(tokens, chosen[start : start + batch], context)
        sequences = torch.from_numpy(rows).to(device)
        logits = model(sequences[:, :-1])
        losses = functional.cross_entropy(logits.float().flatten(0, 1), sequences[:, 1:].flatten(), reduction="none")
        nats = losses.view(len(rows), context - 1).double().cpu().numpy()  # B x (S-1)
        text = numpy.arange(1, context) < lengths[:, None]
        parts = (text, ~text, text & (numpy.arange(1, context) < compared))
        found.append(numpy.stack([sums for part in parts for sums in ((nats * part).sum(1), part.sum(1))], 1))
    table = numpy.concatenate(found) if found else numpy.zeros((0, len(SUMS)))
    counts = {column: int for column in SUMS if column.endswith("tokens")}
    return pandas.DataFrame({"document": chosen, **dict(zip(SUMS, table.T, strict=True))}).astype(counts)


def published_loss(losses: pandas.DataFrame, replay: Replay) -> float:
    """The loss as it was published: a weight times the mean of the means of the first batches.

    Raises:
        ValueError: no batch has a target.
    """
    return replay.scale * float(numpy.mean(batch_means(losses, replay)))


def batch_means(losses: pandas.DataFrame, replay: Replay) -> list[float]:
    """Nats a scored token of each of the first batches. A batch without a target is passed over.

    Raises:
        ValueError: no batch has a target.
    """
    means: list[float] = []
    for start in range(0, len(losses), replay.batch):
        if len(means) == replay.batches:
            break
        batch = losses.iloc[start : start + replay.batch]
        nats, tokens = batch["text_nats"].sum(), batch["text_tokens"].sum()
        if replay.padding:
            nats, tokens = nats + batch["padding_nats"].sum(), tokens + batch["padding_tokens"].sum()
        if tokens:
            means.append(nats / tokens)
    if not means:
        raise ValueError("no row has a token to be scored; score padding, or use other text")
    return means


def replay_run(parameters: Parameters, run: Run, tokens: Path, trained: Path, data: Path, reports: Path) -> None:
    """Score the last weights of a run, row by row.

    Args:
        tokens: folder of the corpus's token files.
        trained: holds the run's `last`.
        data: gets `rows.parquet`, rows of the validation split and of what was held out of the train split.
        reports: gets `replay.json`: status, parameters, and nats a token of the compared text of the validation rows.

    Raises:
        ValueError: the model's context is shorter than what is compared.
    """
    keep_freed_memory()
    audit = parameters.profile.studies.audit
    assert audit is not None
    training = parameters.training(run)
    torch.set_num_threads(training.threads)
    torch.use_deterministic_algorithms(training.device == "cpu")
    round_products(training.device, "float32")
    model = load_model(trained / "last").to(available(training.device))
    if model.context < audit.tokens:
        raise ValueError(f"{run} has a context of {model.context}, and studies.audit.tokens asks for {audit.tokens}; lower it")
    held_out = _held_out(TokenFile.open(tokens, "train"), training.documents, audit.replay, run.seed)
    parts = []
    for split, documents in (("valid", None), ("train", held_out)):
        file = TokenFile.open(tokens, split)
        chosen = range(len(file)) if documents is None else documents
        losses = row_losses(model, file, chosen, model.context, audit.replay.batch, audit.tokens)
        parts.append(losses.assign(split="valid" if documents is None else "held out"))
    rows = pandas.concat(parts, ignore_index=True)
    with written_atomically(data / "rows.parquet") as temporary:
        rows.to_parquet(temporary, index=False)
    write_json(reports / "replay.json", _summary(parts[0], model))


def _held_out(train: TokenFile, documents: int | None, replay: Replay, seed: int) -> numpy.ndarray:
    """As many documents as the first batches hold, drawn from those of the train split that were not trained on; none where all were."""
    beyond = numpy.arange(len(train) if documents is None else min(documents, len(train)), len(train))
    wanted = min(len(beyond), replay.batch * (replay.batches or len(beyond)))
    return numpy.random.default_rng(seed).choice(beyond, wanted, replace=False)


def _summary(rows: pandas.DataFrame, model: Any) -> dict[str, Any]:
    nats, tokens = float(rows["compared_nats"].sum()), int(rows["compared_tokens"].sum())
    total, non_embedding = model.parameter_counts()
    finite = bool(numpy.isfinite(rows["text_nats"]).all() and numpy.isfinite(rows["padding_nats"]).all())
    return {
        "status": "ok" if finite else "diverged",
        "reason": None if finite else "the loss of a row is not finite",
        "parameters": total,
        "non_embedding_parameters": non_embedding,
        "rows": len(rows),
        "tokens": tokens,
        "nats_per_token": nats / tokens if finite else None,
    }
