"""The interface of a lane."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def at_least(least: int, lane: str, **knobs: int) -> None:
    """Refuse knobs below `least`. Parameter files are held to the knobs' annotations; a call from Python meets this check alone.

    Raises:
        ValueError: naming the lane, the first such knob, its value and the limit.
    """
    for name, value in knobs.items():
        if value < least:
            raise ValueError(f"{lane} lane: {name} is {value}, and must be at least {least}; raise it")


class Lane(nn.Module):
    """A causal view of a sequence: one function from a chunk and a state to outputs and a new state.

    The whole sequence in training, a chunk in prefill and one token in decoding are the same call: splitting a sequence anywhere and
    carrying the state across gives the same outputs. The state of an empty past is None; another one is any nesting of tuples, lists
    and dicts of tensors (batch first) and integers.

    It is constructed from `hidden` (channels that it gives), `context` (the model's declared number of positions) and, keyword-only, its
    own knobs, whose annotations are their schema in parameter files. It raises ValueError for knobs that do not fit `hidden` or `context`.
    No knob may be named `lane` or `blocks`: with these a model says which lane it has, and where.

    What it must bear in a model: it is built on the meta device as well, where no value can be asked for (constants come by `use_table`);
    weights of `nn.Linear` and `nn.Embedding` start as the model has them start, and those of `nn.Linear` alone decay; the contract puts
    random numbers into every parameter, so that what has limits, a decay say, is brought within them in `forward`. What it reads has gone
    through a short convolution and a SiLU, if the model has one, and what it gives is normed.

    Attributes:
        hidden: channels that it gives.
        inputs: channels that it reads. As many as it gives, unless it says otherwise: a lane that needs queries and keys beside what it
            carries asks for them here, and the model's projection makes them.
        context: the model's declared number of positions, T.
        table: a constant that the lane reads (a basis), or None.
    """

    def __init__(self, hidden: int, context: int, inputs: int | None = None):
        super().__init__()
        self.hidden = hidden
        self.inputs = hidden if inputs is None else inputs
        self.context = context
        self.table: Tensor | None = None
        self._make_table: Callable[..., Tensor] | None = None

    def use_table(self, make: Callable[..., Tensor]) -> None:
        """Read the constant table that `make(device=...)` gives: the same tensor whenever it is asked again.

        It is no buffer, which would be copied for every block when the model moves; it is made again where the model goes.
        """
        self._make_table = make
        self.table = make(device="cpu")

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        if self._make_table is not None and self.table is not None:
            self.table = self._make_table(device=str(fn(torch.empty(0, device=self.table.device)).device))
        return self

    @property
    def table_bytes(self) -> int:
        """Bytes of the constant table, which the blocks of a model share; no part of the state."""
        return 0 if self.table is None else self.table.numel() * self.table.element_size()

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Outputs (B x S x hidden) for the chunk `x` (B x S x inputs) after the past that `state` sums up, and the state after it.

        Raises:
            ValueError: at position T, for a lane whose mathematics ends there.
        """
        raise NotImplementedError

    def state_bytes(self, positions: int) -> int:
        """Bytes of the state of one sequence after `positions` tokens (at least 1), with activations in float32."""
        raise NotImplementedError

    def flops(self, length: int) -> int:
        """Floating-point operations of the forward pass over one sequence of this length, a multiply-add counted as two.

        Matrix products and filters; what is done once for an element (a norm, an activation) is left out, as is usual.
        """
        raise NotImplementedError
