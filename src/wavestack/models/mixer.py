"""Mixers: how the lanes' views become one."""

import torch
from torch import Tensor, nn


class GatedMixer(nn.Module):
    """A softmax over the lanes at every token, from the block's input, weighs what the lanes say."""

    def __init__(self, hidden: int, lanes: int):
        super().__init__()
        self.gate = nn.Linear(hidden, lanes, bias=False)

    def weights(self, u: Tensor) -> Tensor:
        """How much each lane counts: B x S x L, positive, summing to 1."""
        return torch.softmax(self.gate(u), dim=-1)

    def forward(self, u: Tensor, views: list[Tensor]) -> Tensor:
        """Mix the lanes' views (each B x S x H) under the gates that `u` (B x S x H) opens."""
        weights = self.weights(u)  # B x S x L
        mixed = views[0] * weights[..., :1]
        for lane in range(1, len(views)):
            mixed = torch.addcmul(mixed, views[lane], weights[..., lane : lane + 1])
        return mixed
