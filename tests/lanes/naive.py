"""The specification of each lane, in a few lines and no hurry: in float64, position by position. Used by the tests only."""

import pywt
import torch
from torch import Tensor
from torch.nn import functional


def prefix_kernel_average(x: Tensor, basis: Tensor, gains: Tensor) -> Tensor:
    """y_t = 1/(t+1) sum_{s<=t} <g * phi_t, phi_s> x_s through the S x S lower-triangular matrix."""
    length = x.shape[1]
    phi = basis[:length]
    kernel = torch.tril((phi * gains) @ phi.T) / torch.arange(1, length + 1)[:, None]
    return kernel @ x


def causal_filter(x: Tensor, taps: Tensor, distance: int = 1) -> Tensor:
    """y_t = sum_k taps[k] x_{t - k distance} with zeros before the start; taps are n, or n x H for a filter a channel."""
    y = torch.zeros_like(x)
    for k, tap in enumerate(taps):
        y = y + tap * functional.pad(x, (0, 0, k * distance, 0))[:, : x.shape[1]]
    return y


def wavelet(x: Tensor, name: str, weights: Tensor) -> Tensor:
    """Level by level: a_{j+1} = lo * a_j and d_{j+1} = hi * a_j with 2^j positions between taps; sum_j w_j d_j + w_{J+1} a_J."""
    low, high = (torch.tensor(taps, dtype=x.dtype) / 2**0.5 for taps in pywt.Wavelet(name).filter_bank[:2])
    y, approximation = torch.zeros_like(x), x
    for level, weight in enumerate(weights[:-1]):
        y = y + weight * causal_filter(approximation, high, 2**level)
        approximation = causal_filter(approximation, low, 2**level)
    return y + weights[-1] * approximation


def recall(q: Tensor, k: Tensor, v: Tensor, decay: Tensor, rate: Tensor, replace: bool) -> Tensor:
    """M_t = d_t M_{t-1} + k_t (b_t (v_t - d_t k_t . M_{t-1}))^T, y_t = q_t . M_t; without k_t . M_{t-1} where nothing is replaced.

    q, k: B x heads x S x R; v: B x heads x S x P; decay, rate: B x heads x S.
    """
    memory = v.new_zeros(*v.shape[:2], q.shape[-1], v.shape[-1])
    steps = []
    for t in range(q.shape[2]):
        memory = decay[:, :, t, None, None] * memory
        known = torch.einsum("bhr,bhrp->bhp", k[:, :, t], memory) if replace else 0
        memory = memory + torch.einsum("bhr,bhp->bhrp", k[:, :, t], rate[:, :, t, None] * (v[:, :, t] - known))
        steps.append(torch.einsum("bhr,bhrp->bhp", q[:, :, t], memory))
    return torch.stack(steps, 2)


def attention(q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
    """softmax(<q_t, k_s> / sqrt(width)) v_s over s <= t, or over the last `window` of them. All are B x heads x S x width."""
    t = torch.arange(q.shape[2])
    behind = t[:, None] - t
    seen = (behind >= 0) & (behind < (window or len(t)))
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~seen, float("-inf"))
    return scores.softmax(-1) @ v


def rotary(x: Tensor) -> Tensor:
    """Each pair of channels (i, i + width/2) as a complex number, turned by t / 10000^(2i / width)."""
    length, width = x.shape[-2:]
    turns = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    turned = torch.complex(*x.chunk(2, -1)) * torch.exp(1j * turns)
    return torch.cat([turned.real, turned.imag], -1)


def legendre_coefficients(x: Tensor, order: int) -> Tensor:
    """c(n) for n = 1 .. S, B x S x R x H: the paper's dc/dn = (-A c + B x) / n, solved from n to n+1 while x holds its value.

    With M = (n / (n+1))^A this is c(n+1) = M c(n) + (1 - M) A^-1 B x_n, for n = 0 with M = 0.
    """
    r = torch.arange(order, dtype=torch.float64)
    b = torch.sqrt(2 * r + 1)
    a = torch.tril(torch.outer(b, b), -1) + torch.diag(r + 1)
    rest = torch.linalg.solve(a, b)
    c, steps = x.new_zeros(len(x), order, x.shape[2]), []
    for n in range(x.shape[1]):
        m = torch.matrix_exp(a * torch.log(torch.tensor(n / (n + 1), dtype=torch.float64))) if n else torch.zeros_like(a)
        c = m @ c + (rest - m @ rest)[:, None] * x[:, n, None]
        steps.append(c)
    return torch.stack(steps, 1)


def oscillator(x: Tensor, modes: Tensor, weights: Tensor) -> Tensor:
    """h_t = lambda h_{t-1} + x_t, y_t = Re(sum_r c_r h_t[r]): modes are R complex numbers, weights R x H."""
    h, steps = torch.zeros(len(x), *weights.shape, dtype=weights.dtype), []
    for t in range(x.shape[1]):
        h = modes[:, None] * h + x[:, t, None]
        steps.append((weights * h).sum(1).real)
    return torch.stack(steps, 1)
