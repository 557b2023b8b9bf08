"""No view at all: what a block without lanes falls back on, and the control that says what the lanes add."""

from torch import Tensor

from wavestack.lanes.lane import Lane


class Identity(Lane):
    """`y = x`, without a state."""

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        return x, None

    def state_bytes(self, positions: int) -> int:
        return 0

    def flops(self, length: int) -> int:
        return 0
