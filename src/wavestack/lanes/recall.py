"""Recall: a matrix where each position writes what it carries under the address of the position before, the lane that knows what came next.

For addresses a_t (R features, of length 1), values v_t, a decay d_t and a rate b_t between 0 and 1, each head has

    M_t = d_t M_{t-1} + a_{t-1} (b_t (v_t - d_t a_{t-1} . M_{t-1}))^T    replace: what the address recalled makes room for v_t
    M_t = d_t M_{t-1} + a_{t-1} (b_t v_t)^T                              add
    y_t = a_t . M_t + s v_t

So a position hears what followed the positions that were like it. It also hears itself, under a learned s: where nothing was like it, the
norm that follows would otherwise make noise as loud as an answer.

With keys and queries of their own (`queries: own`), both of position t, instead of the two addresses the first is the gated delta rule
(Yang et al. 2024, arXiv:2412.06464), the second linear attention with decay (Katharopoulos et al. 2020, arXiv:2006.16236) without its
normaliser: the block norms what a lane says, and is steadier without it (Qin et al. 2022, arXiv:2210.10340). That keys come one position
late is the shift of H3 (Fu et al. 2022, arXiv:2212.14052). Two layers of attention must learn to find each other before they do the same,
as an induction head (Olsson et al. 2022, arXiv:2209.11895).
"""

from math import log
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.associative_memory import CHUNK, SHORTEST, recall
from wavestack.lanes.lane import Lane, at_least


class RecallState(NamedTuple):
    late: Tensor  # B x (0 or 1) x heads x R, the key of the last position, where keys come late
    memory: Tensor  # B x heads x R x P; both float32


class Recall(Lane):
    """A memory of R x P a head; it reads an address (or a key and a query) for each head, values, and a decay and a rate for each head.

    The decays start with half-lives spread evenly (in logarithms) from 64 to 1,024 positions, that of a single head with 256.
    """

    decay_start: Tensor

    def __init__(
        self,
        hidden: int,
        context: int,
        *,
        features: Annotated[int, Field(ge=1)] = 64,
        heads: Annotated[int, Field(ge=1)] = 1,
        rule: Literal["replace", "add"] = "replace",
        queries: Literal["shared", "own"] = "shared",
    ):
        at_least(1, "recall", features=features, heads=heads)
        if hidden % heads:
            raise ValueError(f"recall: {heads} heads do not divide a width of {hidden}; change one of them")
        addresses = 1 if queries == "shared" else 2
        super().__init__(hidden, context, addresses * heads * features + hidden + 2 * heads)
        self.addresses = addresses
        self.late = 2 - addresses  # positions that keys come late
        self.features, self.heads, self.replace = features, heads, rule == "replace"
        half_lives = torch.logspace(6, 10, heads, base=2) if heads > 1 else torch.tensor([256.0])
        start = torch.expm1(log(2) / half_lives).log()  # softplus gives ln 2 / half-life
        self.register_buffer("decay_start", start, persistent=False)
        self.decay_bias = nn.Parameter(torch.ones(heads))  # a share of the start, so that any value near 1 remembers for a while
        self.decay_scale = nn.Parameter(torch.ones(heads))
        self.rate_bias = nn.Parameter(torch.zeros(heads))
        self.rate_scale = nn.Parameter(torch.ones(heads))
        self.own = nn.Parameter(torch.full((heads,), 0.5))  # s

    def forward(self, x: Tensor, state: RecallState | None = None) -> tuple[Tensor, RecallState]:
        with torch.autocast(x.device.type, enabled=False):
            parts = [self.addresses * self.heads * self.features, self.hidden, self.heads, self.heads]
            addresses, v, decay, rate = x.float().split(parts, -1)
            addresses = addresses.unflatten(-1, (self.addresses, self.heads, -1))  # B x S x (1 or 2) x heads x R
            v = v.unflatten(-1, (self.heads, -1))  # B x S x heads x P
            log_decay = -functional.softplus(decay * self.decay_scale + self.decay_start * self.decay_bias)  # B x S x heads
            rate = torch.sigmoid(rate * self.rate_scale + self.rate_bias)
            if state is None:
                memory = v.new_zeros(1).expand(len(v), self.heads, self.features, v.shape[-1])  # which takes no room until backward
                state = RecallState(v.new_zeros(len(v), self.late, self.heads, self.features), memory)
            y, memory = recall(addresses, v, log_decay, rate, self.own, state.late, state.memory, self.replace)
            last = addresses[:, addresses.shape[1] - self.late :, 0]
            late = functional.normalize(last, dim=-1, eps=SHORTEST)
        return y.flatten(2).to(x.dtype), RecallState(late, memory)

    def state_bytes(self, positions: int) -> int:
        return 4 * self.features * (self.late * self.heads + self.hidden)

    def flops(self, length: int) -> int:
        chunk, features, width = min(CHUNK, length), self.features * self.heads, self.hidden
        of_pairs = 2 * chunk * features  # what queries and keys of a chunk have in common
        products = of_pairs + 2 * chunk * width + 2 * 2 * features * width  # and what it hears of itself; written, read
        if self.replace:  # the triangular system, and what the writes find in the memory
            products += chunk * width + 2 * features * width
            products += of_pairs if self.addresses == 2 else 0  # what keys have in common with keys
        return length * products
