"""Every registered mixer beside its formula, position by position; what its weights say; and its state."""

from math import sqrt

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import gelu

from tests.lanes import naive
from wavestack import contract, registry
from wavestack.models.wavestack import WaveStack

HIDDEN, LANES, WIDTH, CONTEXT = 8, 3, 4, 32
WEIGHING = ("gated", "sigmoid", "across")


def gated(mixer, u, views):
    scores = (mixer.gate.weight @ u).exp()
    return torch.stack([views[lane] * scores[lane] / scores.sum() for lane in range(LANES)])


def sigmoid(mixer, u, views):
    return torch.stack([views[lane] / (1 + (-mixer.gate.weight[lane] @ u).exp()) for lane in range(LANES)])


def mlp(mixer, u, views):
    return (mixer.down.weight @ gelu(mixer.up.weight @ torch.cat(list(views)))).view(LANES, WIDTH)


def heard(mixer, views: Tensor) -> Tensor:
    """How much each lane (row) listens to each (column), at one position."""
    q, k, _ = mixer.qkv.weight.split(WIDTH)
    return torch.stack([torch.softmax(torch.stack([(q @ a) @ (k @ b) for b in views]) / sqrt(WIDTH), 0) for a in views])


def across(mixer, u, views):
    value = mixer.qkv.weight.split(WIDTH)[2]
    rows = heard(mixer, views)
    return torch.stack([views[a] + sum(rows[a, b] * (value @ views[b]) for b in range(LANES)) for a in range(LANES)])


def at_each_position(formula):
    def whole(mixer, u, views):
        return torch.stack([torch.stack([formula(mixer, *at) for at in zip(*row, strict=True)]) for row in zip(u, views, strict=True)])

    return whole


def sequence(mixer, u, views):
    """Each lane is a head that looks back along its own outputs."""
    mixed = []
    for lane in views.double().unbind(2):  # B x S x W
        q, k, v = (lane @ part.double().T for part in mixer.qkv.weight.split(WIDTH))
        q, k = (
            naive.rotary(part * torch.rsqrt((part**2).mean(-1, keepdim=True) + 1e-6) * norm.weight.double())
            for part, norm in ((q, mixer.attention.query_norm), (k, mixer.attention.key_norm))
        )
        mixed.append(lane + naive.attention(q[:, None], k[:, None], v[:, None], None)[:, 0])
    return torch.stack(mixed, 2).float()


FORMULAS = {"sequence": sequence} | {f.__name__: at_each_position(f) for f in (gated, sigmoid, mlp, across)}


@pytest.fixture(params=registry.MIXERS)
def name(request):
    return request.param


@pytest.fixture
def mixer(name):
    mixer = registry.load(registry.MIXERS[name])(HIDDEN, LANES, WIDTH, CONTEXT)
    contract.randomise(mixer, 0)
    return mixer


@pytest.fixture
def given():
    torch.manual_seed(0)
    return torch.randn(2, 11, HIDDEN), torch.randn(2, 11, LANES, WIDTH)


def test_it_is_its_formula(name, mixer, given):
    torch.testing.assert_close(mixer(*given)[0], FORMULAS[name](mixer, *given), atol=1e-5, rtol=1e-5)


def test_what_it_says_is_read_from_the_mixture_of_normed_views_times_the_opening(name, mixer, given):
    u, views = given
    z, out = torch.randn_like(views), torch.randn(HIDDEN, LANES * WIDTH)
    passed = functional.silu(z) * mixer(u, views * torch.rsqrt((views**2).mean(-1, keepdim=True) + 1e-6))[0]
    torch.testing.assert_close(mixer.say(u, views, z, out)[0], passed.flatten(2) @ out.T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in registry.MIXERS if name != "mlp"])
def test_at_the_start_gain_times_mixture_is_the_views(name):
    """As random as they start, mixers that weigh views, or add to them, pass them on; an MLP begins with next to nothing."""
    torch.manual_seed(0)
    lanes = {"wavelet": {"levels": 1}, "chebyshev": {"order": 2}, "fourier": {"frequencies": 3}}
    block = WaveStack(50, 64, 1, CONTEXT, 8, lanes=lanes, mixer=name).blocks[0]
    gains = torch.stack([branch.gain for branch in block.branches.values()])  # L x W
    u, views = torch.randn(2, 20, 64), torch.randn(2, 20, LANES, 24)
    mixed = gains * block.mixer(u, views)[0]
    share = (mixed * views).mean((0, 1, 3)) / views.square().mean((0, 1, 3))
    torch.testing.assert_close(share, torch.ones(LANES), atol=0.05, rtol=0)


