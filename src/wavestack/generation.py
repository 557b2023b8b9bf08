"""Text from a model, token by token: the prompt is read in chunks, then every token costs one step of the state."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from wavestack.models.language_model import LanguageModel

PREFILL = 1024  # positions of the prompt a chunk, so that a long one needs no more memory


def generate(
    model: LanguageModel,
    prompt: Sequence[int],
    tokens: int,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    end: int | None = None,
) -> Iterator[int]:
    """Sample up to `tokens` tokens after a prompt, each as soon as it is drawn.

    Args:
        model: in evaluation mode.
        prompt: at least one token; documents start with end-of-text.
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_p: draw among the likeliest tokens that together have this probability (Holtzman et al. 2019, arXiv:1904.09751).
        seed: of the draws; the same seed gives the same text.
        end: stop before this token.

    Raises:
        ValueError: at once, for an argument out of its range; in the middle of the text, at position T of a model whose mathematics ends
            there, and where the model's logits are not finite.
    """
    if not prompt:
        raise ValueError("the prompt holds no token; start with at least one, such as end-of-text")
    if tokens < 1:
        raise ValueError(f"{tokens} tokens were asked for; ask for at least 1")
    if not temperature >= 0:
        raise ValueError(f"a temperature of {temperature} is none; ask for 0 (the likeliest token) or more")
    if not 0 < top_p <= 1:
        raise ValueError(f"a top_p of {top_p} is no share of probability; ask for more than 0 and at most 1")
    return _generated(model, prompt, tokens, temperature, top_p, seed, end)


@torch.no_grad()
def _generated(
    model: LanguageModel, prompt: Sequence[int], tokens: int, temperature: float, top_p: float, seed: int, end: int | None
) -> Iterator[int]:
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that a seed gives the same draws on every device
    state = None
    for chunk in torch.tensor([list(prompt)], device=device).split(PREFILL, 1):
        logits, state = model.prefill(chunk, state)
    for place in range(tokens):
        token = int(_draw(logits[0, -1].double().cpu(), temperature, top_p, generator))
        if token == end:
            return
        yield token
        if place + 1 < tokens:
            logits, state = model.advance(torch.tensor([[token]], device=device), state)


def _draw(logits: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> Tensor:
    """One token from logits (V), in float64."""
    if not logits.isfinite().all():
        raise ValueError("the model's logits are not finite, so no token can be drawn; its training diverged")
    if temperature == 0:
        return logits.argmax()
    scaled = (logits - logits.max()) / temperature  # of 0 and below, so that no temperature is too small
    probabilities, order = torch.softmax(scaled, -1).sort(descending=True, stable=True)
    before = probabilities.cumsum(-1) - probabilities  # the first token always stays
    kept = torch.where(before < top_p, probabilities, 0.0)
    return order[torch.multinomial(kept, 1, generator=generator)[0]]
