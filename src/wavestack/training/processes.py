"""One training in several processes, as `torchrun` starts them: each takes its rows of a batch, and gradients are those of the whole.

The first process alone validates and writes; the others learn from it what it found, so that all of them go the same way.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from wavestack.device import available


class Processes:
    """Those that train together; alone, every method is the identity.

    Attributes:
        rank: of this process; 0 for the first.
        count: of all of them.
        device: of this process, "cpu" or the GPU that is its own.
    """

    def __init__(self, device: str, rank: int = 0, count: int = 1):
        self.device, self.rank, self.count = device, rank, count

    @property
    def first(self) -> bool:
        return self.rank == 0

    def model(self, model: nn.Module) -> nn.Module:
        """The model whose gradients are the mean of those in all processes."""
        return model if self.count == 1 else DistributedDataParallel(model)

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

    def from_first(self, find: Callable[[], Any]) -> Any:
        """What the first process finds; the others wait for it."""
        found = [find() if self.first else None]
        if self.count > 1:
            distributed.broadcast_object_list(found)
        return found[0]


@contextmanager
def joined(device: str, count: int) -> Iterator[Processes]:
    """Join the other processes of a training; `torchrun` says in the environment which they are.

    Args:
        device: "cpu" or "cuda".
        count: of processes that the parameters ask for.

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
        yield Processes(device, distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
