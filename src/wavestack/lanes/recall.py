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

from collections.abc import Iterator
from math import log
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.lane import Lane, at_least

CHUNK = 64  # positions
TOGETHER = 64  # chunks that are worked on at a time on the CPU


def recall(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, rate: Tensor, memory: Tensor, replace: bool) -> tuple[Tensor, Tensor]:
    """What the queries recall of the values that were written under keys, in chunks: matrix products, and two small ones a chunk in turn.

    Inside a chunk let g_i be the product of its decays up to i. What position i writes, u_i, is known from what the ones before it
    wrote and from the memory M that the chunk finds,

        u_i = b_i (v_i - g_i k_i . M - sum_{j<i} g_i/g_j <k_i, k_j> u_j),

    a triangular system with right-hand sides in v and in k, solved for all chunks at once: u = a - c M.

    Args:
        q, k: B x heads x S x R; k of length 1, or 0.
        v: B x heads x S x P.
        log_decay, rate: B x heads x S.
        memory: B x heads x R x P, what the past left.
        replace: the delta rule, or else mere addition.

    Returns:
        B x heads x S x P, and the memory after the last position.
    """
    batch, _, length, _ = q.shape
    chunk = min(CHUNK, length)
    behind = -length % chunk
    if behind:  # padded positions write nothing and forget nothing
        q, k, v = (functional.pad(tensor, (0, 0, 0, behind)) for tensor in (q, k, v))
        log_decay, rate = (functional.pad(tensor, (0, behind)) for tensor in (log_decay, rate))
    arguments = (tensor.flatten(0, 1).unflatten(1, (-1, chunk)) for tensor in (q, k, v, log_decay, rate[..., None]))
    y, memory = _Recall.apply(*arguments, memory.flatten(0, 1), replace)
    return y.flatten(1, 2)[:, :length].unflatten(0, (batch, -1)), memory.unflatten(0, (batch, -1))


class _Recall(torch.autograd.Function):
    """`recall` over whole chunks: N chunks of C positions, and G sequences, one for each row and head.

    On the CPU some chunks at a time, so that their C x C matrices stay in the cache. Kept for backward: the arguments, what was written,
    and the memory that each chunk found.
    """

    @staticmethod
    def forward(ctx, q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, rate: Tensor, memory: Tensor, replace: bool):
        """q, k: G x N x C x R; v: G x N x C x P; log_decay: G x N x C; rate: G x N x C x 1; memory: G x R x P."""
        y, written = torch.empty_like(v), torch.empty_like(v)
        before = v.new_empty(*v.shape[:2], *memory.shape[1:])  # G x N x R x P
        for part in _parts(q, k, v, log_decay, rate, y, written, before):
            memory = _recall(part[:5], memory, replace, part[5:])
        ctx.save_for_backward(q, k, v, log_decay, rate, written, before)
        ctx.replace = replace
        return y, memory

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy: Tensor, d_memory: Tensor):
        saved = ctx.saved_tensors
        gradients = [torch.empty_like(argument) for argument in saved[:5]]
        for part in reversed(list(_parts(*saved, dy, *gradients))):
            d_memory = _recall_backward(part[:8], d_memory, ctx.replace, part[8:])
        return *gradients, d_memory, None


