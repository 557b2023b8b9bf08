"""The interface of every language model of the benchmark: whole sequences in training, chunks and single tokens in generation."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn


class LanguageModel(nn.Module):
    """Tokens in, logits for the next token out: for whole sequences, or chunk by chunk with a state.

    The state of an empty past is None; another one is any nesting of tuples, lists and dicts of tensors (batch first) and integers.

    Attributes:
        context: the declared number of positions, T. Models whose mathematics ends there raise ValueError at position T.
        breaks: the contract's checks that the model is known to break, by their names. It is registered with these faults.
        names_its_size: its spec names all widths, and no budget solves one: `(vocabulary, context, *, knobs)` constructs it. Any other
            model is constructed by `(vocabulary, hidden, blocks, context, mlp, *, knobs)`.
        added: names and knobs of lanes that joined the model after it was built.
        removed: names of lanes that it was built with and has no more.
        penalty: what the last forward pass of a training adds to the loss that it is trained on; None for nothing.
    """

    breaks: frozenset[str] = frozenset()
    names_its_size = False
    context: int
    added: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    removed: Sequence[str] = ()
    penalty: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits B x S x V for the sequences `tokens` (B x S), each from its start."""
        return self.advance(tokens)[0]

    def advance(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits (B x S x V) for the next chunk of the sequences that `state` sums up (None: from their start), and the state after it.

        One token at a time, chunks of any lengths and whole sequences give the same logits.
        """
        return self.advance_embedded(self.embed(tokens), state)

    def at_step(self, step: int) -> None:
        """What training says before each of its steps, the first of which is 0; for models that grow with it."""

    def embed(self, tokens: Tensor) -> Tensor:
        """What stands for the tokens (B x S) in the model, B x S x H."""
        raise NotImplementedError

    def advance_embedded(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """`advance`, for embedded tokens (B x S x H)."""
        h, after = self.advance_hidden(x, state)
        return self.logits(h), after

    def prefill(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """`advance`, but for the logits of the last of the tokens alone, B x 1 x V: what a prompt needs."""
        h, after = self.advance_hidden(self.embed(tokens), state)
        return self.logits(h[:, -1:]), after

    def advance_hidden(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """What the output layer reads (B x S x H) for embedded tokens (B x S x H), and the state after them."""
        raise NotImplementedError

    def logits(self, h: Tensor) -> Tensor:
        """The output layer, from B x S x H to B x S x V."""
        raise NotImplementedError

    def state_bytes(self, positions: int) -> int:
        """Bytes of the state of one sequence after `positions` tokens (at least 1), with activations in float32."""
        raise NotImplementedError

    def flops(self, length: int) -> int:
        """Floating-point operations of the forward pass over one sequence, its logits included, counted as `Lane.flops` does."""
        raise NotImplementedError

    def parameter_counts(self) -> tuple[int, int]:
        """All parameters, tied ones once; and those that are no embedding and no output layer, whose size is the vocabulary's."""
        raise NotImplementedError

    def add_lane(self, name: str, **knobs: Any) -> None:
        """Add a lane to a trained model; ValueError where the model has none."""
        raise ValueError(f"{type(self).__name__} has no lanes, so '{name}' cannot join it; ask a model of lanes")

    def remove_lane(self, name: str) -> None:
        """Take a lane out of a trained model; ValueError where the model has none."""
        raise ValueError(f"{type(self).__name__} has no lanes, so '{name}' cannot be removed; ask a model of lanes")


def matrix_flops(module: nn.Module, length: int) -> int:
    """Those of the linear layers below a module, each applied once a position."""
    return 2 * length * sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Linear))
