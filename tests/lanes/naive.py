"""The specification of each lane, in a few lines and no hurry. Used by the tests only."""

import torch
from torch import Tensor


def prefix_kernel_average(x: Tensor, basis: Tensor, gains: Tensor) -> Tensor:
    """y_t = 1/(t+1) sum_{s<=t} <g * phi_t, phi_s> x_s through the S x S lower-triangular matrix, in float64."""
    length = x.shape[1]
    phi = basis[:length].double()
    kernel = torch.tril((phi * gains.double()) @ phi.T) / torch.arange(1, length + 1)[:, None]
    return kernel @ x.double()


def causal_filter(x: Tensor, taps: list[float], dilation: int) -> Tensor:
    """y_t = sum_k taps[k] x_{t - k dilation}, position by position."""
    y = torch.zeros_like(x)
    for t in range(x.shape[1]):
        for k, tap in enumerate(taps):
            if t - k * dilation >= 0:
                y[:, t] += tap * x[:, t - k * dilation]
    return y
