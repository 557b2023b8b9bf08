"""What is let through a gate and read by an output layer: `out(silu(z) * x)`, and `out(silu(z) * weight * norm(view))` of a block's lanes.

One pass each over what they read, of which alone is kept for backward: what the layer reads is made again there, in the pass that has its
factors at hand anyway. On the CPU a pass takes some tokens at a time, whose intermediate results stay in the cache: gates cost little
arithmetic and much memory traffic.
"""

import torch
from torch import Tensor
from torch.nn import functional

from wavestack.lanes.norm import EPSILON, by_tokens, inverse_rms


def normed(views: Tensor) -> Tensor:
    """Views (... x W) of mean square 1."""
    return functional.rms_norm(views, views.shape[-1:], eps=EPSILON)


def opened(views: Tensor, z: Tensor, weights: Tensor, out: Tensor) -> Tensor:
    """An output layer of `silu(z) * weights * normed(views)`, B x S x H.

    Args:
        views, z: B x S x L x W.
        weights: B x S x L.
        out: H x LW.
    """
    out = _as_multiplied(out, views)
    with torch.autocast(views.device.type, enabled=False):
        return _Opened.apply(views, z.to(views.dtype), weights.to(views.dtype), out)


def gated(z: Tensor, x: Tensor, out: Tensor) -> Tensor:
    """An output layer of `silu(z) * x`, B x S x H, for z and x of B x S x W and a layer of H x W."""
    out = _as_multiplied(out, x)
    with torch.autocast(x.device.type, enabled=False):
        return _Gated.apply(z, x, out)


def _as_multiplied(weight: Tensor, x: Tensor) -> Tensor:
    """A layer's weight in the precision that its product with something like x is computed in."""
    device = x.device.type
    lowered = torch.is_autocast_enabled(device) and x.dtype != torch.float64  # which autocast leaves as it is
    return weight.to(torch.get_autocast_dtype(device) if lowered else x.dtype)


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z: Tensor, x: Tensor, out: Tensor) -> Tensor:
        ctx.save_for_backward(z, x, out)
        y = x.new_empty(x.shape, dtype=out.dtype)
        for (opening, part), (passed,) in by_tokens([z, x], [y]):
            passed.copy_(functional.silu(opening).mul_(part))
        return functional.linear(y, out)

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, d_said: Tensor):
        z, x, out = ctx.saved_tensors
        dy = d_said @ out
        y, dz, dx = (torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (dy, z, x))
        for (opening, part, d), (passed, dopening, dpart) in by_tokens([z, x, dy], [y, dz, dx]):
            through = functional.silu(opening)
            passed.copy_(through * part)
            torch.mul(through, d, out=dpart)
            dopening.copy_(torch.ops.aten.silu_backward(d * part, opening))
        return dz, dx, _of_layer(d_said, y) if ctx.needs_input_grad[2] else None


class _Opened(torch.autograd.Function):
    @staticmethod
    def forward(ctx, views: Tensor, z: Tensor, weights: Tensor, out: Tensor) -> Tensor:
        ctx.save_for_backward(views, z, weights, out)
        y = views.new_empty(views.shape, dtype=out.dtype)
        for (view, opening, weight), (passed,) in by_tokens([views, z, weights[..., None]], [y]):
            torch.mul(functional.silu(opening).mul_(view), weight * inverse_rms(view), out=passed)
        return functional.linear(y.flatten(2), out)

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, d_said: Tensor):
        """With r the scale of the norm, d(view) = r w (t - view r^2 mean(t view)) for the gradient t of what is weighed."""
        views, z, weights, out = ctx.saved_tensors
        dy = (d_said @ out).view(views.shape)
        y, dviews, dz, dweights = (torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (dy, views, z, weights))
        parts = by_tokens([views, z, weights[..., None], dy], [y, dviews, dz, dweights[..., None]])
        for (view, opening, weight, d), (passed, dview, dopening, dweight) in parts:
            scale, through = inverse_rms(view), functional.silu(opening)
            torch.mul(through * view, weight * scale, out=passed)
            t = through.mul_(d)
            along = (t * view).sum(-1, keepdim=True)
            dweight.copy_(along * scale)
            torch.mul(t.addcmul_(view, along * scale * scale, value=-1 / view.shape[-1]), weight * scale, out=dview)
            dopening.copy_(torch.ops.aten.silu_backward((d * view).mul_(weight * scale), opening))
        return dviews, dz, dweights, _of_layer(d_said, y.flatten(2)) if ctx.needs_input_grad[3] else None


def _of_layer(d_said: Tensor, y: Tensor) -> Tensor:
    """The gradient of a layer (H x W) that read y (B x S x W)."""
    return d_said.flatten(0, 1).mT @ y.flatten(0, 1)
