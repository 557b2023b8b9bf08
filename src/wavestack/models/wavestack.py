"""The deep WaveStack: residual blocks of lanes under a mixer, and a SwiGLU.

u   = norm(x)
v_l = silu(short_causal_conv(inputs_l(u)))                 # for each lane l, as many channels as it reads
y_l = norm(lane_l(v_l))                                    # W channels, of mean square 1
m   = mixer(u, y)                                          # gated: softmax(gate(u))_l * y_l
x   = x + sum_l out_l(gain_l * silu(z_l(u)) * m_l)
x   = x + swiglu(norm(x))

The matrices of all lanes are applied at once, and each lane owns its part of them, so that lanes can be added to a trained model, trained
alone and removed again. A lane may be in some blocks only; the mixer of a block weighs the lanes that the block has.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from math import isclose
from typing import Annotated, Any, NamedTuple, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from wavestack import registry
from wavestack.lanes.convolution import ShortConvolution
from wavestack.lanes.filtering import causal_filter, keeps_its_inputs
from wavestack.lanes.lane import Lane
from wavestack.lanes.norm import RMSNorm
from wavestack.models.alignment import project
from wavestack.models.gating import normed, opened
from wavestack.models.language_model import matrix_flops
from wavestack.models.recomputation import recomputed
from wavestack.models.stack import Block, ResidualStack, SwiGLU
from wavestack.schema import Placement, filled_in, lane_schema

WORTH = 2**20  # numbers in filtered inputs that backward makes again instead of having them kept: fewer cost more in time than they save
Knobs = dict[str, Any]


class Branch(nn.Module):
    """A lane with its own part of a block's matrices: what it reads, what lets it through, where it writes."""

    def __init__(self, hidden: int, context: int, lane: Lane, convolution: int, gain: float):
        super().__init__()
        self.lane = lane
        self.inputs = nn.Linear(hidden, lane.inputs, bias=False)
        self.convolution = ShortConvolution(lane.inputs, context, width=convolution)
        self.gain = nn.Parameter(torch.full((lane.hidden,), gain))  # of the lane's view, once it is mixed
        self.z = nn.Linear(hidden, lane.hidden, bias=False)
        self.out = nn.Linear(lane.hidden, hidden, bias=False)

    def state_bytes(self, positions: int) -> int:
        return self.convolution.state_bytes(positions) + self.lane.state_bytes(positions)

    def flops(self, length: int) -> int:
        layers = sum(matrix_flops(layer, length) for layer in (self.inputs, self.z, self.out))
        return layers + self.convolution.flops(length) + self.lane.flops(length)


class LanesState(NamedTuple):
    filtered: Tensor  # the last inputs of the branches' convolutions
    lanes: list[Any]


def views_of(branches: Sequence[Branch], u: Tensor, state: LanesState | None) -> tuple[Tensor, Tensor, LanesState]:
    """The branches' views of `u` and what opens them, z(u), each B x S x L x W, and the state after the chunk."""
    inputs = [branch.lane.inputs for branch in branches]
    seen = project(u, torch.cat([branch.inputs.weight for branch in branches]))
    z = project(u, torch.cat([branch.z.weight for branch in branches]))
    taps = torch.cat([branch.convolution.weight for branch in branches], 1)
    past = None if state is None else state.filtered
    filtered, ends = causal_filter(seen, taps, past, silu=True)
    views, after = [], []
    read, known = seen.detach(), taps.detach()
    again = recomputed(filtered, lambda: causal_filter(read, known, past, silu=True)[0])
    with again if filtered.numel() >= WORTH and keeps_its_inputs(seen, taps) else nullcontext():
        for place, part in enumerate(filtered.split(inputs, -1)):
            y, lane_past = branches[place].lane(part, None if state is None else state.lanes[place])
            views.append(y)
            after.append(lane_past)
    stacked = torch.stack(views, 2)
    return stacked, z.view(stacked.shape), LanesState(ends, after)


def out_of(branches: Sequence[Branch]) -> Tensor:
    """The layer with which the branches write into the residual stream, H x LW."""
    return torch.cat([branch.out.weight * branch.gain for branch in branches], 1)


class AddedBranch(Branch):
    """A branch that joined a finished block: it has its own gate, and says nothing until it is trained."""

    def __init__(self, hidden: int, context: int, lane: Lane, convolution: int, gain: float):
        super().__init__(hidden, context, lane, convolution, gain)
        self.gate = nn.Linear(hidden, 1, bias=False)
        nn.init.normal_(self.inputs.weight, std=0.02)
        nn.init.normal_(self.z.weight, std=0.02)
        nn.init.normal_(self.gate.weight, std=0.02)
        nn.init.zeros_(self.out.weight)

    def flops(self, length: int) -> int:
        return super().flops(length) + matrix_flops(self.gate, length)


