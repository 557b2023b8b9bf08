"""Gates: `silu(z) * x`, and how a block lets through what its lanes say, `silu(z) * weight * norm(view)`.

One pass each over what they read, of which alone is kept for backward. On the CPU they take some tokens at a time, whose intermediate
results stay in the cache: they cost little arithmetic and much memory traffic.
"""

import torch
from torch import Tensor
from torch.nn import functional

from wavestack.lanes.norm import EPSILON, by_tokens, inverse_rms


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
        for (opening, part), (out,) in by_tokens([z, x], [y]):
            torch.mul(functional.silu(opening), part, out=out)
        return y

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor):
        z, x = ctx.saved_tensors
        dz, dx = torch.empty_like(z), torch.empty_like(x)
        for (opening, part, d), (dopening, dpart) in by_tokens([z, x, dy], [dz, dx]):
            torch.mul(functional.silu(opening), d, out=dpart)
            dopening.copy_(torch.ops.aten.silu_backward(d * part, opening))
        return dz, dx


class _Opened(torch.autograd.Function):
    @staticmethod
    def forward(ctx, views: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(views, z, weights)
        y = torch.empty_like(views)
        for (view, opening, weight), (out,) in by_tokens([views, z, weights[..., None]], [y]):
            torch.mul(functional.silu(opening).mul_(view), weight * inverse_rms(view), out=out)
        return y

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor):
        """With r the scale of the norm, d(view) = r w (t - view r^2 mean(t view)) for the gradient t of what is weighed."""
        views, z, weights = ctx.saved_tensors
        dviews, dz, dweights = torch.empty_like(views), torch.empty_like(z), torch.empty_like(weights)
        parts = by_tokens([views, z, weights[..., None], dy], [dviews, dz, dweights[..., None]])
        for (view, opening, weight, d), (dview, dopening, dweight) in parts:
            scale = inverse_rms(view)
            t = d * functional.silu(opening)
            along = (t * view).sum(-1, keepdim=True)
            dweight.copy_(along * scale)
            torch.mul(t.addcmul_(view, along * scale * scale, value=-1 / view.shape[-1]), weight * scale, out=dview)
            dopening.copy_(torch.ops.aten.silu_backward((d * view).mul_(weight * scale), opening))
        return dviews, dz, dweights
