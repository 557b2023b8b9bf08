"""A short causal depthwise convolution."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from wavestack.lanes.filtering import causal_filter
from wavestack.lanes.lane import Lane, at_least


class ShortConvolution(Lane):
    """`y_t = sum_{k < width} w_k * x_{t-k}` channel by channel; its state is its last inputs. Starts as the identity."""

    def __init__(self, hidden: int, context: int, *, width: Annotated[int, Field(ge=1)] = 4):
        at_least(1, "convolution", width=width)
        super().__init__(hidden, context)
        if width > context:
            raise ValueError(f"convolution: a width of {width} reaches beyond a context of {context}; use at most {context}")
        weight = torch.zeros(width, hidden)
        weight[0] = 1
        self.weight = nn.Parameter(weight)  # width x H

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return causal_filter(x, self.weight, state)

    def state_bytes(self, positions: int) -> int:
        return 4 * (len(self.weight) - 1) * self.hidden

    def flops(self, length: int) -> int:
        return 2 * length * len(self.weight) * self.hidden
