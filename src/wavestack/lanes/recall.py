"""Recall: a matrix that keys write to and queries read from, the lane that remembers what stood where.

For queries q_t and keys k_t (R features, of length 1), values v_t, a decay d_t and a rate b_t between 0 and 1, each head has

    M_t = d_t M_{t-1} + k_t (b_t (v_t - d_t k_t . M_{t-1}))^T        replace: what k_t recalled makes room for v_t
    M_t = d_t M_{t-1} + k_t (b_t v_t)^T                              add: linear attention
    y_t = q_t . M_t

The first is the gated delta rule (Yang et al. 2024, arXiv:2412.06464), the second linear attention with decay (Katharopoulos et al. 2020,
arXiv:2006.16236) without its normaliser: the block norms what a lane says, and is steadier without it (Qin et al. 2022, arXiv:2210.10340).
"""

from math import log
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.lane import Lane, at_least

CHUNK = 64  # positions


def recall(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, rate: Tensor, memory: Tensor, replace: bool) -> tuple[Tensor, Tensor]:
    """What the queries recall, in chunks: matrix products inside a chunk, one product a chunk to carry the memory on.

    Inside a chunk let g_i be the product of its decays up to i. What position i writes, u_i, is known from what the ones before it
    wrote and from the memory M that the chunk finds,

        u_i = b_i (v_i - g_i k_i . M - sum_{j<i} g_i/g_j <k_i, k_j> u_j),

    a triangular system with right-hand sides in v and in k: u = a - c M. So the memory after the chunk is linear in M.

    Args:
        q, k: B x 1 x S x R, shared by the heads; k of length 1.
        v: B x heads x S x P.
        log_decay, rate: B x heads x S.
        memory: B x heads x R x P, what the past left.
        replace: the delta rule, or else mere addition.

    Returns:
        B x heads x S x P, and the memory after the last position.
    """
    length = q.shape[2]
    chunk = min(CHUNK, length)
    padding = -length % chunk
    if padding:  # padded positions write nothing and forget nothing
        q, k, v = (functional.pad(tensor, (0, 0, 0, padding)) for tensor in (q, k, v))
        log_decay, rate = (functional.pad(tensor, (0, padding)) for tensor in (log_decay, rate))
    q, k, v, rate = (tensor.unflatten(2, (-1, chunk)) for tensor in (q, k, v, rate))  # B x heads x N x C (x R or P)
    # in float64, since one strong decay would leave the differences of the others no digits
    log_g = log_decay.double().unflatten(2, (-1, chunk)).cumsum(-1)  # B x heads x N x C
    later = torch.ones(chunk, chunk, dtype=torch.bool, device=q.device).triu(1)
    decay = (log_g[..., :, None] - log_g[..., None, :]).to(v.dtype).masked_fill(later, float("-inf")).exp()  # g_i / g_j for j <= i
    g, to_end = log_g.exp().to(v.dtype), (log_g[..., -1:] - log_g).exp().to(v.dtype)  # B x heads x N x C
    written = v * rate[..., None]  # a
    carry = g[..., -1, None, None] * torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)  # B x heads x N x R x R
    ends = to_end[..., None] * k  # B x heads x N x C x R
    if replace:
        found = k * (rate * g)[..., None]  # what M takes from a write, before the ones in between
        system = ((k @ k.mT) * decay * rate[..., None]).tril(-1)
        solved = torch.linalg.solve_triangular(system, torch.cat([written, found], -1), upper=False, unitriangular=True)
        written, found = solved.split([v.shape[-1], k.shape[-1]], -1)
        carry = carry - ends.mT @ found
    brought = ends.mT @ written  # B x heads x N x R x P
    memories = []
    for now, new in zip(carry.unbind(2), brought.unbind(2), strict=True):
        memories.append(memory)
        memory = now @ memory + new
    before = torch.stack(memories, 2)  # B x heads x N x R x P
    if replace:
        written = written - found @ before
    y = (q @ k.mT * decay) @ written + (q * g[..., None]) @ before
    return y.flatten(2, 3)[:, :, :length], memory


class Recall(Lane):
    """A memory of R x P a head, its heads with decays of their own; it reads queries, keys, values, and a decay and a rate for each head.

    The decays start with half-lives spread evenly (in logarithms) from 8 to 512 positions.
    """

    decay_start: Tensor

    def __init__(
        self,
        hidden: int,
        context: int,
        *,
        features: Annotated[int, Field(ge=1)] = 32,
        heads: Annotated[int, Field(ge=1)] = 2,
        rule: Literal["replace", "add"] = "replace",
    ):
        at_least(1, "recall", features=features, heads=heads)
        if hidden % heads:
            raise ValueError(f"recall: {heads} heads do not divide a width of {hidden}; change one of them")
        super().__init__(hidden, context, 2 * features + hidden + 2 * heads)
        self.features, self.heads, self.replace = features, heads, rule == "replace"
        half_lives = torch.logspace(3, 9, heads, base=2) if heads > 1 else torch.tensor([64.0])
        start = torch.expm1(log(2) / half_lives).log()  # softplus gives ln 2 / half-life
        self.register_buffer("decay_start", start, persistent=False)
        self.decay_bias = nn.Parameter(torch.ones(heads))  # a share of the start, so that any value near 1 remembers for a while
        self.decay_scale = nn.Parameter(torch.ones(heads))
        self.rate_bias = nn.Parameter(torch.zeros(heads))
        self.rate_scale = nn.Parameter(torch.ones(heads))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state is the memory, B x heads x R x P in float32."""
        with torch.autocast(x.device.type, enabled=False):
            q, k, v, decay, rate = x.float().split([self.features, self.features, self.hidden, self.heads, self.heads], -1)
            q, k = (functional.normalize(tensor, dim=-1)[:, None] for tensor in (q, k))  # B x 1 x S x R
            v = v.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # B x heads x S x P
            log_decay = -functional.softplus(decay * self.decay_scale + self.decay_start * self.decay_bias).mT  # B x heads x S
            rate = torch.sigmoid(rate * self.rate_scale + self.rate_bias).mT
            if state is None:
                state = v.new_zeros(len(v), self.heads, self.features, v.shape[-1])
            y, state = recall(q, k, v, log_decay, rate, state, self.replace)
        return y.transpose(1, 2).flatten(2).to(x.dtype), state

    def state_bytes(self, positions: int) -> int:
        return 4 * self.features * self.hidden

    def flops(self, length: int) -> int:
        chunk, features, width = min(CHUNK, length), self.features, self.hidden
        products = 2 * chunk * (2 * features + width) + 3 * 2 * features * width  # scores, what a chunk recalls; brought, carried, read
        if self.replace:  # the triangular system, and what the memory takes from the writes
            products += chunk * (width + self.heads * features) + 2 * features * (self.heads * features + width)
        return length * products
