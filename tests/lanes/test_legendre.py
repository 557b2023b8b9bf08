import numpy
import pytest
import torch
from numpy.polynomial.legendre import leggauss

from tests.lanes import naive
from wavestack.lanes.legendre import KEPT, Legendre, polynomials, reconstruct, tables


def projection(x: numpy.ndarray, order: int) -> numpy.ndarray:
    """Least-squares coefficients of the function on [0, 1] that holds x_s over [s/n, (s+1)/n]: integrals by quadrature, cell by cell."""
    n = len(x)
    nodes, weights = leggauss(order)  # exact: x is constant in a cell, and a polynomial has degree order - 1 at most
    points = (numpy.arange(n)[:, None] + (nodes + 1) / 2) / n
    return numpy.einsum("s,sgr,g->r", x, polynomials(points, order), weights / 2 / n)


@pytest.mark.parametrize("order", [1, 2, 16, 33])
def test_coefficients_are_the_projection_of_every_prefix(order):
    """In float32, one token at a time, for inputs of size 1. Measured: 1e-7."""
    torch.manual_seed(0)
    lane = Legendre(1, 256, order=order)
    x = torch.randn(1, 200, 1)
    state = None
    for t in range(200):
        _, state = lane(x[:, t : t + 1], state)
        if t in (0, 1, 5, 63, 64, 199):
            expected = projection(x[0, : t + 1, 0].double().numpy(), order)
            assert numpy.abs(state.coefficients[0, :, 0].numpy() - expected).max() < 5e-7


def test_the_naive_reference_is_the_projection():
    """The differential equation of the paper and the least-squares projection are two accounts of the same thing."""
    x = torch.randn(1, 90, 1, dtype=torch.float64)
    coefficients = naive.legendre_coefficients(x, 12)[0, :, :, 0].numpy()
    for n in (1, 2, 17, 90):
        numpy.testing.assert_allclose(coefficients[n - 1], projection(x[0, :n, 0].numpy(), 12), atol=1e-12)


def test_a_long_prefix_stays_exact_in_float32():
    """65,536 positions, through every chunk. Measured: 8e-7 of the largest coefficient."""
    torch.manual_seed(0)
    n, order = 65_536, 16
    s = torch.arange(n)
    x = torch.stack([torch.randn(n) + 0.5, torch.cos(0.0003 * s)], 1)
    lane = Legendre(2, 512, order=order)
    with torch.no_grad():
        y, state = lane(x[None])
    assert y.isfinite().all()
    for channel in range(2):
        expected = projection(x[:, channel].double().numpy(), order)
        error = numpy.abs(state.coefficients[0, :, channel].numpy() - expected).max()
        assert error < 3e-6 * numpy.abs(expected).max()


def test_a_polynomial_is_reconstructed_up_to_the_steps_of_its_samples():
    """A cubic sampled in the middle of n cells: holding it over a cell costs O(1/n^2). Measured: 1.6e-5, at the present."""
    n = 1000
    u = (torch.arange(n) + 0.5) / n
    x = 1 - 3 * u + 5 * u**2 - 4 * u**3
    _, state = Legendre(1, n, order=6)(x.view(1, n, 1))
    torch.testing.assert_close(reconstruct(state.coefficients, u)[0, :, 0], x, atol=3e-5, rtol=0)


def test_a_sinusoid_is_reconstructed_better_with_more_polynomials():
    """Root mean squares measured: 0.64, 0.38, 0.023, 1e-5."""
    n = 2000
    u = (torch.arange(n) + 0.5) / n
    x = torch.sin(2 * torch.pi * 3 * u)  # three periods
    errors = []
    for order in (4, 8, 12, 20):
        _, state = Legendre(1, n, order=order)(x.view(1, n, 1))
        errors.append((reconstruct(state.coefficients, u)[0, :, 0] - x).square().mean().sqrt().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.5
    assert errors[-1] < 1e-4


def test_a_constant_stays_what_it_is():
    """The projection of a constant is the constant at every length; a prefix kernel average has no such property."""
    lane = Legendre(1, 64, order=8)
    lane.weights.data = torch.tensor(polynomials(numpy.ones(1), 8)).float().T  # reads the reconstruction at the present
    torch.testing.assert_close(lane(torch.full((1, 300, 1), 2.5))[0], torch.full((1, 300, 1), 2.5), atol=1e-5, rtol=0)


def test_tables_that_are_kept_are_bounded():
    lane = Legendre(2, 512, order=4)
    with torch.no_grad():
        lane(torch.randn(1, 20_000, 2))
    assert tables.cache_info().currsize <= KEPT
    tables.cache_clear()
    lane(torch.randn(1, 512, 2))
    assert lane.table_bytes == 4 * tables(0, 512, 4, "cpu").numel()
    assert tables.cache_info().hits >= 1
