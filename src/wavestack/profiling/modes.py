"""What is timed: one call of a model in each mode, and what is made ready for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavestack.device import autocast
from wavestack.models.language_model import LanguageModel
from wavestack.schema import DECODED, Mode, Training
from wavestack.training.optimizer import adamw


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Call:
    run: Callable[[], Any]  # what is timed
    tokens: int  # of a sequence that it handles
    ready: Callable[[], Any] = _nothing  # what is done before it, and not timed
    held: Callable[[], Any] = _nothing  # tensors that are there before it, beside the model's own and the tokens
    state: Any = None  # behind which it decodes


def make(mode: Mode, model: LanguageModel, tokens: Tensor, precision: str, compile: bool) -> Call:
    """The call of a mode on tokens, B x (S + 1); the last of each row is only a target."""
    return MAKERS[mode](model, tokens, precision, compile)


def _training(model: LanguageModel, tokens: Tensor, precision: str, compile: bool) -> Call:
    device = tokens.device.type
    training = Training(batch=len(tokens))
    optimizer = adamw(model, training)
    forward = torch.compile(model) if compile else model

    def step() -> None:
        with autocast(device, precision):
            logits = forward(tokens[:, :-1])
        functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return Call(step, tokens.shape[1] - 1, held=optimizer.state_dict)


def _whole(model: LanguageModel, read: Callable[[Tensor], Any], tokens: Tensor, precision: str, compile: bool) -> Call:
    """Whole sequences read without gradients."""
    model.eval()
    read = torch.compile(read) if compile else read

    @torch.inference_mode()
    def call() -> None:
        with autocast(tokens.device.type, precision):
            read(tokens[:, :-1])

    return Call(call, tokens.shape[1] - 1)


def _forward(model: LanguageModel, tokens: Tensor, precision: str, compile: bool) -> Call:
    return _whole(model, model, tokens, precision, compile)


def _prefill(model: LanguageModel, tokens: Tensor, precision: str, compile: bool) -> Call:
    return _whole(model, model.prefill, tokens, precision, compile)


def _decode(model: LanguageModel, tokens: Tensor, precision: str, compile: bool) -> Call:
    """Each call starts from the same past, and its first token is not timed: a KV cache that two continuations share is copied then."""
    model.eval()
    with torch.inference_mode(), autocast(tokens.device.type, precision):
        logits, past = model.prefill(tokens[:, :-1])
    first = logits.argmax(-1)  # B x 1
    at = (first, past)  # where the timed tokens start

    @torch.inference_mode()
    def ready() -> None:
        nonlocal at
        with autocast(tokens.device.type, precision):
            at = _step(model, first, past)

    @torch.inference_mode()
    def call() -> None:
        with autocast(tokens.device.type, precision):
            _steps(model, *at, DECODED)

    return Call(call, DECODED, ready, lambda: (past, at), past)


def _generation(model: LanguageModel, tokens: Tensor, precision: str, compile: bool) -> Call:
    model.eval()

    @torch.inference_mode()
    def call() -> None:
        with autocast(tokens.device.type, precision):
            _steps(model, tokens[:, :1], None, tokens.shape[1] - 1)

    return Call(call, tokens.shape[1] - 1)


MAKERS: dict[Mode, Callable[[LanguageModel, Tensor, str, bool], Call]] = {
    "training": _training,
    "forward": _forward,
    "prefill": _prefill,
    "decode": _decode,
    "generation": _generation,
}


def _step(model: LanguageModel, token: Tensor, state: Any) -> tuple[Tensor, Any]:
    """The likeliest next token (B x 1), and the state after `token`."""
    logits, state = model.advance(token, state)
    return logits.argmax(-1), state


def _steps(model: LanguageModel, token: Tensor, state: Any, count: int) -> None:
    for _ in range(count):
        token, state = _step(model, token, state)


def tensors_of(nest: Any) -> Iterator[Tensor]:
    """Those in tuples, lists and dicts, however deep: a state's, an optimiser's."""
    if isinstance(nest, Tensor):
        yield nest
    elif isinstance(nest, dict | list | tuple):
        for part in nest.values() if isinstance(nest, dict) else nest:
            yield from tensors_of(part)


def bytes_of(nest: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors_of(nest))


def dropout_of(model: nn.Module) -> float:
    """The largest rate of its dropout layers."""
    return max((layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)), default=0.0)
