"""The sequences of each training step, from its number and a seed alone: a resumed training and two compared models see the same data."""

from functools import lru_cache

import numpy
import torch
from torch import Tensor

from wavestack.corpora.tokens import TokenFile
from wavestack.schema import Training

IGNORED = -100  # a target that is not trained on; what cross_entropy leaves out unless it is told otherwise


def batch_at(tokens: TokenFile, training: Training, context: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets of one step, each B x S int64.

    Raises:
        ValueError: the split is shorter than one sequence.
    """
    if training.rows == "documents":
        places = numpy.arange(step * training.batch, (step + 1) * training.batch)
        rows, lengths = document_rows(tokens, _shuffled(tokens, training.documents, seed, places), context)
        inputs, targets = rows[:, :-1], rows[:, 1:].copy()
        if not training.padding:
            targets[numpy.arange(1, context) >= lengths[:, None]] = IGNORED
        return torch.from_numpy(inputs), torch.from_numpy(targets)
    sequences = torch.from_numpy(stream_sequences(tokens, training.batch, context, seed, step))
    return sequences[:, :-1], sequences[:, 1:]


def stream_sequences(tokens: TokenFile, batch: int, context: int, seed: int, step: int) -> numpy.ndarray:
    """B x (S+1) tokens that start anywhere in the stream."""
    available = len(tokens.stream) - context
    if available < 1:
        raise ValueError(
            f"the train split has {len(tokens.stream):,} tokens, fewer than one sequence of {context} + 1; "
            "use more text or a shorter context"
        )
    starts = numpy.random.default_rng([seed, step]).integers(0, available, batch)
    return numpy.stack([tokens.stream[start : start + context + 1].astype(numpy.int64) for start in starts])


def document_rows(tokens: TokenFile, documents: numpy.ndarray, context: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """One document a row, cut at S tokens or padded with end-of-text, as the published protocol had it.

    Returns:
        Rows, B x S int64, and the tokens of text in each.
    """
    rows = numpy.full((len(documents), context), tokens.end_of_text, dtype=numpy.int64)
    lengths = numpy.empty(len(documents), dtype=numpy.int64)
    for row, document in enumerate(documents):
        text = tokens.document(int(document))[1:-1][:context]  # without the end-of-text on either side
        rows[row, : len(text)] = text
        lengths[row] = len(text)
    return rows, lengths


def _shuffled(tokens: TokenFile, documents: int | None, seed: int, places: numpy.ndarray) -> numpy.ndarray:
    """The documents at these places of a sequence that goes through the first `documents` again and again, each time in another order."""
    count = len(tokens) if documents is None else min(documents, len(tokens))
    return numpy.array([_order(count, seed, int(place // count))[place % count] for place in places])


@lru_cache(maxsize=2)  # a batch may lie across the border of two rounds
def _order(count: int, seed: int, again: int) -> numpy.ndarray:
    return numpy.random.default_rng([seed, again]).permutation(count)
