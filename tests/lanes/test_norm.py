import pytest
import torch

from wavestack.lanes.norm import TOKENS, RMSNorm


def formula(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt((x**2).mean(-1, keepdim=True) + 1e-6) * weight


@pytest.mark.parametrize("length", [1, TOKENS // 2 + 3, 2 * TOKENS + 1])  # two rows: from less than one part to a cut fifth
def test_norm_is_its_formula(length):
    torch.manual_seed(0)
    norm = RMSNorm(5).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
    wide = torch.randn(2, length, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    x = wide[:, :, 1]  # as queries are normed: heads of a slice
    found, expected = norm(x), formula(x, norm.weight)
    torch.testing.assert_close(found, expected)
    dy = torch.randn_like(expected)
    for gradient, wanted in zip(*(torch.autograd.grad(y, [wide, norm.weight], dy) for y in (found, expected)), strict=True):
        torch.testing.assert_close(gradient, wanted)


def test_bfloat16_stays_bfloat16_and_near():
    torch.manual_seed(0)
    norm, x = RMSNorm(64), torch.randn(2, 9, 64, dtype=torch.bfloat16, requires_grad=True)
    y = norm(x)
    y.backward(torch.ones_like(y))
    assert y.dtype == x.grad.dtype == torch.bfloat16
    assert norm.weight.grad.dtype == torch.float32
    torch.testing.assert_close(y.float(), formula(x.float(), norm.weight), atol=0.03, rtol=0.03)
