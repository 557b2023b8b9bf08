"""Damped oscillators driven by the sequence: a diagonal state-space model (S4D, Gu et al. 2022, arXiv:2206.11893)."""

from math import log, log2, pi
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from wavestack.lanes.filtering import causal_filter
from wavestack.lanes.lane import Lane, at_least

CHUNK = 64  # positions; a position costs CHUNK + 4R per channel
TOGETHER = 1024  # positions that are worked on at a time on the CPU, so that what lies between stays in the cache


def times(a: Tensor, b: Tensor) -> Tensor:
    """The product of complex numbers, whose real and imaginary parts stand side by side in dimension -3."""
    (p, q), (r, s) = a.unbind(-3), b.unbind(-3)
    return torch.stack([p * r - q * s, p * s + q * r], -3)


class Oscillator(Lane):
    """R modes that all channels share, driven by each channel and read out by weights of its own,

        h_t = lambda h_{t-1} + x_t,    y_t = Re(sum_r c_r gamma_r h_t[r]),    lambda_r = 2^(-1/p_r) exp(2 pi i n_r / p_r).

    A mode's half-life p_r and its turns in one half-life n_r are learned; p_r is a power of 2 with a learned exponent, hence positive, and
    |lambda_r| below 1 whatever is learned. They start with half-lives spread evenly (in logarithms) from 4 to T/2 and one turn in each, so
    that every octave is heard as precisely as the next. gamma_r = sqrt(1 - |lambda_r|^2) makes modes equally loud under noise (Orvieto et
    al. 2023, arXiv:2303.06349). The modes go on for ever.

    Unrolled, y is x under a causal filter whose taps are sums of powers of lambda: a convolution inside a chunk, a state between chunks.
    """

    def __init__(self, hidden: int, context: int, *, modes: Annotated[int, Field(ge=1)] = 16):
        at_least(1, "oscillator", modes=modes)
        super().__init__(hidden, context)
        self.modes = modes
        self.half_life_exponents = nn.Parameter(torch.linspace(2, max(2.0, log2(context / 2)), modes))  # R
        self.turns = nn.Parameter(torch.ones(modes))  # R
        self.weights = nn.Parameter(torch.randn(2, modes, hidden) / modes**0.5)  # c, 2 x R x H: real, then imaginary parts

    def powers(self, most: int) -> Tensor:
        """lambda^0 .. lambda^most, 2 x (most + 1) x R."""
        passed = torch.arange(most + 1, device=self.turns.device)[:, None] * torch.exp2(-self.half_life_exponents.float())  # half-lives
        angle = 2 * pi * self.turns.float() * passed
        return torch.exp2(-passed) * torch.stack([torch.cos(angle), torch.sin(angle)])

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state holds h of the last position, B x 2 x R x H in float32."""
        batch, length, hidden = x.shape
        with torch.autocast(x.device.type, enabled=False):
            powers = self.powers(min(CHUNK, length))
            loudness = torch.sqrt(-torch.expm1(-2 * log(2) * torch.exp2(-self.half_life_exponents.float())))  # gamma
            weights = self.weights.float() * loudness[:, None]
            if state is None:
                state = x.new_zeros(batch, 2, self.modes, hidden, dtype=torch.float32)
            pieces = []
            whole = length - length % CHUNK
            together = TOGETHER if x.device.type == "cpu" else max(CHUNK, whole)
            for part in (*x[:, :whole].split(together, 1), x[:, whole:]):  # whole chunks, then the rest as a chunk of its own
                if part.shape[1]:
                    y, state = oscillate(part.float().unflatten(1, (-1, min(CHUNK, part.shape[1]))), powers, weights, state)
                    pieces.append(y)
        return torch.cat(pieces, 1).to(x.dtype), state

    def state_bytes(self, positions: int) -> int:
        return 4 * 2 * self.modes * self.hidden

    def flops(self, length: int) -> int:
        chunk = min(CHUNK, length)
        return 2 * length * (chunk + 4 * self.modes) * self.hidden + 2 * chunk * 2 * self.modes * self.hidden


def oscillate(x: Tensor, powers: Tensor, weights: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What chunks of inputs drive the modes to.

    Args:
        x: B x N x C x H, float32.
        powers: of lambda from 0 to C at least, 2 x (C + 1) x R.
        weights: c gamma, 2 x R x H.
        state: B x 2 x R x H, the modes before.

    Returns:
        B x NC x H, and the modes after.
    """
    batch, chunks, chunk, _ = x.shape
    powers = powers[:, : chunk + 1]
    real_part = powers * torch.tensor([1.0, -1.0], device=x.device)[:, None, None]  # Re(p h) = Re p Re h - Im p Im h
    real_part = real_part.transpose(0, 1).flatten(1)  # (C+1) x 2R
    # 1. Inside a chunk: a causal convolution with Re(c lambda^k), k = 0 .. C-1
    y, _ = causal_filter(x.flatten(0, 1), real_part[:-1] @ weights.flatten(0, 1), None)  # BN x C x H
    # 2. What each chunk adds to the modes by its end: sum_i lambda^(C-1-i) x_i
    brought = powers[:, :-1].flip(1).transpose(1, 2).flatten(0, 1) @ x  # B x N x 2R x H
    # 3. The modes at each border
    found, step = [], powers[:, -1, :, None]  # 2 x R x 1
    for new in brought.unflatten(2, (2, -1)).unbind(1):
        found.append(state)
        state = times(step, state) + new
    # 4. Their part in the outputs: Re(lambda^(i+1) c h), i = 0 .. C-1
    heard = times(weights, torch.stack(found, 1))  # B x N x 2 x R x H
    y = y.unflatten(0, (batch, chunks)) + real_part[1:] @ heard.flatten(2, 3)
    return y.flatten(1, 2), state
