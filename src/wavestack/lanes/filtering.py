"""Causal filtering of a sequence, channel by channel: what wavelets and short convolutions are made of."""

import torch
from torch import Tensor
from torch.nn import functional


def causal_filter(x: Tensor, taps: Tensor | list[float], dilation: int, past: Tensor | None) -> tuple[Tensor, Tensor]:
    """`y_t = sum_k taps[k] * x_{t - k * dilation}`, with zeros before the start.

    Args:
        x: B x S x H.
        taps: n x H learned weights, or n numbers that all channels share.
        dilation: distance between taps, in positions.
        past: B x (n-1)*dilation x H, the last inputs before `x`, or None for none.

    Returns:
        The filtered sequence (B x S x H), and the inputs that the next chunk needs.
    """
    length = x.shape[1]
    reach = (len(taps) - 1) * dilation
    x = functional.pad(x, (0, 0, reach, 0)) if past is None else torch.cat([past, x], 1)  # B x (reach + S) x H
    y = x[:, reach:] * taps[0]
    for k in range(1, len(taps)):
        start = reach - k * dilation
        delayed, tap = x[:, start : start + length], taps[k]
        y = torch.addcmul(y, delayed, tap) if isinstance(tap, Tensor) else torch.add(y, delayed, alpha=tap)
    return y, x[:, length:]
