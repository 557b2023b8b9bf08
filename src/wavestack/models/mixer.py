"""Mixers: how a block weighs and combines what its lanes say.

A mixer takes the block's input `u` (B x S x H) and the lanes' normed views (B x S x L x W) and gives as many views back; the block's output
layer reads them side by side. Mixers that weigh lanes can be asked for the weights. A lane added at run time is outside of the mixer and
has a gate of its own: `weight_of_added` says what it counts, and what the base lanes say does not change.
"""

from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.attention import Attention, AttentionState
from wavestack.models.gating import normed, opened
from wavestack.models.language_model import matrix_flops


class Mixer(nn.Module):
    """The interface of a mixer. It is constructed from the block's width, the number of lanes, their width and the declared context.

    Attributes:
        weighs: whether it can be asked for `weights`.
    """

    weighs = False

    def __init__(self, hidden: int, lanes: int, width: int, context: int):
        super().__init__()

    @classmethod
    def first_gain(cls, lanes: int) -> float:
        """What the gains of so many lanes start with: the inverse of what each of them counts in the mixture before anything is trained."""
        return 1.0

    def forward(self, u: Tensor, views: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Mixed views (B x S x L x W) for the chunk after the past that `state` sums up, and the state after it."""
        raise NotImplementedError

    def say(self, u: Tensor, views: Tensor, z: Tensor, out: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """What the output layer `out` (H x LW) makes of `silu(z)` times the mixture of the views (all B x S x L x W), not normed yet."""
        mixed, state = self(u, normed(views), state)
        return functional.linear((functional.silu(z) * mixed).flatten(2), out), state

    def weights(self, u: Tensor, views: Tensor) -> Tensor:
        """How much each lane counts at each token, B x S x L.

        Raises:
            ValueError: for a mixer that does not weigh lanes.
        """
        raise ValueError(f"{type(self).__name__} does not weigh lanes one by one; ask a gated, sigmoid or across mixer")

    def weight_of_added(self, u: Tensor, gate: Tensor) -> Tensor:
        """What a lane added at run time counts, from its own gate (B x S x 1)."""
        return torch.sigmoid(gate)

    def without(self, place: int) -> None:
        """Go on without the lane at this place.

        Raises:
            ValueError: for a mixer whose weights were trained on all of them together.
        """
        raise ValueError(f"{type(self).__name__} combines exactly the lanes that it was trained with; train anew without the lane")

    def state_bytes(self, positions: int) -> int:
        return 0

    def flops(self, length: int) -> int:
        """Floating-point operations of the forward pass over one sequence, counted as `Lane.flops` does."""
        return matrix_flops(self, length)


class GatedMixer(Mixer):
    """A softmax over the lanes at every token, from the block's input, weighs the lanes."""

    weighs = True

    def __init__(self, hidden: int, lanes: int, width: int, context: int):
        super().__init__(hidden, lanes, width, context)
        self.gate = nn.Linear(hidden, lanes, bias=False)

    @classmethod
    def first_gain(cls, lanes: int) -> float:
        return float(lanes)

    def forward(self, u: Tensor, views: Tensor, state: None = None) -> tuple[Tensor, None]:
        return views * self.weights(u, views)[..., None].to(views.dtype), None

    def say(self, u: Tensor, views: Tensor, z: Tensor, out: Tensor, state: None = None) -> tuple[Tensor, None]:
        return opened(views, z, self.weights(u, views), out), None

    def weights(self, u: Tensor, views: Tensor) -> Tensor:
        """Positive, summing to 1."""
        return torch.softmax(self.gate(u), dim=-1)

    def weight_of_added(self, u: Tensor, gate: Tensor) -> Tensor:
        """`exp(g) / sum over the base lanes of exp(g_l)`: an added lane is not in the normaliser, which would rescale the others."""
        return torch.exp(gate - torch.logsumexp(self.gate(u), -1, keepdim=True))

    def without(self, place: int) -> None:
        kept = [lane for lane in range(self.gate.out_features) if lane != place]
        self.gate.weight = nn.Parameter(self.gate.weight.detach()[kept], requires_grad=self.gate.weight.requires_grad)
        self.gate.out_features -= 1


class SigmoidMixer(GatedMixer):
    """A sigmoid of its own for each lane: lanes do not compete."""

    @classmethod
    def first_gain(cls, lanes: int) -> float:
        return 2.0

    def weights(self, u: Tensor, views: Tensor) -> Tensor:
        """Between 0 and 1."""
        return torch.sigmoid(self.gate(u))

    def weight_of_added(self, u: Tensor, gate: Tensor) -> Tensor:
        return torch.sigmoid(gate)


class MLPMixer(Mixer):
    """A layer of GELUs, as wide as the block, on all views side by side."""

    def __init__(self, hidden: int, lanes: int, width: int, context: int):
        super().__init__(hidden, lanes, width, context)
        self.up = nn.Linear(lanes * width, hidden, bias=False)
        self.down = nn.Linear(hidden, lanes * width, bias=False)

    def forward(self, u: Tensor, views: Tensor, state: None = None) -> tuple[Tensor, None]:
        return self.down(functional.gelu(self.up(views.flatten(2)))).view_as(views), None


class AcrossMixer(Mixer):
    """At each position on its own, every lane attends to all lanes: one head of softmax attention over L views, added to them."""

    weighs = True

    def __init__(self, hidden: int, lanes: int, width: int, context: int):
        super().__init__(hidden, lanes, width, context)
        self.lanes = lanes
        self.qkv = nn.Linear(width, 3 * width, bias=False)

    def _attention(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """How much each lane (row) listens to each (column), B x S x L x L, and what there is to hear."""
        q, k, v = self.qkv(views).chunk(3, -1)  # B x S x L x W
        return torch.softmax(q @ k.mT / sqrt(q.shape[-1]), -1), v

    def forward(self, u: Tensor, views: Tensor, state: None = None) -> tuple[Tensor, None]:
        attention, v = self._attention(views)
        return views + attention @ v, None

    def weights(self, u: Tensor, views: Tensor) -> Tensor:
        """How much each lane is listened to, the mean over the listeners: positive, summing to 1."""
        return self._attention(views)[0].mean(2)

    def without(self, place: int) -> None:
        """The same weights serve any number of lanes."""
        self.lanes -= 1

    def flops(self, length: int) -> int:
        return self.lanes * matrix_flops(self, length) + 2 * 2 * length * self.lanes**2 * self.qkv.in_features


class SequenceMixer(Mixer):
    """Softmax attention over the sequence of lane outputs, every lane a head, added to them. Its state grows with the past."""

    def __init__(self, hidden: int, lanes: int, width: int, context: int):
        super().__init__(hidden, lanes, width, context)
        if width % 2:
            raise ValueError(f"sequence mixer: lanes are {width} channels wide, and positions rotate pairs of channels; change lane_width")
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.attention = Attention(lanes * width, context, head_width=width)

    def forward(self, u: Tensor, views: Tensor, state: AttentionState | None = None) -> tuple[Tensor, AttentionState]:
        qkv = self.qkv(views).unflatten(-1, (3, -1)).transpose(2, 3)  # B x S x 3 x L x W
        heard, state = self.attention(qkv.flatten(2), state)
        return views + heard.view_as(views), state

    def state_bytes(self, positions: int) -> int:
        return self.attention.state_bytes(positions)

    def flops(self, length: int) -> int:
        return self.attention.heads * matrix_flops(self.qkv, length) + self.attention.flops(length)
