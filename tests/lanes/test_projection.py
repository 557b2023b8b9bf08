from math import cos, pi, sin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lanes.naive import prefix_kernel_average as naive
from wavestack.lanes.chebyshev import Chebyshev, chebyshev_basis
from wavestack.lanes.fourier import Fourier, fourier_basis
from wavestack.lanes.projection import CHUNK

CONTEXT = 300


def lanes():
    torch.manual_seed(0)
    chosen = [Chebyshev(6, CONTEXT, order=7), Fourier(6, CONTEXT, frequencies=9)]
    for lane in chosen:
        lane.gains.data.normal_()
    return chosen


def test_chebyshev_basis_is_the_polynomials():
    """T_0 .. T_3 are 1, z, 2z^2 - 1, 4z^3 - 3z."""
    z = torch.linspace(-1, 1, 11)
    expected = torch.stack([torch.ones(11), z, 2 * z**2 - 1, 4 * z**3 - 3 * z], 1)
    torch.testing.assert_close(chebyshev_basis(11, 4), expected, atol=1e-6, rtol=0)


def test_fourier_basis_by_hand():
    basis = fourier_basis(8, 3)
    t = 5
    expected = [1, cos(2 * pi * t / 8), cos(4 * pi * t / 8), sin(2 * pi * t / 8), sin(4 * pi * t / 8)]
    torch.testing.assert_close(basis[t], torch.tensor(expected), atol=1e-6, rtol=0)


def test_fourier_phase_is_exact_far_out():
    """At position 65,535 a phase computed in float32 would be off by 1e-2."""
    basis = fourier_basis(65_537, 64)
    assert basis[65_535, 63].item() == pytest.approx(cos(2 * pi * ((65_535 * 63) % 65_537) / 65_537), abs=1e-6)


def test_fourier_lane_is_a_sum_of_cosines_of_the_distance():
    """cos a cos b + sin a sin b = cos(a - b): the published formula, term by term."""
    lane = Fourier(2, 16, frequencies=4)
    lane.gains.data = torch.tensor([1.0, -0.5, 2.0, 0.25])
    x = torch.randn(1, 10, 2)
    y, _ = lane(x)
    for t in range(10):
        terms = [g.item() * cos(2 * pi * f * (t - s) / 16) * x[0, s] for s in range(t + 1) for f, g in enumerate(lane.gains)]
        torch.testing.assert_close(y[0, t], sum(terms) / (t + 1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, CONTEXT])
@pytest.mark.parametrize("lane", lanes(), ids=["chebyshev", "fourier"])
def test_chunks_equal_the_triangular_matrix(lane, length):
    x = torch.randn(2, length, 6, generator=torch.Generator().manual_seed(length))
    y, _ = lane(x)
    expected = naive(x, lane.basis, lane.gains[lane.gain_of_column])
    assert (y - expected).abs().max() < 2e-6 * expected.abs().max().clamp(min=1)


@given(cuts=st.lists(st.integers(1, CONTEXT - 1), max_size=6, unique=True), which=st.integers(0, 1))
@settings(max_examples=40, deadline=None)
def test_any_cutting_with_the_state_carried_gives_the_same(cuts, which):
    lane = lanes()[which]
    x = torch.randn(2, CONTEXT, 6, generator=torch.Generator().manual_seed(1))
    whole, end = lane(x)
    pieces, state = [], None
    for piece in x.tensor_split(sorted(cuts), dim=1):
        y, state = lane(piece, state)
        pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(state.sums, end.sums, atol=1e-3, rtol=1e-4)
    assert state.position == CONTEXT


def test_token_by_token_equals_the_whole():
    lane = lanes()[1]
    x = torch.randn(1, 70, 6)
    whole, _ = lane(x)
    state, steps = None, []
    for t in range(70):
        y, state = lane(x[:, t : t + 1], state)
        steps.append(y)
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("lane", lanes(), ids=["chebyshev", "fourier"])
def test_gradients_equal_those_of_the_matrix(lane):
    x = torch.randn(1, 150, 6, requires_grad=True)
    weight = torch.randn(1, 150, 6)
    (lane(x)[0] * weight).sum().backward()
    fast_x, fast_gains = x.grad.clone(), lane.gains.grad.clone()
    x.grad = lane.gains.grad = None
    (naive(x, lane.basis, lane.gains[lane.gain_of_column]) * weight).sum().backward()
    torch.testing.assert_close(fast_x, x.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(fast_gains, lane.gains.grad, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("lane", lanes(), ids=["chebyshev", "fourier"])
def test_the_basis_ends_at_the_context(lane):
    _, state = lane(torch.randn(1, CONTEXT, 6))
    with pytest.raises(ValueError, match=r"position 300 is beyond its context of 300"):
        lane(torch.randn(1, 1, 6), state)


def test_sums_stay_in_float32_under_autocast():
    lane = lanes()[0]
    x = torch.randn(1, CONTEXT, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = lane(x)
    assert state.sums.dtype == torch.float32
    torch.testing.assert_close(y, lane(x)[0])


def test_more_frequencies_than_positions_tell_apart_are_refused():
    with pytest.raises(ValueError, match=r"6 frequencies.*context of 8.*at most 5"):
        Fourier(4, 8, frequencies=6)
