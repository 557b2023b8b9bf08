"""What one call allocates and computes, as PyTorch's own profiler and counter see it: a second witness for memory and for FLOPs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode, bmm_flop, sdpa_flop_count

ATTENTION = "aten::_scaled_dot_product_"  # before the name of a backend


@dataclass(frozen=True)
class Account:
    allocated: int  # bytes at the peak of the call, above what was there before it
    flops: int
    attention: tuple[str, ...]  # backends that were used


def account(call: Callable[[], Any], ready: Callable[[], Any]) -> Account:
    """One call is profiled, and another one counted."""
    ready()
    allocated, attention = _profiled(call)
    ready()
    with FlopCounterMode(display=False, custom_mapping=COUNTED) as counter:
        call()
    return Account(allocated, counter.get_total_flops(), attention)


def _profiled(call: Callable[[], Any]) -> tuple[int, tuple[str, ...]]:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    memory = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    now = peak = 0
    for event in memory:
        now += event["args"]["Bytes"]
        peak = max(peak, now)
    backends = {event["name"].removeprefix(ATTENTION) for event in events if event["name"].startswith(ATTENTION)}
    return peak, tuple(sorted(name for name in backends if not name.endswith("_backward")))


def _attention(query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: torch.Size, query: torch.Size, key: torch.Size, value: torch.Size, *_: Any, **__: Any) -> int:
    """Of the five products of the backward pass; the forward one has two."""
    return sdpa_flop_count(query, key, value) * 5 // 2


def _added_products(_: torch.Size, a: torch.Size, b: torch.Size, **__: Any) -> int:
    return bmm_flop(a, b)


# what the counter does not know of: the CPU's fused attention, and products that are added in place
COUNTED = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    torch.ops.aten.baddbmm_: _added_products,
}
