"""Text token by token is the text that full passes over everything so far would give, at the cost of one step of the state each."""

from collections import Counter

import pytest
import torch

from wavestack import contract, registry
from wavestack.generation import _draw, generate
from wavestack.models.wavestack import WaveStack
from wavestack.params import ModelSpec
from wavestack.schema import Budget
from wavestack.training.checkpoint import Architecture

VOCABULARY = 31
ENDLESS = {
    "wavelet": {"wavelet": "haar", "levels": 2},
    "convolution": {"width": 3},
    "recall": {"features": 4},
    "oscillator": {"modes": 3},
    "attention": {"head_width": 4, "window": 5},
}


def built(spec: ModelSpec, budget: Budget, seed: int = 0):
    model = Architecture(spec, budget, VOCABULARY).build().eval()
    contract.randomise(model, seed)
    return model


def of_lanes(lanes, context: int, mixer: str = "gated") -> WaveStack:
    model = WaveStack(VOCABULARY, 16, 2, context, 8, lanes=lanes, mixer=mixer, convolution=3, lane_width=0.5).eval()
    contract.randomise(model, 0)
    return model


@pytest.fixture
def model(wavestack, budget):
    return built(wavestack, budget)


@pytest.fixture
def advances(model, monkeypatch):
    """The lengths of the chunks that the model was asked to advance by."""
    honest, lengths = model.advance_hidden, []

    def counted(x, state=None):
        lengths.append(x.shape[1])
        return honest(x, state)

    monkeypatch.setattr(model, "advance_hidden", counted)
    return lengths


