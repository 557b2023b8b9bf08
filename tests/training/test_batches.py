"""The sequences of a step: pieces of the stream, or documents as rows."""

from collections import Counter

import numpy
import pytest
import torch

from wavestack.corpora.tokens import TokenFile
from wavestack.schema import Training
from wavestack.training.batches import IGNORED, batch_at, document_rows, stream_sequences

STREAM = Training(batch=64)
CONTEXT = 16


@pytest.fixture
def file(tokens):
    return TokenFile.open(tokens, "train")


def test_sequences_are_pieces_of_the_stream_and_targets_are_what_follows(file):
    inputs, targets = batch_at(file, STREAM, CONTEXT, seed=1, step=2)
    assert inputs.shape == targets.shape == (64, CONTEXT)
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    text = file.stream.astype(numpy.uint8).tobytes()  # bytes 0..255 of it suffice to find a piece
    for row in inputs:
        assert text.find(row.numpy().astype(numpy.uint8).tobytes()) >= 0


@pytest.mark.parametrize("training", [STREAM, Training(batch=64, rows="documents")], ids=["stream", "documents"])
def test_they_depend_on_seed_and_step_alone(file, training):
    first, again, step, seed = (batch_at(file, training, CONTEXT, *at)[0] for at in ((1, 2), (1, 2), (1, 3), (2, 2)))
    assert torch.equal(first, again)
    assert not torch.equal(first, step)
    assert not torch.equal(first, seed)


def test_too_little_text_is_refused(file):
    with pytest.raises(ValueError, match="fewer than one sequence"):
        stream_sequences(file, 1, len(file.stream), 0, 0)


def test_a_row_is_a_document_cut_or_padded(file, texts):
    rows, lengths = document_rows(file, numpy.array([3, 0]), 400)
    for row, length, text in zip(rows, lengths, (texts["train"][3], texts["train"][0]), strict=True):
        assert bytes(row[:length].tolist()).decode() == text
        assert (row[length:] == file.end_of_text).all()
    cut, (length,) = document_rows(file, numpy.array([3]), 5)
    assert bytes(cut[0].tolist()).decode() == texts["train"][3][:5]
    assert length == 5


@pytest.mark.parametrize("padding", [True, False])
def test_padding_is_trained_on_where_it_is_asked_for(file, padding):
    training = Training(batch=8, rows="documents", padding=padding)
    inputs, targets = batch_at(file, training, 400, seed=0, step=0)
    assert inputs.shape == (8, 399)
    for row, wanted in zip(inputs, targets, strict=True):
        text = int((row != file.end_of_text).sum())  # the row is longer than any document
        assert torch.equal(wanted[: text - 1], row[1:text])
        assert set(wanted[text - 1 :].tolist()) == {file.end_of_text if padding else IGNORED}


def test_every_document_of_the_first_so_many_comes_once_a_round(file, texts):
    """Batches of 8 out of 12 documents: three batches are two rounds, and the second is in another order."""
    training = Training(batch=8, rows="documents", documents=12)
    rows = torch.cat([batch_at(file, training, 400, seed=5, step=step)[0] for step in range(3)])
    known = {tuple(document_rows(file, numpy.array([i]), 400)[0][0, :-1].tolist()): i for i in range(12)}
    order = [known[tuple(row.tolist())] for row in rows]
    assert Counter(order[:12]) == Counter(order[12:]) == Counter(range(12))
    assert order[:12] != order[12:]
