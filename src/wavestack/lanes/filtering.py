"""Causal filtering of a sequence, channel by channel: what wavelets and short convolutions are made of."""

import torch
from torch import Tensor
from torch.nn import functional

SEGMENT = 256  # positions: a long sequence is filtered in pieces, which oneDNN works on in parallel


def causal_filter(x: Tensor, taps: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """`y_t = sum_k taps[k] * x_{t-k}`, with zeros before the start.

    Args:
        x: B x S x H.
        taps: n x H.
        past: B x (n-1) x H, the last inputs before `x`, or None for none.

    Returns:
        The filtered sequence (B x S x H), and the inputs that the next chunk needs (B x (n-1) x H).
    """
    length, reach = x.shape[1], len(taps) - 1
    # a depthwise convolution in bfloat16 has no fast kernel on the CPU
    dtype = torch.float32 if x.device.type == "cpu" and x.dtype == torch.bfloat16 else x.dtype
    x = functional.pad(x, (0, 0, reach, 0)) if past is None else torch.cat([past.to(x.dtype), x], 1)  # B x (reach + S) x H
    with torch.autocast(x.device.type, enabled=False):
        y = _filtered(x.to(dtype), taps.to(dtype), length).to(x.dtype)
    return y, x[:, length:]


def _filtered(x: Tensor, taps: Tensor, length: int) -> Tensor:
    """The last `length` positions of B x (n-1 + length) x H under n x H taps."""
    batch, _, hidden = x.shape
    reach = len(taps) - 1
    if length == 1:
        return (x * taps.flip(0)).sum(1, keepdim=True)
    segment = SEGMENT if length > 2 * SEGMENT else length
    padded = functional.pad(x, (0, 0, 0, -length % segment))
    pieces = padded.unfold(1, reach + segment, segment).transpose(2, 3).reshape(-1, reach + segment, hidden)  # BN x (reach + C) x H
    kernel = taps.flip(0).T.reshape(hidden, 1, 1, -1)
    y = functional.conv2d(pieces.transpose(1, 2).unsqueeze(2), kernel, groups=hidden)  # BN x H x 1 x C, channels last
    return y.squeeze(2).transpose(1, 2).reshape(batch, -1, hidden)[:, :length]