class WaveStackBlock(Block):
    def __init__(self, hidden: int, context: int, mlp: int, lanes: Mapping[str, Lane], mixer: str, convolution: int):
        super().__init__()
        width = next(iter(lanes.values())).hidden
        kind = registry.load(registry.MIXERS[mixer])
        self.gain = kind.first_gain(len(lanes))
        self.norm = RMSNorm(hidden)
        branches = {name: Branch(hidden, context, lane, convolution, self.gain) for name, lane in lanes.items()}
        self.branches = cast(dict[str, Branch], nn.ModuleDict(branches))
        self.added = cast(dict[str, AddedBranch], nn.ModuleDict())
        self.mixer = kind(hidden, len(lanes), width, context)
        self.mlp_norm = RMSNorm(hidden)
        self.mlp = SwiGLU(hidden, mlp)

    @property
    def every_branch(self) -> dict[str, Branch]:
        """Those of the base lanes, then those of the added ones."""
        return {**self.branches, **self.added}

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        base, mixed, added = (None, None, [None] * len(self.added)) if state is None else state
        branches = list(self.branches.values())
        u = self.norm(x)  # B x S x H
        views, z, base = views_of(branches, u, base)
        said, mixed = self.mixer.say(u, views, z, out_of(branches), mixed)
        x = x + self.dropout(said)
        after = []
        for branch, past in zip(self.added.values(), added, strict=True):
            views, z, past = views_of([branch], u, past)
            weight = self.mixer.weight_of_added(u, branch.gate(u))  # B x S x 1
            x = x + self.dropout(opened(views, z, weight, out_of([branch])))
            after.append(past)
        return x + self.dropout(self.mlp(self.mlp_norm(x))), (base, mixed, after)

    def add(self, name: str, lane: Lane) -> None:
        hidden, like = self.norm.weight.shape[0], next(iter(self.branches.values())).convolution
        branch = AddedBranch(hidden, lane.context, lane, len(like.weight), self.gain)
        self.added[name] = branch.to(self.norm.weight).train(self.training)  # device and dtype, too

    def remove(self, name: str) -> None:
        if name in self.added:
            del self.added[name]
        else:
            self.mixer.without(list(self.branches).index(name))
            del self.branches[name]

    def weights(self, x: Tensor) -> Tensor:
        """What the mixer weighs the base lanes with, B x S x L, for the stream that comes in (B x S x H)."""
        u = self.norm(x)
        return self.mixer.weights(u, normed(views_of(list(self.branches.values()), u, None)[0]))

    def state_bytes(self, positions: int) -> int:
        branches = sum(branch.state_bytes(positions) for branch in self.every_branch.values())
        return branches + self.mixer.state_bytes(positions)

    def flops(self, length: int) -> int:
        branches = sum(branch.flops(length) for branch in self.every_branch.values())
        return branches + self.mixer.flops(length) + matrix_flops(self.mlp, length)


def _places(name: str, knobs: Knobs, depth: int) -> list[int]:
    """The blocks that have a lane, of so many; all of them, where its knobs do not say.

    Raises:
        ValueError: it is in no block, or in one that is not there.
    """
    said = knobs.get("blocks")
    places = list(range(depth) if said is None else said)
    if not places or not set(places) <= set(range(depth)):
        raise ValueError(f"lane '{name}': its blocks are {places}, and those of the model are 0 to {depth - 1}; choose some of these")
    return places


