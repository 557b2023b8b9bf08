from math import cos, pi, sin

import pytest
import torch

from wavestack.lanes import projection
from wavestack.lanes.chebyshev import Chebyshev, chebyshev_basis
from wavestack.lanes.fourier import Fourier, fourier_basis


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


def test_a_prefix_average_is_no_projection():
    """Applied to T_1 itself, the last output is far from T_1's 1: on a prefix the columns are not orthogonal."""
    lane = Chebyshev(1, 256, order=4)
    assert lane(lane.table[None, :, 1:2])[0][0, -1].item() < 0.5


def test_a_chunk_that_reaches_over_the_end_is_refused_before_anything_is_computed():
    lane = Chebyshev(4, 300, order=3)
    _, state = lane(torch.randn(1, 299, 4))
    with pytest.raises(ValueError, match=r"Chebyshev lane: position 300 is beyond its context of 300; shorten the input or train"):
        lane(torch.randn(1, 2, 4), state)


@pytest.mark.parametrize("length", [130, 512, 1100])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("rank", [3, projection.CHUNK])
def test_parts_of_chunks_give_what_the_formula_does(monkeypatch, length, learned, rank):
    """Four or two chunks at a time: within one part, in whole parts, over several with a cut one; after a past."""
    monkeypatch.setattr(projection, "TOGETHER", 256)
    torch.manual_seed(0)
    past = 5
    x = torch.randn(2, length, 4, dtype=torch.float64, requires_grad=True)
    basis = torch.randn(length, rank, dtype=torch.float64, requires_grad=learned)
    gains, sums = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((rank,), (2, rank, 4)))
    y, after = projection.prefix_kernel_average(x, basis, gains, past, sums)
    kernel = ((basis * gains) @ basis.T).tril()
    counts = torch.arange(past + 1, past + length + 1)[:, None]
    expected = (kernel @ x + (basis * gains) @ sums) / counts
    expected_after = sums + basis.T @ x
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(after, expected_after)
    given = [x, gains, sums, *([basis] if learned else [])]
    weight, weight_after = torch.randn_like(y), torch.randn_like(after)
    found = torch.autograd.grad((y * weight).sum() + (after * weight_after).sum(), given)
    wanted = torch.autograd.grad((expected * weight).sum() + (expected_after * weight_after).sum(), given)
    for gradient, of_formula in zip(found, wanted, strict=True):
        torch.testing.assert_close(gradient, of_formula)


def test_rows_may_be_channels():
    """As a GPU takes them: values, sums and gradients of every row, with a past and without."""
    torch.manual_seed(0)
    x, sums = torch.randn(3, 150, 5, dtype=torch.float64), torch.randn(3, 7, 5, dtype=torch.float64)
    basis, gains = torch.randn(150, 7, dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    for past in (sums, None):
        results = []
        for average in (projection.prefix_kernel_average, projection._rows_as_channels):
            inputs = [tensor.clone().requires_grad_() for tensor in (x, basis, gains)]
            y, after = average(*inputs, 20, past)
            (y.square().sum() + after.sum()).backward()
            results.append([y.detach(), after.detach(), *(tensor.grad for tensor in inputs)])
        for found, expected in zip(*results, strict=True):
            torch.testing.assert_close(found, expected)


def test_tables_are_shared():
    first, second = Chebyshev(4, 128, order=3), Chebyshev(8, 128, order=3)
    assert first.table is second.table
    assert first.table_bytes == 4 * 128 * 3
