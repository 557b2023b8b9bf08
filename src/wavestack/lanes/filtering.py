"""Causal filtering of a sequence, channel by channel: what wavelets and short convolutions are made of."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

SEGMENT = 256  # positions: on the CPU a long sequence is filtered in pieces, which stay in the cache or are worked on in parallel
FEW = 8  # taps: up to here shifted additions are faster on the CPU than a convolution, which needs the pieces copied


def causal_filter(x: Tensor, taps: Tensor, past: Tensor | None, silu: bool = False) -> tuple[Tensor, Tensor]:
    """`y_t = sum_k taps[k] * x_{t-k}`, with zeros before the start.

    Args:
        x: B x S x H.
        taps: n x H.
        past: B x (n-1) x H, the last inputs before `x`, or None for none.
        silu: give silu(y) instead of y.

    Returns:
        The filtered sequence (B x S x H), and the inputs that the next chunk needs (B x (n-1) x H).
    """
    length, reach = x.shape[1], len(taps) - 1
    # a depthwise convolution in bfloat16 has no fast kernel on the CPU
    dtype = torch.float32 if x.device.type == "cpu" and x.dtype == torch.bfloat16 else x.dtype
    past = x.new_zeros(x.shape[0], reach, x.shape[2]) if past is None else past.to(x.dtype)
    after = torch.cat([past[:, length:], x[:, max(0, length - reach) :]], 1)
    with torch.autocast(x.device.type, enabled=False):
        if _by_shifts(x, taps):
            y = _FewTaps.apply(x.to(dtype), taps.to(dtype), past.to(dtype), silu)
        else:
            y = _convolved(torch.cat([past, x], 1).to(dtype), taps.to(dtype), length)
            y = functional.silu(y) if silu else y
    return y.to(x.dtype), after


def keeps_its_inputs(x: Tensor, taps: Tensor) -> bool:
    """Whether backward of `causal_filter` keeps `x` itself and nothing else: what it gives can be made again without keeping more."""
    return _by_shifts(x, taps) and x.dtype == torch.float32


def _by_shifts(x: Tensor, taps: Tensor) -> bool:
    return x.device.type == "cpu" and len(taps) <= FEW


class _FewTaps(torch.autograd.Function):
    """All that happens to a piece of the sequence happens while it is in the cache. Kept for backward: the inputs alone."""

    @staticmethod
    def forward(ctx, x: Tensor, taps: Tensor, past: Tensor, silu: bool) -> Tensor:
        """x: B x S x H; taps: n x H; past: B x (n-1) x H. Gives B x S x H."""
        ctx.save_for_backward(x, taps, past)
        ctx.silu = silu
        y = torch.empty_like(x, memory_format=torch.contiguous_format)
        for rows, start, end in _pieces(x):
            piece = _shifted_sum(x, taps, past, rows, start, end, out=y[rows, start:end])
            if silu:
                functional.silu(piece, inplace=True)
        return y

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor):
        x, taps, past = ctx.saved_tensors
        dx, dpast = torch.empty_like(dy), torch.zeros_like(past)
        rows, start, end = next(_pieces(x))  # as large as any
        products = x.new_zeros(len(taps), *x[rows, start:end].shape)  # of the gradient and the inputs before it, summed over pieces
        for rows, start, end in _pieces(x):
            d = dy[rows, start:end]
            if ctx.silu:
                d = torch.ops.aten.silu_backward(d, _shifted_sum(x, taps, past, rows, start, end, out=torch.empty_like(d)))
            torch.mul(d, taps[0], out=dx[rows, start:end])
            piece = products[:, : d.shape[0], : d.shape[1]]
            piece[0].addcmul_(d, x[rows, start:end])
            for k in range(1, len(taps)):
                inputs, gradients = _before(x, past, rows, start, end, k), _before(dx, dpast, rows, start, end, k)
                for (places, near), (_, dnear) in zip(inputs, gradients, strict=True):
                    piece[k, :, places].addcmul_(d[:, places], near)
                    dnear.addcmul_(d[:, places], taps[k])
        return dx, products.sum((1, 2)), dpast, None


def _pieces(x: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Rows, and where pieces of them start and end, of about `SEGMENT` positions together: a part of one row, or several short rows."""
    batch, length, _ = x.shape
    together = max(1, SEGMENT // length)
    for row in range(0, batch, together):
        for start in range(0, length, SEGMENT):
            yield slice(row, row + together), start, min(start + SEGMENT, length)


def _before(x: Tensor, past: Tensor, rows: slice, start: int, end: int, k: int) -> Iterator[tuple[slice, Tensor]]:
    """What lies k > 0 before the positions of a piece: places in the piece, and views of `x` or `past`."""
    if start:
        yield slice(None), x[rows, start - k : end - k]
        return
    first = past.shape[1] - k
    yield slice(0, k), past[rows, first : first + end]
    if end > k:
        yield slice(k, None), x[rows, : end - k]


def _shifted_sum(x: Tensor, taps: Tensor, past: Tensor, rows: slice, start: int, end: int, out: Tensor) -> Tensor:
    torch.mul(x[rows, start:end], taps[0], out=out)
    for k in range(1, len(taps)):
        for places, near in _before(x, past, rows, start, end, k):
            out[:, places].addcmul_(near, taps[k])
    return out


def _convolved(x: Tensor, taps: Tensor, length: int) -> Tensor:
    """The last `length` positions of B x (n-1 + length) x H under n x H taps."""
    batch, _, hidden = x.shape
    reach = len(taps) - 1
    if length == 1:
        wide = torch.promote_types(x.dtype, torch.float32)  # as kernels add up: or each product would be rounded
        return (x.to(wide) * taps.flip(0)).sum(1, keepdim=True).to(x.dtype)
    segment = SEGMENT if length > 2 * SEGMENT else length
    padded = functional.pad(x, (0, 0, 0, -length % segment))
    pieces = padded.unfold(1, reach + segment, segment).transpose(2, 3).reshape(-1, reach + segment, hidden)  # BN x (reach + C) x H
    kernel = taps.flip(0).T.reshape(hidden, 1, 1, -1)
    y = functional.conv2d(pieces.transpose(1, 2).unsqueeze(2), kernel, groups=hidden)  # BN x H x 1 x C, channels last
    return y.squeeze(2).transpose(1, 2).reshape(batch, -1, hidden)[:, :length]
