"""Gates: `silu(z) * x`, and how a block lets through what its lanes say, `silu(z) * weight * norm(view)`.

One pass each over what they read, of which alone is kept for backward. On the CPU they take some tokens at a time, whose intermediate
results stay in the cache: they cost little arithmetic and much memory traffic.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-6  # of the norm
TOKENS = 256  # that are worked on at a time on the CPU


def normed(views: Tensor) -> Tensor:
    """Views (... x W) of mean square 1."""
    return functional.rms_norm(views, views.shape[-1:], eps=EPSILON)


def opened(views: Tensor, z: Tensor, weights: Tensor) -> Tensor:
    """`silu(z) * weights * normed(views)`, for which no more than these three are kept until backward.

    Args:
        views, z: B x S x L x W.
        weights: B x S x L.
    """
    with torch.autocast(views.device.type, enabled=False):
        return _Opened.apply(views, z.to(views.dtype), weights.to(views.dtype))


def gated(z: Tensor, x: Tensor) -> Tensor:
    """`silu(z) * x`, both B x S x W."""
    return _Gated.apply(z, x)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(z, x)
        y = torch.empty_like(x)
        for (opening, part), (out,) in _parts([z, x], [y]):
            out.copy_(functional.silu(opening).mul_(part))
        return y

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor):
        z, x = ctx.saved_tensors
        dz, dx = torch.empty_like(z), torch.empty_like(x)
        for (opening, part, d), (dopening, dpart) in _parts([z, x, dy], [dz, dx]):
            dpart.copy_(functional.silu(opening).mul_(d))
            dopening.copy_(torch.ops.aten.silu_backward(d * part, opening))
        return dz, dx


class _Opened(torch.autograd.Function):
    @staticmethod
    def forward(ctx, views: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(views, z, weights)
        y = torch.empty_like(views)
        for (view, opening, weight), (out,) in _parts([views, z, weights[..., None]], [y]):
            out.copy_(functional.silu(opening).mul_(view).mul_(weight * _scale(view)))
        return y

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor):
        """With r the scale of the norm, d(view) = r w (t - view r^2 mean(t view)) for the gradient t of what is weighed."""
        views, z, weights = ctx.saved_tensors
        dviews, dz, dweights = torch.empty_like(views), torch.empty_like(z), torch.empty_like(weights)
        parts = _parts([views, z, weights[..., None], dy], [dviews, dz, dweights[..., None]])
        for (view, opening, weight, d), (dview, dopening, dweight) in parts:
            scale = _scale(view)
            t = d * functional.silu(opening)
            along = (t * view).sum(-1, keepdim=True)
            dweight.copy_(along * scale)
            dview.copy_(t.addcmul_(view, along * scale * scale, value=-1 / view.shape[-1]).mul_(weight * scale))
            dopening.copy_(torch.ops.aten.silu_backward((d * view).mul_(weight * scale), opening))
        return dviews, dz, dweights


def _scale(view: Tensor) -> Tensor:
    """1 / rms of the last dimension, kept as one of length 1."""
    return view.square().mean(-1, keepdim=True).add_(EPSILON).rsqrt_()


def _parts(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Some tokens at a time of tensors of B x S x ...: of the inputs in float32 (or float64, if they are), of the outputs as views."""
    rows, out = ([tensor.flatten(0, 1) for tensor in tensors] for tensors in (inputs, outputs))
    dtype = torch.promote_types(rows[0].dtype, torch.float32)
    step = TOKENS if rows[0].device.type == "cpu" else max(1, len(rows[0]))
    for start in range(0, len(rows[0]), step):
        yield [tensor[start : start + step].to(dtype) for tensor in rows], [tensor[start : start + step] for tensor in out]
