"""One training in several processes, as `torchrun` starts them: each takes its rows of a batch, and gradients are those of the whole.

Each holds the whole model (PyTorch's DDP), or its share of every weight, gradient and moment (FSDP2), and has a block's weights together
only while the block computes. The first process alone writes; the others learn from it what it found, so that all of them go the same way.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor, init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from wavestack.device import available
from wavestack.models.stack import Block


class Processes:
    """Those that train together; alone, every method is the identity.

    Attributes:
        rank: of this process; 0 for the first.
        count: of all of them.
        device: of this process, "cpu" or the GPU that is its own.
        sharded: each holds its share of the model, not all of it.
    """

    def __init__(self, device: str, rank: int = 0, count: int = 1, sharded: bool = False):
        self.device, self.rank, self.count, self.sharded = device, rank, count, sharded

    @property
    def first(self) -> bool:
        return self.rank == 0

    def model(self, model: nn.Module) -> nn.Module:
        """The model on this process's device, its gradients the mean of those in all processes. It is changed in place.

        A sharded one has new parameters, and comes to a GPU block by block: no GPU need hold the whole of it.
        """
        if not self.sharded:
            model.to(self.device)
            return DistributedDataParallel(model) if self.count > 1 else model
        mesh = init_device_mesh(self.device.partition(":")[0], (self.count,))
        for block in [module for module in model.modules() if isinstance(module, Block)]:
            fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)  # what stands outside of the blocks
        return model

    def whole(self, tensor: Tensor) -> Tensor:
        """Of a tensor whose shares lie in all processes: all of them must ask."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def gathered(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All of them whole, in main memory, in the first process; the others help to put shares together, one after another."""
        found = {}
        for name, tensor in tensors.items():
            whole = self.whole(tensor)
            if self.first:
                found[name] = whole.detach().cpu()
        return found

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            distributed.barrier()

    def placed(self, tensor: Tensor, like: Tensor) -> Tensor:
        """A whole tensor where `like` is: on its device, or as this process's share of it."""
        tensor = tensor.to(like.device)
        return distribute_tensor(tensor, like.device_mesh, like.placements) if isinstance(like, DTensor) else tensor

    def rows(self, tensor: Tensor) -> Tensor:
        """This process's rows of a batch; one more in the first ones, where they cannot be equally many."""
        return tensor.tensor_split(self.count)[self.rank]

    def sum(self, value: float) -> float:
        """Of what every process has."""
        if self.count == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return total.item()

    def all(self, value: Any) -> list[Any]:
        """What every process has, in their order."""
        if self.count == 1:
            return [value]
        gathered: list[Any] = [None] * self.count
        distributed.all_gather_object(gathered, value)
        return gathered

    def from_first(self, find: Callable[[], Any], with_model: bool = False) -> Any:
        """What the first process finds; the others wait for it, or help where it takes a sharded model to find it."""
        found = [find() if self.first or (with_model and self.sharded) else None]
        if self.count > 1:
            distributed.broadcast_object_list(found)
        return found[0]


@contextmanager
def joined(device: str, count: int, sharded: bool = False) -> Iterator[Processes]:
    """Join the other processes of a training; `torchrun` says in the environment which they are.

    Args:
        device: "cpu" or "cuda".
        count: of processes that the parameters ask for.
        sharded: each holds its share of the model.

    Raises:
        ValueError: the device is not there, or other many processes were started.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != count:
        raise ValueError(
            f"the parameters ask for training.processes: {count}, and {started} were started; start them with torchrun "
            f"--nproc-per-node {count} --no-python wavestack train ..., as the workflow does, or change the parameters"
        )
    available(device)
    if count == 1:
        yield Processes(device)
        return
    if device == "cuda":
        place = int(os.environ["LOCAL_RANK"])
        if place >= torch.cuda.device_count():
            raise ValueError(
                f"{count} processes need a GPU each, and this machine has {torch.cuda.device_count()}; ask for fewer processes"
            )
        torch.cuda.set_device(place)
        device = f"cuda:{place}"
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(device, distributed.get_rank(), distributed.get_world_size(), sharded)
    finally:
        distributed.destroy_process_group()
