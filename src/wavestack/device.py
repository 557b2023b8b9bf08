"""The device that parameters ask for, and the precision on it."""

import contextlib

import torch


def available(device: str) -> str:
    """The device, where this machine has it; ValueError otherwise."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("the parameters ask for device cuda, and this machine has no CUDA device; ask for cpu or run where there is one")
    return device


def round_products(device: str, precision: str) -> None:
    """On a GPU, let products of float32 numbers round them to TF32 (10 bits) where `precision` is bfloat16 (7 bits), and never in float32.

    PyTorch lets convolutions do so by default. It holds for the whole process, backward passes included.
    """
    if device == "cuda":
        rounded = precision == "bfloat16"
        torch.backends.cuda.matmul.allow_tf32 = rounded
        torch.backends.cudnn.allow_tf32 = rounded


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager:
    """Matrix products in bfloat16 where `precision` says so; weights and sums stay in float32."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
