"""The interface of a lane."""

from typing import Any

from torch import Tensor, nn


class Lane(nn.Module):
    """A causal view of a sequence: one function from a chunk and a state to outputs and a new state.

    The whole sequence in training, a chunk in prefill and one token in decoding are the same call: splitting a sequence anywhere and
    carrying the state across gives the same outputs. The state of an empty past is None.

    It is constructed from `hidden` (channels), `context` (the model's declared number of positions) and, keyword-only, its own knobs, whose
    annotations are their schema in parameter files. It raises ValueError for knobs that do not fit `hidden` or `context`.
    """

    def __init__(self, hidden: int, context: int):
        super().__init__()
        self.hidden = hidden
        self.context = context

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Outputs for the chunk `x` (B x S x H, same shape out) after the past that `state` sums up, and the state after it."""
        raise NotImplementedError
