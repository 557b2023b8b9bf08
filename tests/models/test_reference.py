"""The published WaveStack against its formulas written out, its sizes, and the faults that it is registered with."""

import copy
import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional

from wavestack import contract, registry
from wavestack.models.reference import Reference
from wavestack.models.reference_lanes import PublishedChebyshev, PublishedWavelet
from wavestack.params import ModelSpec
from wavestack.schema import Budget, knob_schema

V, T = 50257, 512
KNOBS = {"hidden": 12, "frequencies": 9, "dropout": 0.0}
DISTURBED = {"prefix consistency", "step equals parallel", "chunk carry"}


# --- the formulas of MODEL.md, section 1, summed position by position in float64 -----------------------------------------------------


def chebyshev(x: Tensor, order: int) -> Tensor:
    """y_t = sum_k T_k(z_t) 1/(t+1) sum_{s<=t} T_k(z_s) x_s, of vectors divided by their largest absolute channel."""
    length = x.shape[1]
    x = x / x.abs().amax(-1, keepdim=True).clamp(min=1e-6)
    z = -1 + 2 * torch.arange(length, dtype=torch.float64) / max(1, length - 1)
    polynomials = [torch.ones_like(z), z]
    while len(polynomials) < order:
        polynomials.append(2 * z * polynomials[-1] - polynomials[-2])
    steps = []
    for t in range(length):
        steps.append(sum(p[t] / (t + 1) * (p[: t + 1, None] * x[:, : t + 1]).sum(1) for p in polynomials[:order]))
    return torch.stack(steps, 1)


def fourier(x: Tensor, gains: Tensor) -> Tensor:
    """y_t = 1/(t+1) sum_f g_f sum_{s<=t} cos(2 pi f (t-s)/S) x_s."""
    length = x.shape[1]
    t = torch.arange(length, dtype=torch.float64)
    kernel = torch.zeros(length, length, dtype=torch.float64)
    for f, gain in enumerate(gains[: length // 2 + 1]):
        kernel = kernel + gain * torch.cos(2 * math.pi * f * (t[:, None] - t) / length)
    return torch.tril(kernel) / (t[:, None] + 1) @ x


def wavelet(x: Tensor, levels: int) -> Tensor:
    """Means of the last 2^j positions, always divided by 2^j, and x minus them."""
    signals = []
    for width in [2**level for level in range(1, levels + 1)]:
        mean = torch.stack([x[:, max(0, t + 1 - width) : t + 1].sum(1) / width for t in range(x.shape[1])], 1)
        signals += [mean, x - mean]
    return torch.cat(signals, -1)


def context(x: Tensor, block) -> Tensor:
    y = block.convolution.bias.expand_as(x)
    for tap in range(3):  # the last one is for the own position
        reach = 2 - tap
        y = y + functional.pad(x, (0, 0, reach, 0))[:, : x.shape[1]] @ block.convolution.weight[:, :, tap].T
    return x + functional.gelu(y)


def mlp(x: Tensor, layers) -> Tensor:
    linear = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    for layer in linear[:-1]:
        x = functional.gelu(x @ layer.weight.T + layer.bias)
    return x @ linear[-1].weight.T + linear[-1].bias


def mixed(views: list[Tensor], model: Reference, mixer: str) -> Tensor:
    beside = torch.cat(views, -1)
    if mixer == "gated":
        weights = torch.softmax(mlp(beside, model.mixer.gate), -1)
        return sum(weights[..., i : i + 1] * view for i, view in enumerate(views))
    if mixer == "mlp":
        return mlp(beside, model.mixer.mlp)
    query, key, value = model.mixer.qkv.weight.chunk(3)
    heard = 0
    for listener in views:
        scores = [((listener @ query.T) * (view @ key.T)).sum(-1) / math.sqrt(query.shape[0]) for view in views]
        attention = torch.softmax(torch.stack(scores, -1), -1)
        heard = heard + sum(attention[..., i : i + 1] * (view @ value.T) for i, view in enumerate(views))
    return heard / len(views)


def literal(model: Reference, tokens: Tensor, mixer: str) -> Tensor:
    """The whole model, with the weights of a model in float64."""
    x = model.token.weight[tokens] + model.position.weight[: tokens.shape[1]]
    poly, trig, multi = model.lanes
    seen = [chebyshev(x, poly.order), fourier(x, trig.gains), wavelet(x, multi.levels)]
    views = [mlp(view @ lane.linear.weight.T + lane.linear.bias, lane.mlp) for view, lane in zip(seen, model.lanes, strict=True)]
    if model.before is not None:
        views = [context(view, model.before) for view in views]
    m = mixed(views, model, mixer)
    if model.after is not None:
        m = context(m, model.after)
    centred = m - m.mean(-1, keepdim=True)
    m = centred / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * model.norm.weight + model.norm.bias
    return m @ model.head.weight.T


@pytest.mark.parametrize("mixer", ["gated", "across", "mlp"])
@pytest.mark.parametrize(
    ("length", "context_block", "mlp_layers"), [(1, True, 1), (2, True, 1), (7, False, 3), (64, True, 1), (130, True, 3)]
)
def test_logits_and_gradients_are_those_of_the_formulas(mixer, length, context_block, mlp_layers):
    torch.manual_seed(0)
    model = Reference(50, 130, **KNOBS, mixer=mixer, context_block=context_block, mlp_layers=mlp_layers)
    contract.randomise(model, 1)
    precise = copy.deepcopy(model).double()
    tokens = torch.randint(50, (2, length))
    logits, expected = model(tokens), literal(precise, tokens, mixer)
    assert relative(logits, expected) < 1e-5
    weights = torch.randn(logits.shape)
    (logits * weights).sum().backward()
    (expected * weights).sum().backward()
    largest = max(parameter.grad.abs().max() for parameter in precise.parameters())
    for (name, parameter), truth in zip(model.named_parameters(), precise.parameters(), strict=True):
        # some gradients are a ten-thousandth of the largest one: what cancels in them keeps fewer digits, in the formulas as well
        assert (parameter.grad - truth.grad).abs().max() < 1e-5 * largest, name
        assert relative(parameter.grad, truth.grad) < 1e-3, name


def relative(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).abs().max() / expected.abs().max()).detach())