def _parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of tensors of G x N x ..., of so many chunks that there are about `TOGETHER` of them."""
    sequences, chunks = tensors[0].shape[:2]
    together = max(1, TOGETHER // sequences) if tensors[0].device.type == "cpu" else chunks
    return zip(*(tensor.split(together, 1) for tensor in tensors), strict=True)


def _recall(arguments: tuple[Tensor, ...], memory: Tensor, replace: bool, results: tuple[Tensor, ...]) -> Tensor:
    """Fill what the queries recall, what is written, and the memory before each chunk; give the memory after them."""
    (q, k, v, log_decay, rate), (y, written, before) = arguments, results
    decay, g, to_end = _decays(log_decay, q.dtype)
    ends = (to_end * k).mT
    if replace:
        finds = rate * g * k
        system = (k @ k.mT).mul_(decay).mul_(rate)  # its diagonal and what is above it are not looked at
        solved = torch.linalg.solve_triangular(system, torch.cat([v * rate, finds], -1), upper=False, unitriangular=True)
        finds = solved[..., v.shape[-1] :]
        written.copy_(solved[..., : v.shape[-1]])
    else:
        torch.mul(v, rate, out=written)
    g_end = g[..., -1:, :]
    for chunk in range(v.shape[1]):
        before[:, chunk] = memory
        if replace:
            written[:, chunk].baddbmm_(finds[:, chunk], memory, alpha=-1)
        memory = torch.baddbmm(g_end[:, chunk] * memory, ends[:, chunk], written[:, chunk])
    torch.matmul((q @ k.mT).mul_(decay), written, out=y)
    y += (g * q) @ before
    return memory


def _recall_backward(saved: tuple[Tensor, ...], d_memory: Tensor, replace: bool, gradients: tuple[Tensor, ...]) -> Tensor:
    """Fill the gradients of q, k, v, log_decay and rate, and give that of the memory before them. `d_x` is the gradient of x.

    From the last chunk to the first, since a write is worth what the memory after it is worth.
    """
    q, k, v, log_decay, rate, written, before, dy = saved
    decay, g, to_end = _decays(log_decay, q.dtype)
    products = q @ k.mT
    reads, ends = (g * q).mT, to_end * k
    d_written = (products * decay).mT @ dy  # what its own chunk hears of it
    if replace:
        alike = (k @ k.mT).mul_(decay)
        finds = (rate * g * k).mT
        solved = torch.linalg.solve_triangular((alike * rate).mT, torch.cat([d_written, ends], -1), upper=True, unitriangular=True)
        d_written, ends = solved.split([v.shape[-1], k.shape[-1]], -1)
    g_end, d_after = g[..., -1:, :], torch.empty_like(before)
    for chunk in reversed(range(v.shape[1])):
        d_after[:, chunk] = d_memory  # of the memory after each chunk
        d_written[:, chunk].baddbmm_(ends[:, chunk], d_memory)  # of the system's right-hand side, now
        d_memory = torch.baddbmm(g_end[:, chunk] * d_memory, reads[:, chunk], dy[:, chunk])
        if replace:
            d_memory.baddbmm_(finds[:, chunk], d_written[:, chunk], alpha=-1)

    d_read, d_kept = (dy @ before.mT).mul_(g), (written @ d_after.mT).mul_(to_end)  # of q in reads and of k in ends, G x N x C x R
    d_products = (dy @ written.mT).mul_(decay)  # of <q_i, k_j>
    ratios = products.mul_(d_products)  # of log(g_i / g_j)
    dq, dk, dv, d_log_decay, d_rate = gradients
    torch.add(d_products @ k, d_read, out=dq)
    torch.add(d_products.mT @ q, d_kept, out=dk)
    torch.mul(d_written, rate, out=dv)
    at_end = (k * d_kept).sum(-1)
    d_log_g = (q * d_read).sum(-1) - at_end
    d_log_g[..., -1] += at_end.sum(-1) + g_end[..., 0, 0] * (before * d_after).sum((-2, -1))
    torch.sum(d_written * v, -1, keepdim=True, out=d_rate)
    if replace:
        d_system = (d_written @ written.mT).tril_(-1).neg_()
        d_found = (d_written @ before.mT).mul_(-g)  # of rate * k in finds
        found = (k * d_found).sum(-1, keepdim=True)
        d_rate += (d_system * alike).sum(-1, keepdim=True) + found
        d_log_g += (rate * found)[..., 0]
        d_system *= rate
        ratios.addcmul_(d_system, alike)
        d_system *= decay  # of <k_i, k_j>
        dk += (d_system + d_system.mT) @ k
        dk.addcmul_(d_found, rate)
    d_log_g += ratios.sum(-1) - ratios.sum(-2)
    d_log_decay.copy_(d_log_g.flip(-1).cumsum(-1).flip(-1))
    return d_memory


def _decays(log_decay: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """g_i / g_j for j <= i, or else 0 (G x N x C x C); g_i, and g_C / g_i (G x N x C x 1)."""
    # summed in float64, since one strong decay would leave the differences of the others no digits
    log_g = log_decay.double().cumsum(-1)  # G x N x C
    decay = (log_g[..., :, None] - log_g[..., None, :]).to(dtype)
    later = torch.ones(decay.shape[-2:], dtype=torch.bool, device=decay.device).triu(1)
    decay = decay.masked_fill_(later, float("-inf")).exp_()
    return decay, log_g.exp().to(dtype)[..., None], (log_g[..., -1:] - log_g).exp().to(dtype)[..., None]


class RecallState(NamedTuple):
    late: Tensor  # B x heads x (0 or 1) x R, the key of the last position, where keys come late
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
            parts = [self.heads * self.features] * self.addresses + [self.hidden, self.heads, self.heads]
            *addresses, v, decay, rate = x.float().split(parts, -1)
            *addresses, v = (
                tensor.unflatten(-1, (self.heads, -1)).transpose(1, 2) for tensor in (*addresses, v)
            )  # B x heads x S x (R or P)
            key, query = (functional.normalize(addresses[place], dim=-1) for place in (0, -1))
            log_decay = -functional.softplus(decay * self.decay_scale + self.decay_start * self.decay_bias).mT  # B x heads x S
            rate = torch.sigmoid(rate * self.rate_scale + self.rate_bias).mT
            if state is None:
                memory = v.new_zeros(len(v), self.heads, self.features, v.shape[-1])
                state = RecallState(key.new_zeros(key[:, :, : self.late].shape), memory)
            keys = torch.cat([state.late, key], 2)
            y, memory = recall(query, keys[:, :, : key.shape[2]], v, log_decay, rate, state.memory, self.replace)
            y = y + self.own[:, None, None] * v
        return y.transpose(1, 2).flatten(2).to(x.dtype), RecallState(keys[:, :, key.shape[2] :], memory)

    def state_bytes(self, positions: int) -> int:
        return 4 * self.features * (self.late * self.heads + self.hidden)

    def flops(self, length: int) -> int:
        chunk, features, width = min(CHUNK, length), self.features * self.heads, self.hidden
        products = 2 * chunk * (features + width) + 2 * 2 * self.features * width  # what a chunk hears of itself; written, read
        if self.replace:  # likeness, the triangular system, and what the memory takes from the writes
            products += 2 * chunk * features + chunk * (features + width) + 2 * self.features * width
        return length * products
