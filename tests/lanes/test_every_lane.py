"""What every lane must satisfy: one table of lanes beside their naive references, one set of tests for all of them."""

from collections.abc import Callable, Iterator
from math import log, pi
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from tests.lanes import naive
from wavestack import registry
from wavestack.lanes.lane import Lane

HIDDEN, CONTEXT = 6, 256
TOLERANCE, GRADIENT_TOLERANCE = 2e-6, 1e-4  # relative to the largest value


def prefix_average(lane, x):
    return naive.prefix_kernel_average(x, lane.basis(0, x.shape[1]).double(), lane.gains[lane.gain_of_column].double())


def recall(lane, x):
    key, *query, v, decay, rate = x.split([lane.heads * lane.features] * lane.addresses + [HIDDEN, lane.heads, lane.heads], -1)
    key, *query, v = (part.unflatten(-1, (lane.heads, -1)).transpose(1, 2) for part in (key, *query, v))
    key = key / key.norm(dim=-1, keepdim=True)
    if query:
        query = query[0] / query[0].norm(dim=-1, keepdim=True)
    else:  # the address that is asked for is that of the position, and the one that is written under that of the position before
        key, query = torch.cat([torch.zeros_like(key[:, :, :1]), key[:, :, :-1]], 2), key
    decay = torch.exp(-functional.softplus(decay * lane.decay_scale + lane.decay_start * lane.decay_bias)).mT
    rate = torch.sigmoid(rate * lane.rate_scale + lane.rate_bias).mT
    y = naive.recall(query, key, v, decay, rate, lane.replace) + lane.own[:, None, None] * v
    return y.transpose(1, 2).flatten(2)


def attention(lane, x):
    q, k, v = x.unflatten(-1, (3, lane.heads, lane.head_width)).permute(2, 0, 3, 1, 4)
    q, k = (
        naive.rotary(part * torch.rsqrt((part**2).mean(-1, keepdim=True) + 1e-6) * norm.weight)
        for part, norm in ((q, lane.query_norm), (k, lane.key_norm))
    )
    return naive.attention(q, k, v, lane.window).transpose(1, 2).flatten(2)


def legendre(lane, x):
    return (naive.legendre_coefficients(x, lane.order) * lane.weights).sum(2)


def oscillator(lane, x):
    half_lives = 2 ** lane.half_life_exponents.double()
    modes = torch.exp(torch.complex(-log(2) / half_lives, 2 * pi * lane.turns.double() / half_lives))
    weights = torch.complex(*lane.weights.double()) * torch.sqrt(1 - modes.abs() ** 2)[:, None]
    return naive.oscillator(x, modes, weights)


class Case(NamedTuple):
    lane: str  # its registered name
    knobs: dict[str, Any]
    reference: Callable[[Lane, Tensor], Tensor]
    ends: bool = False  # at position T
    sums: bool = True  # its state is made of sums, which stay in float32


CASES = {
    "chebyshev": Case("chebyshev", {"order": 7}, prefix_average, ends=True),
    "fourier": Case("fourier", {"frequencies": 9}, prefix_average, ends=True),
    "hadamard": Case("hadamard", {"functions": 11}, prefix_average, ends=True),
    "random": Case("random", {"rank": 5, "seed": 3}, prefix_average, ends=True),
    "learned": Case("learned", {"rank": 5}, prefix_average, ends=True),
    "legendre": Case("legendre", {"order": 12}, legendre),
    "oscillator": Case("oscillator", {"modes": 5}, oscillator),
    "wavelet": Case("wavelet", {"wavelet": "db4", "levels": 3}, lambda lane, x: naive.wavelet(x, "db4", lane.weights), sums=False),
    "convolution": Case("convolution", {"width": 4}, lambda lane, x: naive.causal_filter(x, lane.weight), sums=False),
    "recall": Case("recall", {"features": 5, "heads": 2}, recall),
    "recall-add": Case("recall", {"features": 5, "heads": 3, "rule": "add"}, recall),
    "recall-own": Case("recall", {"features": 5, "heads": 2, "queries": "own"}, recall),
    "recall-add-own": Case("recall", {"features": 5, "heads": 3, "rule": "add", "queries": "own"}, recall),
    "attention": Case("attention", {"head_width": 2}, attention, ends=True, sums=False),
    "attention-window": Case("attention", {"head_width": 2, "window": 20}, attention, sums=False),
    "attention-itself": Case("attention", {"head_width": 6, "window": 1}, attention, sums=False),
    "identity": Case("identity", {}, lambda lane, x: x, sums=False),
}
every_lane = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_lane_of_sums = pytest.mark.parametrize("case", [c for c in CASES.values() if c.sums], ids=[n for n, c in CASES.items() if c.sums])


def construct(case: Case) -> Lane:
    """The case's lane with random weights in every parameter, the same at every call."""
    torch.manual_seed(0)
    lane = registry.lane(case.lane, {})(HIDDEN, CONTEXT, **case.knobs)
    for parameter in lane.parameters():
        parameter.data += 0.5 * torch.randn_like(parameter)
    return lane


def inputs(lane: Lane, length: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, length, lane.inputs, generator=torch.Generator().manual_seed(length))


def in_pieces(lane: Lane, pieces: Any) -> tuple[Tensor, Any]:
    outputs, state = [], None
    for piece in pieces:
        y, state = lane(piece, state)
        outputs.append(y)
    return torch.cat(outputs, 1), state


def tensors(state: Any) -> Iterator[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, tuple | list):
        for part in state:
            yield from tensors(part)


