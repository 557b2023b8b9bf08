import numpy
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lanes.naive import causal_filter as naive
from wavestack.lanes.convolution import ShortConvolution
from wavestack.lanes.wavelet import Wavelet


def details_and_approximation(lane: Wavelet, x: torch.Tensor) -> torch.Tensor:
    """What the lane sums, one by one: (levels + 1) x S for a single channel."""
    rows = []
    for scale in range(lane.levels + 1):
        lane.weights.data.zero_()
        lane.weights.data[scale] = 1
        rows.append(lane(x)[0][0, :, 0])
    return torch.stack(rows)


def test_haar_by_hand():
    """One level of haar: half the difference to the last position, and half the sum."""
    lane = Wavelet(1, 8, wavelet="haar", levels=1)
    x = torch.tensor([4.0, 2.0, 8.0, 0.0]).view(1, 4, 1)
    detail, approximation = details_and_approximation(lane, x)
    torch.testing.assert_close(approximation, torch.tensor([2.0, 3.0, 5.0, 4.0]))
    torch.testing.assert_close(detail.abs(), torch.tensor([2.0, 1.0, 3.0, 4.0]))


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4", "sym4", "coif1"])
def test_equals_the_filters_applied_level_by_level(wavelet):
    lane = Wavelet(1, 128, wavelet=wavelet, levels=3)
    x = torch.randn(1, 100, 1)
    rows = details_and_approximation(lane, x)
    approximation, filters = x, pywt.Wavelet(wavelet)
    for level in range(3):
        detail = naive(approximation, [tap / 2**0.5 for tap in filters.dec_hi], 2**level)
        torch.testing.assert_close(rows[level], detail[0, :, 0], atol=1e-5, rtol=1e-4)
        approximation = naive(approximation, [tap / 2**0.5 for tap in filters.dec_lo], 2**level)
    torch.testing.assert_close(rows[3], approximation[0, :, 0], atol=1e-5, rtol=1e-4)


def test_interior_equals_pywavelets_stationary_transform():
    """pywt.swt is periodic, centred and not normalised: interiors agree after a shift and 1/sqrt(2) a level."""
    lane = Wavelet(1, 128, wavelet="db2", levels=2)
    x = torch.randn(1, 64, 1)
    ours = details_and_approximation(lane, x).detach().numpy()
    (approximation, detail_2), (_, detail_1) = pywt.swt(x[0, :, 0].numpy(), "db2", level=2)
    for row, theirs, level in ((ours[0], detail_1, 1), (ours[1], detail_2, 2), (ours[2], approximation, 2)):
        theirs = theirs / 2 ** (level / 2)
        shifts = [numpy.abs(numpy.roll(theirs, s)[24:56] - row[24:56]).max() for s in range(-8, 9)]
        assert min(shifts) < 1e-5


@pytest.mark.parametrize(
    "lane", [Wavelet(3, 128, wavelet="db4", levels=3), ShortConvolution(3, 128, width=4)], ids=["wavelet", "convolution"]
)
@given(cuts=st.lists(st.integers(1, 89), max_size=5, unique=True))
@settings(max_examples=25, deadline=None)
def test_any_cutting_with_the_state_carried_gives_the_same(lane, cuts):
    torch.manual_seed(0)
    for parameter in lane.parameters():
        parameter.data.normal_()
    x = torch.randn(2, 90, 3)
    pieces, state = [], None
    for piece in x.tensor_split(sorted(cuts), dim=1):
        y, state = lane(piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), lane(x)[0], atol=1e-6, rtol=1e-5)


def test_short_convolution_by_hand_and_identity_at_the_start():
    lane = ShortConvolution(1, 8, width=2)
    x = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1)
    torch.testing.assert_close(lane(x)[0], x)
    lane.weight.data = torch.tensor([[10.0], [1.0]])
    torch.testing.assert_close(lane(x)[0].flatten(), torch.tensor([10.0, 21.0, 42.0]))


def test_refused_wavelets():
    with pytest.raises(ValueError, match=r"'bior2.2' is no orthogonal wavelet.*haar"):
        Wavelet(4, 64, wavelet="bior2.2")
    with pytest.raises(ValueError, match=r"db4 at level 5 looks back 112 positions, beyond a context of 64"):
        Wavelet(4, 64, wavelet="db4", levels=5)
