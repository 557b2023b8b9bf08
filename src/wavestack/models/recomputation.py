"""Activations that are cheap to make are made again in backward instead of being kept (Chen et al. 2016, arXiv:1604.06174)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def recomputed(tensor: Tensor, make: Callable[[], Tensor]) -> Iterator[None]:
    """Of what is computed within, backward keeps no view of `tensor`, but calls `make`, once for all of them.

    A compiled model chooses itself what it makes again: there, this does nothing.

    Args:
        make: gives the same numbers in the same layout; called without gradients. What it holds is kept until backward, and what it gave
            until the gradient of `tensor` is there.
    """
    if not tensor.requires_grad or torch.compiler.is_compiling():
        yield
        return
    layout, known = _layout(tensor), _contents(tensor)  # what goes with the graph must not hold the tensor itself
    made: list[Tensor] = []

    def pack(saved: Tensor) -> tuple[Any, ...]:
        if _contents(saved) == known:
            return saved.size(), saved.stride(), saved.storage_offset()
        return saved.detach(), saved._version  # with its graph, the output of an operation would hold itself

    def unpack(kept: tuple[Any, ...]) -> Tensor:
        if isinstance(kept[0], Tensor):
            assert kept[0]._version == kept[1], "a tensor that backward needs was changed in place"  # autograd cannot know, behind hooks
            return kept[0]
        if not made:
            with torch.no_grad():
                made.append(make())
            assert _layout(made[0]) == layout
        return made[0].as_strided(*kept)

    tensor.register_hook(lambda _: made.clear())
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def _contents(tensor: Tensor) -> tuple[Any, ...]:
    """What a tensor has in common with its views."""
    return tensor.untyped_storage().data_ptr(), tensor.dtype, tensor._version


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.size(), tensor.stride(), tensor.storage_offset()
