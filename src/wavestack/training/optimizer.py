"""AdamW, what it decays, and the learning rate at every step."""

from math import cos, pi

import torch
from torch import nn

from wavestack.schema import Training


def adamw(model: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only (embeddings, norms, gains and filters are left as they are), or on everything."""
    parameters = list(model.parameters())
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    layers = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)} - embeddings
    decayed = {id(parameter) for parameter in parameters} if training.decay == "all" else layers
    groups = [
        {"params": [p for p in parameters if id(p) in decayed], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if id(p) not in decayed], "weight_decay": 0.0},
    ]
    # A WaveStack has many small parameters, whose dozen operations each take the CPU 5% of a small model's step. Fused, they go through
    # memory as it lies, which would pair a transposed parameter with the wrong moments once these come from a checkpoint.
    fused = all(parameter.device.type == "cpu" and parameter.is_contiguous() for parameter in parameters)
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=training.betas, fused=fused)


def learning_rate(step: int, steps: int, training: Training) -> float:
    """Linear warm-up, then a cosine down to the final share. `step` counts from 0 to `steps` - 1."""
    warmup = max(1, round(training.warmup * steps))
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    share = training.final_learning_rate + (1 - training.final_learning_rate) * (1 + cos(pi * min(1.0, progress))) / 2
    return training.learning_rate * share
