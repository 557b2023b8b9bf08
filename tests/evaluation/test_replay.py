"""The published way to score, against numbers computed by hand."""

from math import log

import numpy
import pandas
import pytest
import torch

from wavestack.corpora.tokens import TokenFile
from wavestack.evaluation.replay import published_loss, row_losses
from wavestack.schema import Replay

END = 3
#         next:  0    1    2   end
TABLE = [[0.10, 0.50, 0.30, 0.10], [0.25, 0.25, 0.25, 0.25], [0.05, 0.05, 0.10, 0.80], [0.40, 0.40, 0.10, 0.10]]


def bigram(tokens):
    """A model that looks one token back."""
    return torch.tensor(TABLE).log()[tokens]


@pytest.fixture
def file():
    """Documents (0, 1, 2), (2) and (1, 1, 1, 1, 1)."""
    stream = [END, 0, 1, 2, END, 2, END, 1, 1, 1, 1, 1, END]
    return TokenFile(numpy.array(stream, "<u2"), numpy.array([0, 4, 6, 12]), numpy.array([3, 1, 5]), None, 4, END)


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_rows_by_hand(file, batch):
    """Rows of four: 0 1 2 end, 2 end end end, and 1 1 1 1, which is cut."""
    losses = row_losses(bigram, file, range(3), 4, batch, compared=3)
    assert losses["text_tokens"].tolist() == [2, 0, 3]
    assert losses["padding_tokens"].tolist() == [1, 3, 0]
    assert losses["text_nats"].tolist() == pytest.approx([-log(0.5 * 0.25), 0, -3 * log(0.25)])
    assert losses["padding_nats"].tolist() == pytest.approx([-log(0.8), -log(0.8 * 0.1 * 0.1), 0])
    assert losses["compared_tokens"].tolist() == [2, 0, 2]  # of three, of which the first is not scored
    assert losses["compared_nats"].tolist() == pytest.approx([-log(0.5 * 0.25), 0, -2 * log(0.25)])


def test_no_rows(file):
    assert len(row_losses(bigram, file, [], 4, 2, 4)) == 0


ROWS = pandas.DataFrame(
    {"text_nats": [6.0, 0.0, 1.0, 8.0], "text_tokens": [2, 0, 1, 4], "padding_nats": [0.5, 2.0, 0.5, 0.0], "padding_tokens": [1, 3, 1, 0]}
)


@pytest.mark.parametrize(
    ("replay", "expected"),
    [
        # batches of two rows: 8.5 nats over 6 tokens, and 9.5 over 6
        (Replay(scale=1.0, batch=2, batches=None, padding=True), (8.5 / 6 + 9.5 / 6) / 2),
        (Replay(scale=0.7, batch=2, batches=1, padding=True), 0.7 * 8.5 / 6),
        (Replay(scale=1.0, batch=2, batches=None, padding=False), (6 / 2 + 9 / 5) / 2),
        (Replay(scale=1.0, batch=4, batches=8, padding=False), 15 / 7),
        # a row a batch; the one without text is passed over, and is none of the first two
        (Replay(scale=1.0, batch=1, batches=2, padding=False), (6 / 2 + 1 / 1) / 2),
    ],
)
def test_published_losses_by_hand(replay, expected):
    assert published_loss(ROWS, replay) == pytest.approx(expected)


def test_nothing_to_score_is_refused():
    with pytest.raises(ValueError, match="no row has a token to be scored; score padding"):
        published_loss(ROWS.iloc[1:2], Replay(padding=False))