def by_full_passes(model, prompt, tokens):
    text = list(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


# --- what is drawn -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wavestack", "transformer"])
def test_greedy_text_is_the_argmax_of_full_passes(kind, request, budget):
    model = built(request.getfixturevalue(kind), budget, seed=5)
    expected = by_full_passes(model, [3, 1, 4], 25)
    assert list(generate(model, [3, 1, 4], 25, temperature=0)) == expected
    assert len(set(expected)) > 3  # not one token for ever, which any fault would give as well


def test_a_prompt_of_several_chunks_is_read_as_one(model, advances, monkeypatch):
    prompt = [n % VOCABULARY for n in range(20)]
    whole = list(generate(model, prompt, 5, seed=1))
    monkeypatch.setattr("wavestack.generation.PREFILL", 7)
    assert list(generate(model, prompt, 5, seed=1)) == whole
    assert advances == [20, 1, 1, 1, 1, 7, 7, 6, 1, 1, 1, 1]


def test_a_seed_gives_the_same_text_whatever_else_was_drawn(model):
    torch.manual_seed(1)
    one = list(generate(model, [0], 30, seed=5))
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert list(generate(model, [0], 30, seed=5)) == one
    assert torch.equal(torch.get_rng_state(), state)  # and takes nothing from the process's own
    assert list(generate(model, [0], 30, seed=6)) != one


def kept_naively(logits, temperature, top_p):
    """The probabilities after both knobs, one token at a time."""
    weights = [torch.exp(logit / temperature).item() for logit in logits]
    probabilities = [weight / sum(weights) for weight in weights]
    kept, mass = {}, 0.0
    for token in sorted(range(len(logits)), key=lambda token: -probabilities[token]):
        if mass >= top_p:
            break
        kept[token] = probabilities[token]
        mass += probabilities[token]
    return {token: probability / mass for token, probability in kept.items()}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("top_p", [0.2, 0.7, 0.95, 1.0])
def test_tokens_are_drawn_as_often_as_they_should_be(temperature, top_p):
    logits = torch.tensor([0.3, 2.0, -1.0, 1.1, 0.9, -3.0], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    draws = 3000
    counts = Counter(int(_draw(logits, temperature, top_p, generator)) for _ in range(draws))
    expected = kept_naively(logits, temperature, top_p)
    assert set(counts) <= set(expected)
    for token, probability in expected.items():
        sigma = (probability * (1 - probability) / draws) ** 0.5
        assert counts[token] / draws == pytest.approx(probability, abs=4 * sigma + 1e-9)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64).log()
    generator = torch.Generator().manual_seed(0)

    def drawn(top_p):
        return {int(_draw(logits, 1.0, top_p, generator)) for _ in range(300)}

    assert drawn(1e-12) == {0}  # the likeliest always stays
    assert drawn(0.49) == {0}
    assert drawn(0.51) == {0, 1}
    assert drawn(0.74) == {0, 1}
    assert drawn(0.76) == {0, 1, 2}  # of two that are equally likely the first
    assert drawn(1.0) == {0, 1, 2, 3}


@pytest.mark.parametrize("temperature", [1e-6, 1e-40, 5e-324])
def test_temperatures_near_zero_take_the_likeliest(model, temperature):
    likeliest = list(generate(model, [7], 10, temperature=0))
    assert list(generate(model, [7], 10, temperature=temperature)) == likeliest


# --- how it comes ------------------------------------------------------------------------------------------------------------------


def test_each_token_comes_before_the_next_step_is_computed(model, advances):
    drawn = generate(model, [1, 2, 3], 4)
    assert advances == []
    for steps in range(4):
        next(drawn)
        assert advances == [3] + [1] * steps
    assert list(drawn) == []
    assert advances == [3, 1, 1, 1]  # what follows the last token is not computed


def test_it_stops_before_the_end(model):
    text = list(generate(model, [1], 30, seed=3))
    end = text[12]
    first = text.index(end)
    assert list(generate(model, [1], 30, seed=3, end=end)) == text[:first]
    assert list(generate(model, [1], 30, seed=3, end=VOCABULARY)) == text


def test_no_gradients_are_kept_and_none_are_switched_off_for_the_caller(model, advances):
    drawn = generate(model, [1], 3)
    next(drawn)
    assert torch.is_grad_enabled()  # between two tokens, too
    _, state = model.advance(torch.tensor([[1]]))
    assert any(tensor.requires_grad for tensor in tensors_of(state))
    assert next(drawn) in range(VOCABULARY)


# --- state and context -------------------------------------------------------------------------------------------------------------


def tensors_of(state):
    if isinstance(state, torch.Tensor):
        return [state]
    if isinstance(state, dict):
        state = state.values()
    return [tensor for part in state for tensor in tensors_of(part)] if hasattr(state, "__iter__") else []


def bytes_after(model, tokens: int) -> int:
    """Of the state once a text has so many positions; a view counts as what it holds on to."""
    state, sizes = None, {}
    with torch.no_grad():
        for position in range(tokens):
            state = model.advance(torch.tensor([[position % VOCABULARY]]), state)[1]
    for tensor in tensors_of(state):
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(sizes.values())


KNOBS = {"attention": {"head_width": 4, "window": 5}, "legendre": {}, "fourier": {"frequencies": 3}}
CONSTANT = [[name] for name in registry.LANES] + [["fourier", "recall", "wavelet"]]


@pytest.mark.parametrize("lanes", CONSTANT, ids="+".join)
def test_the_state_of_every_lane_with_constant_state_is_as_large_after_100_tokens_as_after_10(lanes):
    model = of_lanes({name: KNOBS.get(name, {}) for name in lanes}, 128)
    after = bytes_after(model, 10)
    assert bytes_after(model, 100) == after == model.state_bytes(10) == model.state_bytes(100)


def test_the_state_of_attention_grows(transformer, budget):
    model = built(transformer, budget.model_copy(update={"context": 128}))
    assert bytes_after(model, 100) == 10 * bytes_after(model, 10) > 0


@pytest.mark.parametrize("lane", ["chebyshev", "fourier", "hadamard", "random", "learned"])
def test_a_fixed_basis_ends_at_the_context_and_gives_every_token_before(lane):
    model = of_lanes({lane: KNOBS.get(lane, {}), "recall": {"features": 4}}, 16)
    drawn, text = generate(model, [1, 2, 3], 40, seed=1), []
    with pytest.raises(ValueError, match=r"position 16 is beyond its context of 16; shorten the input"):
        text.extend(drawn)  # keeps what came before the error
    assert len(text) == 16 - 3 + 1  # the last one is what follows position 15
    assert text == list(generate(model, [1, 2, 3], 14, seed=1))


def test_a_prompt_beyond_the_context_of_a_fixed_basis_is_told():
    model = of_lanes({"fourier": KNOBS["fourier"]}, 16)
    with pytest.raises(ValueError, match=r"position 19 is beyond its context of 16"):
        next(generate(model, [0] * 20, 1))


def test_attention_ends_at_the_context_too(transformer, budget):
    model = built(transformer, budget.model_copy(update={"context": 16}))
    drawn = generate(model, [1, 2, 3], 40)
    assert [next(drawn) for _ in range(14)]
    with pytest.raises(ValueError, match=r"position 16 is beyond its context of 16"):
        next(drawn)


@pytest.mark.parametrize("lane", ENDLESS)
def test_lanes_that_know_no_end_go_on_beyond_the_context(lane):
    """Where T is no part of their mathematics, as one with a context that the text never reaches."""
    short, long = (of_lanes({lane: ENDLESS[lane]}, context) for context in (16, 64))
    long.load_state_dict(short.state_dict())
    text = list(generate(short, [1, 2, 3], 50, seed=2))
    assert len(text) == 50
    assert text == list(generate(long, [1, 2, 3], 50, seed=2))


def test_all_of_them_together_go_on_beyond_the_context():
    lanes = ENDLESS | {"legendre": {}}
    short = of_lanes(lanes, 32)
    text = list(generate(short, [1, 2, 3], 80, temperature=0))
    assert text == by_full_passes(short, [1, 2, 3], 80)
    assert bytes_after(short, 20) == bytes_after(short, 70) == short.state_bytes(70)


# --- arguments ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": []}, "the prompt holds no token"),
        ({"tokens": 0}, "0 tokens were asked for"),
        ({"temperature": -0.1}, r"a temperature of -0\.1 is none"),
        ({"temperature": float("nan")}, "a temperature of nan is none"),
        ({"top_p": 0.0}, r"a top_p of 0\.0 is no share"),
        ({"top_p": 1.5}, r"a top_p of 1\.5 is no share"),
        ({"top_p": float("nan")}, "a top_p of nan is no share"),
    ],
)
def test_arguments_out_of_range_are_told_at_once(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(model, **({"prompt": [1], "tokens": 3} | arguments))  # before the first token is asked for


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_whose_training_diverged_is_told(model, temperature):
    model.norm.weight.data[0] = float("nan")
    with pytest.raises(ValueError, match="logits are not finite"):
        next(generate(model, [1], 3, temperature=temperature))