def test_running_means_lose_nothing_far_into_a_sequence():
    torch.manual_seed(0)
    x = 100 + torch.randn(1, 3000, 2)
    assert relative(PublishedWavelet(2, 3, 1, 0.0).view(x), wavelet(x.double(), 3)) < 1e-6


def test_vectors_that_are_almost_nothing_are_not_blown_up():
    torch.manual_seed(0)
    lane = PublishedChebyshev(4, 4, None, 1, 0.0)
    for scale in (1e-4, 1e-8):  # above and below the least divisor
        x = scale * torch.randn(1, 9, 4)
        assert relative(lane.view(x), chebyshev(x.double(), 4)) < 1e-6
    assert not lane.view(torch.zeros(1, 9, 4)).any()


# --- sizes ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("knobs", "total", "published"),
    [
        ({}, 42_339_715, 23_040_195),  # small
        ({"hidden": 768, "mlp_layers": 3}, 96_776_131, 58_177_155),  # large
    ],
)
def test_published_sizes(knobs, total, published):
    """Those published left out the output layer, the last norm and the gains."""
    with torch.device("meta"):
        model = Reference(V, T, **knobs)
    left_out = sum(parameter.numel() for parameter in (model.head.weight, *model.norm.parameters(), model.lanes[1].gains))
    assert model.parameter_counts() == (total, total - 2 * model.head.weight.numel())
    assert total - left_out == published


def test_flops_are_two_a_weight_and_a_position_and_those_of_the_views():
    with torch.device("meta"):
        model = Reference(V, T)
    linear = 2 * (384 * 384) + 2304 * 384 + 4 * 384 * 384 + 2 * 384 * 576 + 1152 * 384 + 384 * 3 + 384 * V
    convolutions = 4 * 3 * 384 * 384  # three lanes and the mixed one
    views = sum(lane.view_flops(T) for lane in model.lanes)
    assert model.flops(T) == 2 * T * (linear + convolutions) + views
    assert 0.02 < views / (model.flops(T) - 2 * T * 384 * V) < 0.2  # what the published tables left out is no trifle
    with torch.device("meta"):
        longer = Reference(V, 4096)
    assert longer.flops(4096) == pytest.approx(8 * model.flops(T), rel=1e-6)