def difference(found: Tensor, expected: Tensor) -> float:
    """The largest, relative to the largest value."""
    if expected.numel() == 0 == found.numel():  # a state may hold nothing
        return 0.0
    return ((found - expected).abs().max() / expected.abs().max().clamp(min=1e-3)).item()


def test_every_registered_lane_is_in_the_table():
    assert {case.lane for case in CASES.values()} == set(registry.LANES)


@pytest.mark.parametrize("length", [1, 31, 33, 63, 64, 65, 150])
@every_lane
def test_outputs_and_gradients_equal_the_naive_reference(case, length):
    """Measured at worst: 4e-7 for outputs; 1e-6 for gradients, and 3e-5 for recall's decays, where large terms cancel."""
    lane = construct(case)
    x = inputs(lane, length)
    weight = torch.randn(2, length, HIDDEN)
    found = []
    for function, start in ((lambda x: lane(x)[0], x), (lambda x: case.reference(lane, x), x.double())):
        leaves = [start.requires_grad_(), *lane.parameters()]
        y = function(start)
        found.append((y, torch.autograd.grad((y * weight).sum(), leaves)))
    (fast, gradients), (expected, expected_gradients) = found
    assert difference(fast, expected) < TOLERANCE
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        assert difference(gradient, expected) < GRADIENT_TOLERANCE


@every_lane
@given(cuts=st.lists(st.integers(1, 199), max_size=5, unique=True))
@settings(max_examples=12, deadline=None)
def test_any_cutting_with_the_state_carried_gives_the_same(case, cuts):
    lane = construct(case)
    x = inputs(lane, 200)
    whole, end = lane(x)
    y, state = in_pieces(lane, x.tensor_split(sorted(cuts), 1))
    assert difference(y, whole) < TOLERANCE
    for found, expected in zip(tensors(state), tensors(end), strict=True):
        assert difference(found, expected) < TOLERANCE


@every_lane
def test_gradients_pass_through_the_carried_state(case):
    lane = construct(case)
    x = inputs(lane, 150).requires_grad_()
    leaves = [x, *lane.parameters()]
    weight = torch.randn(2, 150, HIDDEN)
    whole = torch.autograd.grad((lane(x)[0] * weight).sum(), leaves)
    carried = torch.autograd.grad((in_pieces(lane, x.tensor_split([1, 70], 1))[0] * weight).sum(), leaves)
    for found, expected in zip(carried, whole, strict=True):
        assert difference(found, expected) < GRADIENT_TOLERANCE


@every_lane
def test_streaming_across_the_context(case):
    """Positions T-1, T and T+1, one at a time: a lane that ends says so at T, any other goes on as its reference does."""
    lane = construct(case)
    x = inputs(lane, CONTEXT + 2)
    expected = case.reference(lane, x[:, :CONTEXT].double() if case.ends else x.double())
    _, state = lane(x[:, : CONTEXT - 1])
    for t in (CONTEXT - 1, CONTEXT, CONTEXT + 1):
        if t >= CONTEXT and case.ends:
            with pytest.raises(ValueError, match=f"position {t} is beyond its context of {CONTEXT}"):
                lane(x[:, CONTEXT : t + 1], state)
        else:
            y, state = lane(x[:, t : t + 1], state)
            assert difference(y, expected[:, t : t + 1]) < TOLERANCE


@pytest.mark.parametrize("batch", [1, 3])
@every_lane
def test_state_bytes_are_those_of_the_state(case, batch):
    lane = construct(case)
    x = inputs(lane, 120, batch)
    for positions in (1, 2, 19, 20, 21, 64, 120):
        for state in (lane(x[:, :positions])[1], in_pieces(lane, x[:, :positions].split(7, 1))[1]):
            held = sum(tensor.numel() * tensor.element_size() for tensor in tensors(state))
            assert held == batch * lane.state_bytes(positions)


@every_lane_of_sums
def test_sums_stay_in_float32_under_autocast(case):
    lane = construct(case)
    x = inputs(lane, 150)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = lane(x)
        half, half_state = lane(x.bfloat16())
    torch.testing.assert_close(y, lane(x)[0])
    assert half.dtype == torch.bfloat16
    assert {tensor.dtype for tensor in (*tensors(state), *tensors(half_state))} == {torch.float32}


@every_lane
def test_the_meta_device_counts_the_same_parameters(case):
    with torch.device("meta"):
        shapes = [parameter.shape for parameter in construct_plain(case).parameters()]
    lane = construct_plain(case)
    assert shapes == [parameter.shape for parameter in lane.parameters()]
    assert lane.table is None or lane.table.device.type == "cpu"


def construct_plain(case: Case) -> Lane:
    return registry.lane(case.lane, {})(HIDDEN, CONTEXT, **case.knobs)


@every_lane
def test_training_after_inference_mode(case):
    """Constants that are made in inference mode and kept must not get in the way of a backward pass."""
    lane = construct(case)
    with torch.inference_mode():
        x = inputs(lane, 140)
        lane(x)
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(lane(x)[0].sum(), x)
    assert gradient.any()


@every_lane
def test_flops_are_linear_in_length_unless_the_state_grows(case):
    lane = construct(case)
    short, long = lane.flops(64 * 32), lane.flops(64 * 64)
    if case.lane == "identity":
        assert short == long == 0
    elif case.lane == "attention" and lane.window is None:
        assert long > 3.9 * short
    else:
        assert long == pytest.approx(2 * short, rel=0.02)
