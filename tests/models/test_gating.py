import pytest
import torch
from torch.nn import functional

from wavestack.lanes.norm import TOKENS
from wavestack.models.gating import gated, normed, opened

LENGTHS = [1, TOKENS // 2 + 3, 2 * TOKENS + 1]  # two rows: from less than one part to a cut fifth


def leaves(*shape: int) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(2)]


def assert_same(found: torch.Tensor, expected: torch.Tensor, given: list[torch.Tensor]) -> None:
    dy = torch.randn_like(expected)
    torch.testing.assert_close(found, expected)
    for gradient, wanted in zip(torch.autograd.grad(found, given, dy), torch.autograd.grad(expected, given, dy), strict=True):
        torch.testing.assert_close(gradient, wanted)


@pytest.mark.parametrize("length", LENGTHS)
def test_gated_is_its_formula(length):
    z, x = leaves(2, length, 5)
    assert_same(gated(z, x), z / (1 + torch.exp(-z)) * x, [z, x])


@pytest.mark.parametrize("length", LENGTHS)
def test_opened_is_its_formula(length):
    views, z = leaves(2, length, 3, 4)
    weights = torch.rand(2, length, 3, dtype=torch.float64, requires_grad=True)
    of_mean_square_1 = views * torch.rsqrt((views**2).mean(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(normed(views), of_mean_square_1)
    assert_same(opened(views, z, weights), z / (1 + torch.exp(-z)) * of_mean_square_1 * weights[..., None], [views, z, weights])


def test_parts_of_a_wider_tensor_are_read_where_they_are():
    """As the block has it: z is a slice of what one matrix product gave."""
    wide = torch.randn(2, 7, 11, dtype=torch.float64, requires_grad=True)
    z, x = wide[..., 1:5], wide[..., 5:9]
    assert_same(gated(z, x), functional.silu(z) * x, [wide])


def test_bfloat16_is_near_float32():
    views, z = (tensor.detach().bfloat16() for tensor in leaves(2, 9, 3, 4))
    y = opened(views, z, torch.full((2, 9, 3), 0.5))
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), 0.5 * functional.silu(z.float()) * normed(views.float()), atol=0.03, rtol=0.03)
