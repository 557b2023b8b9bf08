"""The process that one model is measured in: it makes a call ready, and times one, or looks at its memory, whenever it is told to.

Run as `python -m wavestack.profiling.process REQUEST`, with the request as JSON. Each line of its input is a word, each line of its output
the answer as JSON: `call` (seconds of a call), `peak` (memory), `account` (memory and FLOPs as PyTorch sees them). The first answer comes
unasked, when it is ready: what is known of a call without making it. What fails is an answer, too, with a status and its reason, and the
last one. Whatever else is printed, by a lane of a user's own or by a library, goes to where errors go.

Times and memory are of two processes. One that is timed keeps what it frees, as a training does; what it once kept has holes, whose pages
would be counted when a tensor comes to lie in one, though no tensor has need of them: up to three times what a forward pass takes.
"""

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavestack.allocation import give_back, keep_freed_memory
from wavestack.device import round_products
from wavestack.models.language_model import LanguageModel
from wavestack.profiling.accounting import account
from wavestack.profiling.heap import Heap, free_at_once
from wavestack.profiling.modes import Call, bytes_of, dropout_of, make
from wavestack.provenance import peak_memory
from wavestack.schema import Mode, Training
from wavestack.training.checkpoint import Architecture
from wavestack.training.optimizer import adamw

WARM_UP = 2  # calls: allocations, the optimiser's state, kernels that are chosen or compiled
FEW = 16  # tokens
SHORT = 0.5  # seconds: a call that takes less is made once more, untimed, before the timed one
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc")

Words: TypeAlias = Mapping[str, Callable[[], dict[str, Any]]]  # what each is answered with


