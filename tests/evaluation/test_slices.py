"""Slices of the likelihood against numbers counted by hand."""

from math import log

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavestack.corpora.tokens import TokenFile
from wavestack.evaluation.likelihood import document_losses, scored_windows
from wavestack.evaluation.slices import by_slice, pairs_back

END = 3
TABLE = [[0.10, 0.50, 0.30, 0.10], [0.25, 0.25, 0.25, 0.25], [0.05, 0.05, 0.10, 0.80], [0.40, 0.40, 0.10, 0.10]]


def bigram(tokens):
    """A model that looks one token back."""
    return torch.tensor(TABLE).log()[tokens]


def token_file(*documents):
    stream, borders = [END], [0]
    for document in documents:
        stream += [*document, END]
        borders.append(len(stream) - 1)
    sizes = numpy.array([len(d) for d in documents])
    return TokenFile(numpy.array(stream, "<u2"), numpy.array(borders), sizes, None, 4, END)


def sliced(documents, context, counts=(1, 2, 4, 8)):
    file = token_file(*documents)
    return by_slice(file, scored_windows(bigram, file, range(len(documents)), context, 64), numpy.array(counts))


def found(documents, context, counts=(1, 2, 4, 8)):
    slices = sliced(documents, context, counts)
    return {(row.kind, row.least): (row.tokens, pytest.approx(row.nats)) for row in slices.itertuples()}


def test_by_hand():
    """end>0 .4, 0>1 .5, 1>0 .25, 0>1 .5 again and two back, 1>end .25."""
    assert found([[0, 1, 0, 1]], 8) == {
        ("seen", 1): (1, -log(0.4)),
        ("seen", 2): (2, -log(0.5 * 0.25)),
        ("seen", 4): (2, -log(0.5 * 0.25)),
        ("count", 1): (2, -log(0.4 * 0.25)),  # of token 0
        ("count", 2): (2, -log(0.5 * 0.5)),
        ("count", 8): (1, -log(0.25)),
        ("back", 0): (4, -log(0.4 * 0.5 * 0.25 * 0.25)),
        ("back", 2): (1, -log(0.5)),
    }


def test_what_a_window_does_not_reach_is_new_to_it():
    """Windows of four targets and a stride of two: the pair 0 1 at the start is out of reach of the last one."""
    text = [[0, 1, 2, 2, 1, 0, 1]]
    assert found(text, 8)["back", 4] == (1, -log(0.5))
    assert ("back", 4) not in found(text, 4)
    # of eight targets the first window sees 1, 2, 3, 4 tokens before them, and the later ones score their last two
    assert [found(text, 4)["seen", least][0] for least in (1, 2, 4)] == [1, 4, 3]
    assert [found(text, 8)["seen", least][0] for least in (1, 2, 4, 8)] == [1, 2, 4, 1]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=20), min_size=1, max_size=4), st.integers(2, 9))
def test_every_kind_holds_each_target_once(documents, context):
    slices = sliced(documents, context)
    whole = document_losses(bigram, token_file(*documents), range(len(documents)), context, 64)
    for _, of_kind in slices.groupby("kind"):
        assert of_kind["tokens"].sum() == whole["tokens"].sum()
        assert of_kind["nats"].sum() == pytest.approx(whole["nats"].sum())


@given(st.lists(st.integers(0, 3), max_size=30))
def test_pairs_back_against_a_search(text):
    expected = []
    for place in range(len(text) - 1):
        earlier = [p for p in range(place) if text[p : p + 2] == text[place : place + 2]]
        expected.append(place - earlier[-1] if earlier else 0)
    assert pairs_back(numpy.array(text, dtype=numpy.int64)).tolist() == expected
