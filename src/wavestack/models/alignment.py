"""Widths that matrix units take.

A budget solves widths to the parameter, and vocabularies are as they are: on a GPU weights get zeros behind them, up to a multiple of 8,
and compute the same. Without them a training step of the transformer on an H200 took 1.57 times as long, one of WaveStack 1.36 times
(104 million parameters, 16 rows of 4,096, bfloat16).
"""

from torch import Tensor
from torch.nn import functional

MULTIPLE = {"cuda": 8}  # numbers, 16 bytes in bfloat16


def padded(weight: Tensor, dim: int) -> Tensor:
    """A weight with zeros behind, up to a length of `dim` that its device takes; itself, where it has one."""
    behind = -weight.shape[dim] % MULTIPLE.get(weight.device.type, 1)
    return functional.pad(weight, (0, 0) * (weight.dim() - 1 - dim) + (0, behind)) if behind else weight


def project(x: Tensor, weight: Tensor) -> Tensor:
    """`x W^T`, B x S x V for x of B x S x H and a weight of V x H."""
    y = functional.linear(x, padded(weight, 0))
    return y if y.shape[-1] == len(weight) else y[..., : len(weight)]
