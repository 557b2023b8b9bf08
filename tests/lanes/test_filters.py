import numpy
import pytest
import pywt
import torch

from wavestack.lanes.convolution import ShortConvolution
from wavestack.lanes.filtering import FEW, SEGMENT, _convolved, causal_filter
from wavestack.lanes.wavelet import Wavelet, equivalent_filters, orthogonal_wavelets


def details_and_approximation(lane: Wavelet, x: torch.Tensor) -> torch.Tensor:
    """What the lane sums, one by one: (levels + 1) x S for a single channel."""
    rows = []
    for scale in range(len(lane.weights)):
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
    ("wavelet", "levels", "delay"), [("haar", 3, 7), ("db4", 3, 49), ("sym4", 2, 21), ("coif1", 4, 75), ("db2", 5, 93)]
)
def test_the_transform_reconstructs_perfectly_with_a_delay(wavelet, levels, delay):
    """Filtering every row of the transform with its own filter read backwards, and adding up, gives x, (n-1)(2^J - 1) positions late.

    The bands are a tight frame: their squared frequency responses add up to 1. Measured: 1e-15 for db4, 3e-12 at worst (sym4, whose
    tabulated coefficients are not exact). Without the delay it is not close.
    """
    filters = equivalent_filters(wavelet, levels).numpy()
    assert filters.shape == (levels + 1, delay + 1)
    x = numpy.random.default_rng(0).standard_normal(400)
    bands = [numpy.convolve(x, row)[:400] for row in filters]  # zeros before the start, as the lane has it
    y = sum(numpy.convolve(band, row[::-1])[:400] for band, row in zip(bands, filters, strict=True))
    assert numpy.abs(y[delay:] - x[: 400 - delay]).max() < 1e-11
    assert numpy.abs(y[:delay]).max() < 1e-11
    assert numpy.abs(y - x).max() > 0.1


@pytest.mark.parametrize("wavelet", orthogonal_wavelets())
def test_every_orthogonal_wavelet_is_a_lane(wavelet):
    lane = Wavelet(2, 1024, wavelet=wavelet, levels=2)
    assert lane.reach == 3 * (pywt.Wavelet(wavelet).dec_len - 1)
    y, state = lane(torch.ones(1, 700, 2))
    assert state.shape == (1, lane.reach, 2)
    # the details of a constant are nothing, its approximation is itself; dmey, a finite stand-in for an infinite filter, is so roughly
    settled = y[:, lane.reach :]
    torch.testing.assert_close(settled, torch.ones_like(settled), atol=2e-3 if wavelet == "dmey" else 2e-5, rtol=0)


def test_short_convolution_by_hand_and_identity_at_the_start():
    lane = ShortConvolution(1, 8, width=2)
    x = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1)
    torch.testing.assert_close(lane(x)[0], x)
    lane.weight.data = torch.tensor([[10.0], [1.0]])
    torch.testing.assert_close(lane(x)[0].flatten(), torch.tensor([10.0, 21.0, 42.0]))


@pytest.mark.parametrize("length", [2 * SEGMENT, 2 * SEGMENT + 1, 3 * SEGMENT + 17])
def test_filtering_in_segments_is_filtering(length):
    x, taps, past = torch.randn(2, length, 3), torch.randn(5, 3), torch.randn(2, 4, 3)
    y, state = causal_filter(x, taps, past)
    extended = torch.cat([past, x], 1).double()
    expected = sum(taps[k].double() * extended[:, 4 - k : 4 - k + length] for k in range(5))
    torch.testing.assert_close(y, expected.float(), atol=1e-5, rtol=1e-5)
    assert torch.equal(state, x[:, -4:])


@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("taps", [1, 4, FEW, FEW + 1])
@pytest.mark.parametrize("length", [1, 2, 3, FEW, SEGMENT + 2, 2 * SEGMENT + 1])
def test_outputs_and_gradients_of_a_filter_are_those_of_shifts(length, taps, silu):
    """Shorter than the filter, across pieces, on either side of the number of taps where the way of filtering changes."""
    x, past = torch.randn(2, length, 3, dtype=torch.float64), torch.randn(2, taps - 1, 3, dtype=torch.float64)
    weights = torch.randn(taps, 3, dtype=torch.float64)
    given = [tensor.requires_grad_() for tensor in (x, weights, past)]
    extended = torch.cat([past, x], 1)
    expected = sum(weights[k] * extended[:, taps - 1 - k : taps - 1 - k + length] for k in range(taps))
    expected = expected / (1 + torch.exp(-expected)) if silu else expected
    y, state = causal_filter(x, weights, past, silu)
    torch.testing.assert_close(y, expected)
    assert torch.equal(state, extended[:, length:])
    dy = torch.randn_like(y)
    for found, wanted in zip(torch.autograd.grad(y, given, dy), torch.autograd.grad(expected, given, dy), strict=True):
        torch.testing.assert_close(found, wanted)


def test_a_single_position_in_bfloat16_is_summed_before_it_is_rounded():
    """As a convolution does it; with rounded products 23 taps would be off by several steps of bfloat16."""
    torch.manual_seed(0)
    x, taps = torch.randn(2, 23, 64).bfloat16(), torch.randn(23, 64).bfloat16()
    expected = (x.double() * taps.double().flip(0)).sum(1, keepdim=True)
    torch.testing.assert_close(_convolved(x, taps, 1).double(), expected, rtol=2**-8, atol=1e-6)