class WaveStack(ResidualStack):
    """A language model of lanes; see the module's docstring for its block.

    Attributes:
        lanes: names and knobs of the base lanes, those of them that it was built with and still has. The knob `blocks` lists the
            blocks that have a lane, where it is not in all of them. A block without any passes v on as it is, by the lane `identity`.
    """

    blocks: Sequence[WaveStackBlock]

    def __init__(
        self,
        vocabulary: int,
        hidden: int,
        blocks: int,
        context: int,
        mlp: int,
        *,
        lanes: dict[str, Knobs],
        mixer: str = "gated",
        convolution: Annotated[int, Field(ge=1)] = 4,
        lane_width: Annotated[float, Field(gt=0, le=1)] = 0.375,  # share of the hidden width
    ):
        width = round(hidden * lane_width)
        if width < 1 or not isclose(hidden * lane_width, width):  # 200 * 0.55 is 110.00000000000001
            raise ValueError(f"wavestack: a lane_width of {lane_width} is no whole number of {hidden} channels; change one of them")
        for name in lanes:
            registry.check_lane_name(name)
        self.lanes = dict(lanes)
        self.added: dict[str, Knobs] = {}
        self.removed: list[str] = []
        self.lane_width = width
        places = {name: _places(name, knobs, blocks) for name, knobs in lanes.items()}
        stack = []
        for place in range(blocks):
            chosen = {name: knobs for name, knobs in lanes.items() if place in places[name]} or {"identity": {}}
            present = {name: self._lane(name, knobs, context) for name, knobs in chosen.items()}
            stack.append(WaveStackBlock(hidden, context, mlp, present, mixer, convolution))
        super().__init__(vocabulary, hidden, context, stack)

    def _lane(self, name: str, knobs: Knobs, context: int) -> Lane:
        chosen = registry.lane(name, knobs)
        if not (isinstance(chosen, type) and issubclass(chosen, Lane)):
            raise ValueError(f"'{knobs['lane']}' is no lane; expected a class derived from wavestack.lanes.lane:Lane")
        return chosen(self.lane_width, context, **{key: value for key, value in knobs.items() if key not in Placement.model_fields})

    def add_lane(self, name: str, **knobs: Any) -> None:
        """Add a lane to every block of a trained model, or to some; its logits stay what they are until the lane is trained.

        Args:
            name: of a registered lane; or any other, with the lane's own as `lane="..."`: a registered one or `module:Class`.
            knobs: the lane's, and the `blocks` that get it, where it is not all of them.

        Raises:
            ValueError: the name is taken or no lane's, or the knobs do not fit.
        """
        present = self._present()
        if name in present:
            raise ValueError(f"a lane named '{name}' is there already (lanes: {', '.join(present)}); add it under another name with lane=")
        registry.check_lane_name(name)
        filled = filled_in(lane_schema(registry.lane_entry(name, knobs))(**knobs))
        lanes = {place: self._lane(name, filled, self.context) for place in _places(name, filled, len(self.blocks))}
        for place, lane in lanes.items():
            self.blocks[place].add(name, lane)
        self.added[name] = filled

    def remove_lane(self, name: str) -> None:
        """Take a lane out of the blocks. Without an added one the model is what it was before, bit for bit, if nothing else was trained.

        Raises:
            ValueError: there is no such lane, it is the last one of a block, or the mixer cannot go on without it.
        """
        if name not in self._present():
            raise ValueError(f"there is no lane named '{name}' to remove; lanes: {', '.join(self._present())}")
        alone = [place for place, block in enumerate(self.blocks) if list(block.branches) == [name]]
        if alone:
            raise ValueError(f"'{name}' is the last lane that block {alone[0]} was built with, and cannot be removed")
        for block in self.blocks:
            if name in block.every_branch:
                block.remove(name)
        if name in self.added:
            del self.added[name]
        else:
            del self.lanes[name]
            self.removed.append(name)

    def _base(self) -> list[str]:
        """Names of the base lanes, `identity` behind them where a block has none of them."""
        return list(dict.fromkeys([*self.lanes, *(name for block in self.blocks for name in block.branches)]))

    def _present(self) -> list[str]:
        """Names of all lanes, the base ones first."""
        return [*self._base(), *self.added]

    def freeze_except(self, *names: str) -> None:
        """Train the lanes of these names alone: what reads, opens and writes them in their blocks, and an added lane's own gate.

        All else gets no gradient, the mixer included: a base lane's weight comes from a softmax that it shares with the others.

        Raises:
            ValueError: there is no such lane.
        """
        for name in names:
            if name not in self._present():
                raise ValueError(f"there is no lane named '{name}' to train; lanes: {', '.join(self._present())}")
        self.requires_grad_(False)
        self.zero_grad()  # an optimiser would take a step along gradients that an earlier training left
        for block in self.blocks:
            for name, branch in block.every_branch.items():
                if name in names:
                    branch.requires_grad_(True)

    @torch.no_grad()
    def gates(self, tokens: Tensor) -> Tensor:
        """What each block's mixer weighs its base lanes with at each token, blocks x B x S x L, lanes in the order of `lanes`.

        A lane has a weight of zero in a block that lacks it. Where some block has no lane at all, `identity` stands behind the others.

        Raises:
            ValueError: the mixer does not weigh lanes.
        """
        x, names = self.embedding(tokens), self._base()
        weights = x.new_zeros(len(self.blocks), *tokens.shape, len(names))
        for place, block in enumerate(self.blocks):
            weights[place][..., [names.index(name) for name in block.branches]] = block.weights(x)
            x, _ = block(x)
        return weights
