import pytest
import torch

from wavestack.lanes.hadamard import Hadamard, walsh_basis


def test_four_walsh_functions_by_hand():
    expected = [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]]
    assert walsh_basis(4, 4).T.tolist() == expected


@pytest.mark.parametrize("context", [1, 2, 64, 256])
def test_the_whole_basis_is_orthogonal_and_in_sequency_order(context):
    basis = walsh_basis(context, context)
    assert torch.equal(basis.T @ basis, context * torch.eye(context))
    changes = (basis.diff(dim=0) != 0).sum(0)
    assert changes.tolist() == list(range(context))


def test_a_few_functions_of_a_long_context():
    """Column k changes its sign k times, without the T x T matrix (17 GB) being built."""
    basis = walsh_basis(65_536, 16)
    assert (basis.diff(dim=0) != 0).sum(0).tolist() == list(range(16))
    assert torch.equal(basis.T @ basis, 65_536 * torch.eye(16))


def test_refused():
    with pytest.raises(ValueError, match=r"a context of 300 is no power of two.*use 256 or 512"):
        Hadamard(4, 300)
    with pytest.raises(ValueError, match=r"9 functions.*context of 8.*at most 8"):
        Hadamard(4, 8, functions=9)
    assert Hadamard(4, 8, functions=8).table.shape == (8, 8)