def test_its_state_carries_the_past(name, mixer, given):
    """In uneven chunks as in one, and the state is as large as it says."""
    parts, state, position = [], None, 0
    for length in (4, 1, 5, 1):
        part, state = mixer(*(tensor[:, position : position + length] for tensor in given), state)
        parts.append(part)
        position += length
        tensors = [] if state is None else [part for part in state if isinstance(part, Tensor)]
        assert mixer.state_bytes(position) == sum(tensor[:1].nbytes for tensor in tensors)
    torch.testing.assert_close(torch.cat(parts, 1), mixer(*given)[0], atol=1e-6, rtol=1e-5)
    assert (state is not None) == (name == "sequence")


def test_a_lane_too_narrow_to_rotate():
    with pytest.raises(ValueError, match=r"sequence mixer: lanes are 5 channels wide, and positions rotate pairs.*change lane_width"):
        WaveStack(50, 10, 1, 32, 8, lanes={"fourier": {"frequencies": 3}}, mixer="sequence", lane_width=0.5)


class TestWeights:
    def test_they_weigh_the_views(self, name, mixer, given):
        if name in ("gated", "sigmoid"):
            torch.testing.assert_close(mixer(*given)[0], mixer.weights(*given)[..., None] * given[1])
        elif name == "across":  # the mean over those who listen
            expected = torch.stack([torch.stack([heard(mixer, at).mean(0) for at in row]) for row in given[1]])
            torch.testing.assert_close(mixer.weights(*given), expected)
        else:
            with pytest.raises(ValueError, match=f"{type(mixer).__name__} does not weigh lanes one by one; ask a gated"):
                mixer.weights(*given)

    @pytest.mark.parametrize("name", ["gated", "across"])
    def test_they_are_a_distribution(self, name, mixer, given):
        weights = mixer.weights(*given)
        assert weights.shape == (2, 11, LANES)
        assert (weights > 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 11))

    @pytest.mark.parametrize("name", ["sigmoid"])
    def test_sigmoids_do_not_compete(self, name, mixer, given):
        before = mixer.weights(*given)
        mixer.gate.weight.data[1] *= 3
        after = mixer.weights(*given)
        assert torch.equal(after[..., [0, 2]], before[..., [0, 2]])
        assert not torch.equal(after[..., 1], before[..., 1])


class TestGatesOfAModel:
    @staticmethod
    def model(mixer):
        lanes = {"wavelet": {"wavelet": "haar", "levels": 1}, "chebyshev": {"order": 2}, "fourier": {"frequencies": 3}}
        model = WaveStack(50, 16, 2, 32, 8, lanes=lanes, mixer=mixer)
        contract.randomise(model, 0)
        return model.eval()

    @pytest.mark.parametrize("mixer", WEIGHING)
    def test_blocks_x_batch_x_positions_x_lanes(self, mixer):
        gates = self.model(mixer).gates(torch.randint(50, (3, 20)))
        assert gates.shape == (2, 3, 20, 3)
        assert not gates.requires_grad
        assert not torch.allclose(gates[0], gates[1])

    def test_each_block_weighs_what_comes_into_it(self):
        model, tokens = self.model("gated"), torch.randint(50, (2, 20))
        stream = model.blocks[0](model.embedding(tokens))[0]
        expected = torch.softmax(model.blocks[1].norm(stream) @ model.blocks[1].mixer.gate.weight.T, -1)
        torch.testing.assert_close(model.gates(tokens)[1], expected)

    @pytest.mark.parametrize("place", range(3))
    def test_lanes_in_the_order_of_lanes(self, place):
        """Where one lane's gate is shut, its weight is nothing, and so is the effect of what it writes."""
        model, tokens = self.model("gated"), torch.randint(50, (2, 20))
        for block in model.blocks:
            block.norm.weight.data.fill_(1)
            block.mixer.gate.weight.data.zero_()
            block.mixer.gate.weight.data[place] = -100 * model.embedding.weight[7]
        model.embedding.weight.data[:] = model.embedding.weight[7]
        assert (model.gates(tokens)[0, ..., place] == 0).all()
        model.blocks[1].mixer.gate.weight.data.zero_()
        shut = model(tokens)
        name = list(model.lanes)[place]
        model.blocks[0].branches[name].out.weight.data.zero_()
        assert torch.equal(model(tokens), shut)
        other = list(model.lanes)[place - 1]
        model.blocks[0].branches[other].out.weight.data.zero_()
        assert not torch.equal(model(tokens), shut)

    @pytest.mark.parametrize("mixer", [name for name in registry.MIXERS if name not in WEIGHING])
    def test_none_where_lanes_are_not_weighed(self, mixer):
        with pytest.raises(ValueError, match="does not weigh lanes one by one"):
            self.model(mixer).gates(torch.zeros(1, 4, dtype=torch.long))
