"""The one likelihood core: nats for every target of a split, once, under one context rule for all models.

A document starts with an end-of-text token and fresh state, and its last target is the end-of-text token that follows it. Longer ones than
the context are scored in windows of the context length with a stride of half: the first window scores all its targets, every later one
those that no window has scored yet. The end-of-text target counts in nats per token, and not in bits per byte or word perplexity.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import exp, isfinite, log
from typing import Any, NamedTuple

import numpy
import pandas
import torch
from torch import Tensor
from torch.nn import functional

from wavestack.corpora.tokens import TokenFile

Logits = Callable[[Tensor], Tensor]  # tokens B x S -> logits B x S x V, causal


class Window(NamedTuple):
    """Targets start .. end of a document, scored from `scored` on. Target i is the token after position i."""

    document: int
    start: int
    scored: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


def windows(document: int, targets: int, context: int) -> Iterator[Window]:
    """The windows of a document with this many targets: together they score each target once."""
    stride = max(1, context // 2)
    start, scored, end = 0, 0, min(context, targets)
    yield Window(document, start, scored, end)
    while end < targets:
        start, scored = start + stride, end
        end = min(start + context, targets)
        yield Window(document, start, scored, end)


@torch.no_grad()
def scored_windows(
    model: Logits, tokens: TokenFile, documents: Sequence[int] | numpy.ndarray, context: int, batch_tokens: int
) -> Iterator[tuple[Window, numpy.ndarray]]:
    """The windows of the documents, shortest first, each with the losses of its targets `scored` .. `end` in nats, float64.

    Arguments as in `document_losses`.
    """
    chosen = numpy.asarray(documents, dtype=numpy.int64)
    targets = tokens.borders[chosen + 1] - tokens.borders[chosen]
    cut = [window for d, n in zip(chosen, targets, strict=True) for window in windows(int(d), int(n), context)]
    cut.sort(key=lambda window: (window.length, window.document, window.start))
    device = next(model.parameters()).device if isinstance(model, torch.nn.Module) else torch.device("cpu")
    for batch in _batches(cut, batch_tokens):
        length = batch[-1].length
        inputs = numpy.zeros((len(batch), length + 1), dtype=numpy.int64)
        for row, window in enumerate(batch):
            inputs[row, : window.length + 1] = tokens.document(window.document)[window.start : window.end + 1]
        sequence = torch.from_numpy(inputs).to(device)
        logits = model(sequence[:, :-1])
        losses = functional.cross_entropy(logits.float().flatten(0, 1), sequence[:, 1:].flatten(), reduction="none")
        loss = losses.view(len(batch), length).double().cpu().numpy()  # B x S
        for row, window in enumerate(batch):
            yield window, loss[row, window.scored - window.start : window.length]


def document_losses(
    model: Logits, tokens: TokenFile, documents: Sequence[int] | numpy.ndarray, context: int, batch_tokens: int
) -> pandas.DataFrame:
    """Loss of each document, in nats.

    Args:
        model: from tokens to logits; put in evaluation mode by the caller, if it has one.
        documents: which of the token file's.
        context: positions that the model may see.
        batch_tokens: positions a forward pass; windows of like length share one, padded on the right, which a causal model cannot see.

    Returns:
        As `by_document`.
    """
    return by_document(tokens, documents, scored_windows(model, tokens, documents, context, batch_tokens))


def by_document(
    tokens: TokenFile, documents: Sequence[int] | numpy.ndarray, scored: Iterable[tuple[Window, numpy.ndarray]]
) -> pandas.DataFrame:
    """The losses of windows put together.

    Args:
        tokens, documents: what was scored.
        scored: of `scored_windows`.

    Returns:
        A row a document, in the order asked: document, tokens (targets, the end-of-text among them), bytes, words, nats (over all
        targets), text_nats (without the end-of-text target).
    """
    chosen = numpy.asarray(documents, dtype=numpy.int64)
    row_of = {int(document): row for row, document in enumerate(chosen)}
    targets = tokens.borders[chosen + 1] - tokens.borders[chosen]
    nats = numpy.zeros(len(chosen))
    end_nats = numpy.zeros(len(chosen))
    for window, loss in scored:
        document = row_of[window.document]
        nats[document] += loss.sum()
        if window.end == targets[document]:
            end_nats[document] = loss[-1]
    return pandas.DataFrame(
        {
            "document": chosen,
            "tokens": targets,
            "bytes": tokens.bytes[chosen],
            "words": 0 if tokens.words is None else tokens.words[chosen],
            "nats": nats,
            "text_nats": nats - end_nats,
        }
    )


def _batches(cut: Sequence[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Windows, shortest first, in batches of at most this many padded positions, but at least one window."""
    batch: list[Window] = []
    for window in cut:
        if batch and (len(batch) + 1) * window.length > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def spread_documents(tokens: TokenFile, most_tokens: int) -> numpy.ndarray:
    """Documents spread evenly over a split, about this many tokens of them (all, where there are fewer)."""
    total = int(tokens.borders[-1] - tokens.borders[0])
    step = max(1.0, total / most_tokens)
    chosen = numpy.unique(numpy.floor(numpy.arange(0, len(tokens), step)).astype(numpy.int64))
    sizes = numpy.cumsum(tokens.borders[chosen + 1] - tokens.borders[chosen])
    return chosen[: max(1, int(numpy.searchsorted(sizes, most_tokens, side="right")) + 1)]


def _perplexity(nats: float) -> float | None:
    """e to the nats; None where that is beyond a float (text without spaces may be one word)."""
    return exp(nats) if nats < 700 else None


def summary(losses: pandas.DataFrame, counts_words: bool) -> dict[str, Any]:
    """The measures of a split: sums first, then ratios, so that long documents weigh what they are.

    Returns:
        nats_per_token, perplexity (a token), bits_per_byte, word_perplexity (None where the corpus has no words), and what they are
        made of: documents, tokens, bytes, words, nats, text_nats. Where a loss is not finite: a status and a reason instead.
    """
    tokens, size, words = (int(losses[column].sum()) for column in ("tokens", "bytes", "words"))
    nats, text_nats = float(losses["nats"].to_numpy().sum()), float(losses["text_nats"].to_numpy().sum())
    if not isfinite(nats):
        return {"status": "diverged", "reason": "the loss of the split is not finite"}
    return {
        "documents": len(losses),
        "tokens": tokens,
        "bytes": size,
        "words": words if counts_words else None,
        "nats": nats,
        "text_nats": text_nats,
        "nats_per_token": nats / tokens,
        "perplexity": _perplexity(nats / tokens),
        "bits_per_byte": text_nats / log(2) / size,
        "word_perplexity": _perplexity(text_nats / words) if counts_words and words else None,
    }