# --- the length at hand, the known breaks, and generation ----------------------------------------------------------------------------


def test_a_longer_input_changes_the_past():
    """As it starts, with no weight drawn to make it worse: the same 32 tokens, alone and with 32 others behind them."""
    torch.manual_seed(0)
    model = Reference(50, 64, hidden=48).eval()
    tokens = torch.randint(50, (2, 64))
    with torch.no_grad():
        assert relative(model(tokens[:, :32]), model(tokens)[:, :32]) > 1e-3
        x = model.positioned(model.embed(tokens))
        poly, trig, multi = (relative(lane.view(x[:, :32]), lane.view(x)[:, :32]) for lane in model.lanes)
    assert poly > 1e-3
    assert trig > 1e-3
    assert multi == 0  # the running means alone do not look at the length


@pytest.mark.parametrize("mixer", ["gated", "across", "mlp"])
def test_it_breaks_what_it_declares_and_nothing_else(mixer):
    spec = ModelSpec("reference", {"hidden": 16, "frequencies": 9, "mixer": mixer})
    findings = contract.check(spec, Budget(hidden=1, blocks=1, context=256, parameters=1, tokens=1))
    assert all(finding.passed for finding in findings)
    assert {finding.check for finding in findings if finding.declared} == DISTURBED == Reference.breaks
    assert all(finding.difference > 1e-3 for finding in findings if finding.declared)


def test_stretched_over_the_context_it_breaks_nothing_and_is_what_was_published_at_that_length():
    spec = ModelSpec("reference", {"hidden": 16, "frequencies": 9, "stretched": "context"})
    findings = contract.check(spec, Budget(hidden=1, blocks=1, context=256, parameters=1, tokens=1))
    assert [finding.check for finding in findings if not finding.passed or finding.declared] == []
    published, mended = (Reference(50, 32, **KNOBS, stretched=over).eval() for over in ("input", "context"))
    mended.load_state_dict(published.state_dict())
    tokens = torch.randint(50, (2, 32))
    assert torch.equal(mended(tokens), published(tokens))


def test_a_step_is_the_last_position_of_the_whole_prefix_computed_anew():
    model = Reference(50, 32, **KNOBS).eval()
    tokens = torch.randint(50, (2, 20))
    with torch.no_grad():
        logits, state = model.advance(tokens[:, :9])
        torch.testing.assert_close(logits, model(tokens[:, :9]))
        for t in range(9, 20):
            logits, state = model.advance(tokens[:, t : t + 1], state)
            assert logits.shape == (2, 1, 50)
            torch.testing.assert_close(logits, model(tokens[:, : t + 1])[:, -1:])
    torch.testing.assert_close(state, model.embed(tokens))
    assert model.state_bytes(20) == state[0].numel() * state.element_size()


def test_dropout_is_off_in_evaluation():
    model = Reference(50, 32, hidden=12, dropout=0.5)
    tokens = torch.randint(50, (1, 20))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


def test_initial_embeddings():
    torch.manual_seed(0)
    model = Reference(1000, 200, hidden=48)
    for embedding in (model.token, model.position):
        assert embedding.weight.std().item() == pytest.approx(0.02, rel=0.03)


def test_the_learned_positions_end():
    model = Reference(50, 8, **KNOBS)
    message = "position 8 is beyond its context of 8, where its learned positions end; shorten the input or train with a larger context"
    with pytest.raises(ValueError, match=message):
        model(torch.zeros(1, 9, dtype=torch.long))
    _, state = model.advance(torch.zeros(1, 8, dtype=torch.long))
    with pytest.raises(ValueError, match=message):
        model.advance(torch.zeros(1, 1, dtype=torch.long), state)


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"mixer": "sequence"}, {"dropout": 1.0}, {"frequencies": 0}, {"heads": 2}])
def test_knobs_are_held_to_their_limits(wrong):
    schema = knob_schema(registry.MODELS["reference"])
    assert schema().model_dump()["frequencies"] == 64
    with pytest.raises(ValidationError):
        schema.model_validate(wrong)
