"""The norm of lanes and models, in one pass over what it reads, of which alone is kept for backward.

On the CPU it takes some tokens at a time, as gates do (`wavestack.models.gating`), whose intermediate results stay in the cache: such
operations cost little arithmetic and much memory traffic.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6
TOKENS = 256  # that are worked on at a time on the CPU


class RMSNorm(nn.RMSNorm):
    """x / rms(x) * weight, in the dtype of x (B x S x ... x W)."""

    def __init__(self, width: int):
        super().__init__(width, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.to(x.dtype)  # with one of another dtype PyTorch has no fused kernel
        if x.device.type == "cpu":  # where it has none at all
            return _Normed.apply(x, weight)
        return functional.rms_norm(x, self.normalized_shape, weight, self.eps)


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        for (part,), (out,) in by_tokens([x], [y]):
            torch.mul(part * inverse_rms(part), weight, out=out)
        return y

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor):
        """With r = 1 / rms(x), d(x) = r (t - x r^2 mean(t x)) for the gradient t of what the weight multiplies."""
        x, weight = ctx.saved_tensors
        dx, dweight = (
            torch.empty_like(x, memory_format=torch.contiguous_format),
            torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32)),
        )
        for (part, d), (dpart,) in by_tokens([x, dy], [dx]):
            scale = inverse_rms(part)
            products = d * part  # of x and d(y)
            dweight += torch.sum(products * scale, tuple(range(products.dim() - 1)))
            along = (products.mul_(weight)).mean(-1, keepdim=True)
            torch.mul((d * weight).addcmul_(part, along * scale * scale, value=-1), scale, out=dpart)
        return dx, dweight.to(weight.dtype)


def inverse_rms(x: Tensor) -> Tensor:
    """1 / rms of the last dimension, kept as one of length 1."""
    return x.square().mean(-1, keepdim=True).add_(EPSILON).rsqrt_()


def by_tokens(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Some tokens at a time of tensors of B x S x ...: of the inputs in float32 (or float64, if they are), of the outputs as views."""
    rows = [tensor.flatten(0, 1) for tensor in inputs]
    out = [tensor.view(tensor.shape[0] * tensor.shape[1], *tensor.shape[2:]) for tensor in outputs]  # which never copies
    dtype = torch.promote_types(rows[0].dtype, torch.float32)
    step = TOKENS if rows[0].device.type == "cpu" else max(1, len(rows[0]))
    for start in range(0, len(rows[0]), step):
        yield [tensor[start : start + step].to(dtype) for tensor in rows], [tensor[start : start + step] for tensor in out]
