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
    out = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    assert_same(gated(z, x, out), (z / (1 + torch.exp(-z)) * x) @ out.T, [z, x, out])


@pytest.mark.parametrize("length", LENGTHS)
def test_opened_is_its_formula(length):
    views, z = leaves(2, length, 3, 4)
    weights = torch.rand(2, length, 3, dtype=torch.float64, requires_grad=True)
    of_mean_square_1 = views * torch.rsqrt((views**2).mean(-1, keepdim=True) + 1e-6)
    torch.testing.assert_close(normed(views), of_mean_square_1)
    out = torch.randn(5, 12, dtype=torch.float64, requires_grad=True)
    passed = z / (1 + torch.exp(-z)) * of_mean_square_1 * weights[..., None]
    assert_same(opened(views, z, weights, out), passed.flatten(2) @ out.T, [views, z, weights, out])


def test_parts_of_a_wider_tensor_are_read_where_they_are():
    """As the block has it: z is a slice of what one matrix product gave."""
    wide = torch.randn(2, 7, 11, dtype=torch.float64, requires_grad=True)
    z, x = wide[..., 1:5], wide[..., 5:9]
    assert_same(gated(z, x, torch.eye(4, dtype=torch.float64)), functional.silu(z) * x, [wide])


def test_inputs_may_lie_in_any_order():
    """A gradient in the order of its input would be written to a copy."""
    z = torch.randn(7, 2, 5, dtype=torch.float64).transpose(0, 1).requires_grad_()
    x = torch.randn(2, 5, 7, dtype=torch.float64).transpose(1, 2).requires_grad_()
    assert_same(gated(z, x, torch.eye(5, dtype=torch.float64)), functional.silu(z) * x, [z, x])
    views = torch.randn(7, 2, 4, 3, dtype=torch.float64).permute(1, 0, 3, 2).requires_grad_()
    opening = torch.randn(2, 3, 7, 4, dtype=torch.float64).transpose(1, 2).requires_grad_()
    weights = torch.rand(3, 7, 2, dtype=torch.float64).permute(2, 1, 0).requires_grad_()
    mixed = weights[..., None] * functional.silu(opening) * normed(views)
    assert_same(opened(views, opening, weights, torch.eye(12, dtype=torch.float64)), mixed.flatten(2), [views, opening, weights])


def test_autocast_leaves_float64_as_it_is():
    z, x = (tensor.detach() for tensor in leaves(2, 9, 4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert gated(z, x, torch.eye(4)).dtype == torch.float64


def test_a_frozen_layer_gets_no_gradient_and_the_others_theirs():
    z, x = leaves(2, 7, 3)
    out = torch.randn(6, 3, dtype=torch.float64)
    assert_same(gated(z, x, out), functional.linear(functional.silu(z) * x, out), [z, x])
    views, opening = leaves(2, 7, 3, 2)
    weights = torch.rand(2, 7, 3, dtype=torch.float64)
    mixed = weights[..., None] * functional.silu(opening) * normed(views)
    assert_same(opened(views, opening, weights, torch.eye(6, dtype=torch.float64)), mixed.flatten(2), [views, opening])


def test_bfloat16_is_near_float32():
    views, z = (tensor.detach().bfloat16() for tensor in leaves(2, 9, 3, 4))
    y = opened(views, z, torch.full((2, 9, 3), 0.5), torch.eye(12))
    assert y.dtype == torch.bfloat16
    passed = 0.5 * functional.silu(z.float()) * normed(views.float())
    torch.testing.assert_close(y.float(), passed.flatten(2), atol=0.03, rtol=0.03)


@pytest.mark.parametrize("enabled", [False, True])
def test_autocast_has_the_layer_s_product_in_bfloat16(enabled):
    """As `functional.linear` has it, forward and backward; weights get their gradient in their own precision."""
    z, x = (tensor.detach().float().requires_grad_() for tensor in leaves(2, 9, 4))
    out = torch.randn(6, 4, requires_grad=True)
    dy = torch.randn(2, 9, 6)

    def gradients(say):
        with torch.autocast("cpu", enabled=enabled):
            y = say()
        return [y, *torch.autograd.grad(y.float(), [z, x, out], dy)]

    found = gradients(lambda: gated(z, x, out))
    expected = gradients(lambda: functional.linear(functional.silu(z) * x, out))
    assert [tensor.dtype for tensor in found] == [torch.bfloat16 if enabled else torch.float32, *[torch.float32] * 3]
    for tensor, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(tensor, wanted, atol=0.05 if enabled else 1e-5, rtol=0.02 if enabled else 1e-5)


def test_what_the_layer_reads_is_not_kept():
    views, z = leaves(2, 9, 3, 4)
    weights, out = torch.rand(2, 9, 3, dtype=torch.float64), torch.randn(5, 12, dtype=torch.float64)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda tensor: tensor):
        opened(views, z, weights, out)
    assert kept == [views.shape, z.shape, weights.shape, out.shape]
