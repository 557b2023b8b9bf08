"""Linear CKA against the formula on centred Gram matrices, and what it does not see."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavestack.evaluation.alignment import Alignment


def naive(x, y):
    """By similarities of the tokens: the trace of K H L H over the norms, K = X X^T, L = Y Y^T, H centring."""
    x, y = x.double(), y.double()
    centring = torch.eye(len(x), dtype=torch.float64) - 1 / len(x)
    first, second = (centring @ z @ z.T @ centring for z in (x, y))
    return float((first * second).sum() / (first.norm() * second.norm()))


def alike(*representations, parts=1):
    alignment = Alignment([x.shape[1] for x in representations])
    for part in zip(*(x.chunk(parts) for x in representations), strict=True):
        alignment.add(part)
    return alignment.matrix()


@pytest.mark.parametrize("parts", [1, 3])
def test_against_gram_matrices(parts):
    draw = torch.Generator().manual_seed(0)
    x, noise = torch.randn(50, 4, generator=draw) + 3, torch.randn(50, 7, generator=draw)
    y = noise + x @ torch.randn(4, 7, generator=draw)
    found = alike(x, y, noise, parts=parts)
    for i, first in enumerate((x, y, noise)):
        for j, second in enumerate((x, y, noise)):
            assert found[i][j] == pytest.approx(naive(first, second), abs=1e-9)
    assert 0.1 < found[0][1] < 0.99


@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(-10, 10))
def test_rotation_scale_and_shift_are_not_seen(seed, scale, shift):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(20, 5, generator=draw, dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=draw, dtype=torch.float64))
    assert alike(x, scale * x @ rotation + shift)[0][1] == pytest.approx(1, abs=1e-6)


def test_what_never_changes_is_like_nothing_else():
    draw = torch.Generator().manual_seed(0)
    (own, other), _ = alike(torch.randn(20, 3, generator=draw), torch.ones(20, 2))
    assert own == 1
    assert other == pytest.approx(0, abs=1e-9)
