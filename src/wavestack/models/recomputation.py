"""Activations that are cheap to make are made again in backward instead of being kept (Chen et al. 2016, arXiv:1604.06174)."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor


def recomputed(tensor: Tensor, make: Callable[[], Tensor]) -> AbstractContextManager[Any]:
    """Of what is computed within, backward keeps no view of `tensor`, but calls `make`, once for all of them.

    On the CPU alone: kernels on a GPU take copies of the parts, and a compiled model chooses itself what it makes again.

    Args:
        make: gives the same numbers in the same layout; called without gradients. What it holds is kept until backward.
    """
    if not tensor.requires_grad or tensor.device.type != "cpu" or torch.compiler.is_compiling():
        return nullcontext()
    storage, layout = tensor.untyped_storage().data_ptr(), tensor.stride()
    made: list[Tensor] = []  # from the first view that backward asks for until the gradient of `tensor` is there

    def pack(saved: Tensor) -> Any:
        if saved.untyped_storage().data_ptr() != storage:
            return saved.detach()  # with its graph, the output of an operation would hold itself
        return saved.size(), saved.stride(), saved.storage_offset()

    def unpack(kept: Any) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        if not made:
            with torch.no_grad():
                made.append(make())
            assert made[0].stride() == layout
        return made[0].as_strided(*kept)

    tensor.register_hook(lambda _: made.clear())
    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)