@dataclass(frozen=True)
class Request:
    """What to measure: calls of one model in one mode at one length."""

    architecture: dict[str, Any]
    mode: Mode
    length: int
    batch: int
    threads: int
    device: str
    precision: str = "float32"
    compile: bool = False
    purpose: Literal["time", "memory"] = "time"
    memory: int | None = None  # bytes that the process may take on the CPU

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def serve(request: Request, answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer to what stands in the input until it ends."""
    if request.purpose == "time":
        keep_freed_memory()
    else:
        free_at_once()
    torch.set_num_threads(request.threads)
    torch.manual_seed(0)
    round_products(request.device, request.precision)
    if request.memory is not None:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]  # which only root may raise
        memory = request.memory if hard == resource.RLIM_INFINITY else min(request.memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, hard))
    architecture = Architecture.from_json(request.architecture)
    model = architecture.build().to(request.device)
    tokens = torch.randint(architecture.vocabulary, (request.batch, request.length + 1), device=request.device)
    _load_libraries(model, tokens)
    loaded = _restart_peak(request.device)
    call = make(request.mode, model, tokens, request.precision, request.compile)
    if request.purpose == "time":
        words = _times(call, request.device)
    else:
        # the trace of a generation, of thousands of tokens one by one, would take gigabytes: what attends is seen on a short one
        traced = call if request.mode != "generation" else make(request.mode, model, tokens[:, :FEW], request.precision, compile=False)
        words = _memory(call, traced, request, loaded)
    answer({"status": "ok", **_facts(request, model, call)})
    for word in map(str.strip, sys.stdin):
        assert word in words, word
        answer(words[word]())


def _times(call: Call, device: str) -> Words:
    """Warmed up, so that it waits for its turn.

    Memory is kept during a call, as in a training, and given back after it, since the models that take turns need theirs; before the next
    one it is there again. What a short call would pay for finding caches as another model left them, an untimed one pays before it.
    """
    heap = Heap()
    for _ in range(WARM_UP):
        call.ready()
        took = _seconds(call.run, device)
    heap.leave()  # the next model warms up

    def timed() -> dict[str, Any]:
        nonlocal took
        heap.enter()
        if took < SHORT:
            call.ready()
            call.run()
        call.ready()
        took = _seconds(call.run, device)
        heap.leave()
        return {"seconds": took}

    return {"call": timed}


def _memory(call: Call, traced: Call, request: Request, loaded: int) -> Words:
    """After a call that made what later ones find, an optimiser's state say. The peak is what is taken above the loaded model."""
    call.ready()
    call.run()
    return {
        "peak": lambda: {"peak_bytes": _peak_of(call, request.device) - loaded},
        "account": lambda: _account(request, traced),
    }


def _facts(request: Request, model: LanguageModel, call: Call) -> dict[str, Any]:
    """Of the model and of a call, without making it."""
    total, non_embedding = model.parameter_counts()
    found: dict[str, Any] = {"parameters": total, "non_embedding_parameters": non_embedding, "dropout": dropout_of(model)}
    found["call_tokens"] = request.batch * call.tokens
    if call.state is not None:
        found["state_bytes"] = bytes_of(call.state) // request.batch
    passes = {"training": 3, "forward": 1, "prefill": 1}  # a backward pass has two products for each one of the forward pass
    if request.mode in passes and not (request.mode == "prefill" and type(model).prefill is not LanguageModel.prefill):
        with suppress(NotImplementedError):  # a lane of somebody's own need not say
            of_a_sequence = model.flops(request.length)
            if request.mode == "prefill":  # all tokens but the last get no logits
                architecture = Architecture.from_json(request.architecture)
                width = architecture.spec.knobs.get("hidden", architecture.budget.hidden)
                of_a_sequence -= 2 * architecture.vocabulary * width * (request.length - 1)
            found["flops"] = passes[request.mode] * request.batch * of_a_sequence
    return found


def _account(request: Request, call: Call) -> dict[str, Any]:
    """What PyTorch itself sees of a call: a second witness."""
    held = bytes_of(call.held())
    seen = account(call.run, call.ready)
    if request.mode == "generation":  # a short one, of which neither FLOPs nor tensors say anything of the long one
        return {"attention": seen.attention}
    found: dict[str, Any] = {"counted_flops": seen.flops, "attention": seen.attention}
    if request.device == "cpu":  # elsewhere the peak is the allocator's own
        found["accounted_bytes"] = held + seen.allocated
    return found


def _seconds(run: Callable[[], Any], device: str) -> float:
    if device == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _load_libraries(model: LanguageModel, tokens: Tensor) -> None:
    """A short pass there and back, and an optimiser's step on other weights.

    Kernels, threads and their buffers come with the first one, and so do tens of megabytes of Python that a first step imports; they are no
    model's.
    """
    logits = model(tokens[:1, :FEW])
    functional.cross_entropy(logits.float().flatten(0, 1), tokens[0, : logits.shape[1]]).backward()
    model.zero_grad(set_to_none=True)
    other = nn.Linear(1, 1, device=tokens.device)
    other(torch.ones(1, device=tokens.device)).backward()
    nn.utils.clip_grad_norm_(other.parameters(), 1.0)
    adamw(other, Training(batch=1)).step()


def _peak_of(call: Call, device: str) -> int:
    """The most memory that was taken while it ran once more."""
    call.ready()
    _restart_peak(device)
    call.run()
    return _peak(device)


def _restart_peak(device: str) -> int:
    """Forget the high-water mark and give the memory that is taken now."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if sys.platform == "linux":
        gc.collect()
        give_back()  # or what is free would be taken again unseen
        Path("/proc/self/clear_refs").write_text("5")  # 5: reset VmHWM (proc_pid_clear_refs(5))
    return _peak(device)


def _peak(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform == "linux":
        # without pages of files, of libraries that is, which the system takes from those that wait, and gives back, as it likes
        lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
        found = {line[0]: int(line[1]) * 1024 for line in lines if line[0] in ("VmHWM:", "RssFile:")}
        return found["VmHWM:"] - found["RssFile:"]
    return peak_memory()


def failure(error: Exception) -> dict[str, str]:
    """The status of a measurement that an error ended, with the reason."""
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or lacks_memory(str(error)):
        return {"status": "out_of_memory", "reason": reason}
    return {"status": "refused" if isinstance(error, ValueError) else "failed", "reason": reason}


def lacks_memory(said: str) -> bool:
    """Whether what a process or an allocator said tells of memory that there is not."""
    return any(sign in said for sign in OUT_OF_MEMORY)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)  # a line each
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")

    try:
        serve(Request(**json.loads(sys.argv[1])), answer)
    except Exception as error:  # whatever it is, the sweep goes on
        answer(failure(error))


if __name__ == "__main__":
    main()
