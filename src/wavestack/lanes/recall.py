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

import itertools
from math import log
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.lanes.lane import Lane, at_least

CHUNK = 64  # positions
TOGETHER = 32  # chunks that are worked on at a time on the CPU
GROUP = 16  # chunks that a GPU works through in turn, in all groups at once
SHORTEST = 1e-12  # addresses that are shorter have no direction


def recall(
    addresses: Tensor, v: Tensor, log_decay: Tensor, rate: Tensor, own: Tensor, late: Tensor, memory: Tensor, replace: bool
) -> tuple[Tensor, Tensor]:
    """What each position recalls of the values that were written before it, in chunks: matrix products, and two small ones a chunk in turn.

    With the key k_i that position i writes under and the query q_i, both of length 1, let g_i be the product of its chunk's decays up to i.
    What position i writes, u_i, is known from what the ones before it wrote and from the memory M that the chunk finds,

        u_i = b_i (v_i - g_i k_i . M - sum_{j<i} g_i/g_j <k_i, k_j> u_j),

    a triangular system with right-hand sides in v and in k, solved for all chunks at once: u = a - c M.

    Args:
        addresses: B x S x (1 or 2) x heads x R, of any length. One is the query, and the key of the position after it; two are key and
            query.
        v: B x S x heads x P.
        log_decay, rate: B x S x heads.
        own: heads, how much of its own value a position hears.
        late: B x (1 or 0) x heads x R, the first position's key, if keys come late; of length 1, or 0 for none.
        memory: B x heads x R x P, what the past left.
        replace: the delta rule, or else mere addition.

    Returns:
        B x S x heads x P, and the memory after the last position.
    """
    return _Recall.apply(addresses, v, log_decay, rate, own, late, memory, replace)


class _Recall(torch.autograd.Function):
    """`recall`, on the CPU some chunks at a time, which stay in the cache: M = n G matrices for n chunks of G sequences (a row and a head).

    Kept for backward: the arguments, what was written, and the memory that each chunk found. The rest is made again.
    """

    @staticmethod
    def forward(ctx, addresses, v, log_decay, rate, own, late, memory, replace):
        batch, length, _, heads, features = addresses.shape
        chunk = min(CHUNK, length)
        chunks, sequences = -(-length // chunk), batch * heads
        y = torch.empty_like(v, memory_format=torch.contiguous_format)
        written = v.new_empty(chunks, sequences, chunk, v.shape[-1])
        memories = v.new_empty(chunks + 1, sequences, features, v.shape[-1])
        memories[0] = memory.flatten(0, 1)
        for places, part in _parts(length, chunk, sequences, v.device.type):
            q, k, values = _read(addresses, late, v, part, chunk)[:3]
            decays = _chunked(log_decay[:, part, :, None], chunk), _chunked(rate[:, part, :, None], chunk)
            heard = _recall(q, k, values, *decays, memories[places.start : places.stop + 1], written[places], replace)
            heard = _in_order(heard, batch, heads)[:, : y[:, part].shape[1]]
            torch.addcmul(heard, v[:, part], own[:, None], out=y[:, part])
        ctx.save_for_backward(addresses, v, log_decay, rate, own, late, written, memories)
        ctx.replace = replace
        return y, memories[-1].unflatten(0, (batch, heads)).clone()

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy, d_memory):
        addresses, v, log_decay, rate, own, late, written, memories = ctx.saved_tensors
        batch, length, _, heads, _ = addresses.shape
        chunk = written.shape[2]
        d_addresses, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (addresses, v))
        d_log_decay, d_rate, d_own = torch.empty_like(log_decay), torch.empty_like(rate), torch.zeros_like(own)
        d_memory, d_late = d_memory.flatten(0, 1), torch.zeros_like(late)
        for places, part in reversed(_parts(length, chunk, batch * heads, v.device.type)):
            q, k, values, directions, lengths = _read(addresses, late, v, part, chunk)
            decays = _chunked(log_decay[:, part, :, None], chunk), _chunked(rate[:, part, :, None], chunk)
            heard = _chunked(dy[:, part], chunk)
            found = memories[places.start : places.stop + 1]
            *gradients, d_memory = _recall_backward(q, k, values, *decays, found, written[places], heard, d_memory, ctx.replace)
            size = directions.shape[1]
            dq, dk, d_values, d_decays, d_rates = (_in_order(gradient, batch, heads)[:, :size] for gradient in gradients)
            torch.addcmul(d_values, dy[:, part], own[:, None], out=dv[:, part])
            d_own += (dy[:, part] * v[:, part]).sum((0, 1, 3))
            d_log_decay[:, part], d_rate[:, part] = d_decays[..., 0], d_rates[..., 0]
            dk = torch.cat([dk, d_late], 1)
            d_late, dk = dk.split([late.shape[1], size], 1)  # the first key, if keys come late, is the address of the position before
            d = (dq + dk)[:, :, None] if late.shape[1] else torch.stack([dk, dq], 2)  # of the directions
            along = (d * directions).sum(-1, keepdim=True)
            torch.div(d.addcmul_(directions, along, value=-1), lengths, out=d_addresses[:, part])
        return d_addresses, dv, d_log_decay, d_rate, d_own, d_late, d_memory.unflatten(0, (batch, heads)), None


def _parts(length: int, chunk: int, sequences: int, device: str) -> list[tuple[slice, slice]]:
    """Places of chunks that are worked on together, and of their positions."""
    chunks = -(-length // chunk)
    together = max(1, TOGETHER // sequences) if device == "cpu" else chunks
    places = [slice(start, min(start + together, chunks)) for start in range(0, chunks, together)]
    return [(place, slice(place.start * chunk, min(place.stop * chunk, length))) for place in places]


def _read(addresses: Tensor, late: Tensor, v: Tensor, part: slice, chunk: int) -> tuple[Tensor, ...]:
    """Queries and keys (M x C x R) and values (M x C x P) of a part; its addresses' directions (B x s x (1 or 2) x heads x R), lengths."""
    lengths = torch.linalg.vector_norm(addresses[:, part], dim=-1, keepdim=True).clamp_min_(SHORTEST)
    directions = addresses[:, part] / lengths
    keys, queries = directions[:, :, 0], directions[:, :, -1]
    if late.shape[1]:
        if part.start:
            late = functional.normalize(addresses[:, part.start - 1 : part.start, 0], dim=-1, eps=SHORTEST)
        keys = torch.cat([late, keys[:, :-1]], 1)
    return _chunked(queries, chunk), _chunked(keys, chunk), _chunked(v[:, part], chunk), directions, lengths


def _chunked(x: Tensor, chunk: int) -> Tensor:
    """M x C x W, the sequences of a chunk side by side, from B x s x heads x W. Padded positions write nothing and forget nothing."""
    behind = -x.shape[1] % chunk
    x = functional.pad(x, (0, 0, 0, 0, 0, behind)) if behind else x  # which would copy it for nothing, too
    return x.unflatten(1, (-1, chunk)).permute(1, 0, 3, 2, 4).contiguous().flatten(0, 2)


def _in_order(x: Tensor, batch: int, heads: int) -> Tensor:
    """B x nC x heads x W from M x C x W."""
    return x.unflatten(0, (-1, batch, heads)).permute(1, 0, 3, 2, 4).flatten(1, 2)


def _recall(q: Tensor, k: Tensor, v: Tensor, log_decay: Tensor, rate: Tensor, memories: Tensor, written: Tensor, replace: bool) -> Tensor:
    """What the queries recall, M x C x P. Fills what is written (n x G x C x P), and the memories after each chunk behind the first one."""
    chunks, sequences, _, width = written.shape
    decay, g, to_end = _decays(log_decay)
    if replace:
        system = torch.bmm(k, k.mT).mul_(decay).mul_(rate)  # its diagonal and what is above it are not looked at
        solved = _solved(system, torch.cat([v * rate, rate * g * k], -1), upper=False)
        written.flatten(0, 1).copy_(solved[..., :width])
        finds = solved[..., width:].unflatten(0, (chunks, sequences))
    else:
        torch.mul(v, rate, out=written.flatten(0, 1))
    ends, g_end = (to_end * k).unflatten(0, (chunks, sequences)).mT, g[:, -1:].unflatten(0, (chunks, sequences))
    if _grouped(chunks, memories.device.type):
        kept = _kept(g_end, ends, finds) if replace else _kept(g_end, ends)
        memories[1:] = _carried(kept, ends @ written, memories[0])
        if replace:
            written -= finds @ memories[:-1]
    else:
        for chunk in range(chunks):
            if replace:
                written[chunk].baddbmm_(finds[chunk], memories[chunk], alpha=-1)
            torch.mul(memories[chunk], g_end[chunk], out=memories[chunk + 1])
            memories[chunk + 1].baddbmm_(ends[chunk], written[chunk])
    heard = torch.bmm(q, memories[:-1].flatten(0, 1)).mul_(g)
    return heard.baddbmm_(torch.bmm(q, k.mT).mul_(decay), written.flatten(0, 1))


def _recall_backward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor,
    rate: Tensor,
    memories: Tensor,
    written: Tensor,
    dy: Tensor,
    d_memory: Tensor,
    replace: bool,
) -> tuple[Tensor, ...]:
    """The gradients of q, k, v, log_decay and rate, and that of the memory before them. `d_x` is the gradient of x.

    From the last chunk to the first, since a write is worth what the memory after it is worth.
    """
    chunks, sequences, _, width = written.shape
    by_chunk = (chunks, sequences)
    decay, g, to_end = _decays(log_decay)
    products = torch.bmm(q, k.mT)
    d_written = torch.bmm((products * decay).mT, dy)  # what its own chunk hears of it
    ends = to_end * k
    if replace:
        alike = torch.bmm(k, k.mT).mul_(decay)
        solved = _solved((alike * rate).mT, torch.cat([d_written, ends], -1), upper=True)
        d_written, ends = solved[..., :width].contiguous(), solved[..., width:]
        finds = (rate * g * k).unflatten(0, by_chunk).mT
    d_written, ends, reads, heard = (x.unflatten(0, by_chunk) for x in (d_written, ends, g * q, dy))
    g_end, d_memories = g[:, -1:].unflatten(0, by_chunk), torch.empty_like(memories)
    d_memories[-1] = d_memory
    if _grouped(chunks, memories.device.type):
        kept, added = _kept(g_end, finds, ends) if replace else _kept(g_end, ends.mT), reads.mT @ heard
        if replace:
            added -= finds @ d_written
        d_memories[:-1] = _carried(kept.flip(0), added.flip(0), d_memory).flip(0)
        d_written = d_written + ends @ d_memories[1:]
    else:
        for chunk in reversed(range(chunks)):
            d_written[chunk].baddbmm_(ends[chunk], d_memories[chunk + 1])  # of the system's right-hand side, now
            torch.mul(d_memories[chunk + 1], g_end[chunk], out=d_memories[chunk])
            d_memories[chunk].baddbmm_(reads[chunk].mT, heard[chunk])
            if replace:
                d_memories[chunk].baddbmm_(finds[chunk], d_written[chunk], alpha=-1)

    before, d_after = memories[:-1].flatten(0, 1), d_memories[1:].flatten(0, 1)
    written, d_written = written.flatten(0, 1), d_written.flatten(0, 1)
    d_read = torch.bmm(dy, before.mT).mul_(g)  # of q in reads, M x C x R
    d_kept = torch.bmm(written, d_after.mT).mul_(to_end)  # of k in ends
    at_end = (k * d_kept).sum(-1)
    d_log_g = (q * d_read).sum(-1) - at_end
    d_log_g[:, -1] += at_end.sum(-1) + g[:, -1, 0] * (before * d_after).sum((-2, -1))
    d_products = torch.bmm(dy, written.mT).mul_(decay)  # of <q_i, k_j>
    ratios = products.mul_(d_products)  # of log(g_i / g_j)
    dq, dk = d_read.baddbmm_(d_products, k), d_kept.baddbmm_(d_products.mT, q)
    d_rate = (d_written * v).sum(-1, keepdim=True)
    if replace:
        d_system = torch.bmm(d_written, written.mT).tril_(-1).neg_()
        d_found = torch.bmm(d_written, before.mT).mul_(-g)  # of rate * k in finds
        found = (k * d_found).sum(-1, keepdim=True)
        d_rate += (d_system * alike).sum(-1, keepdim=True) + found
        d_log_g += (rate * found)[..., 0]
        d_system *= rate
        ratios.addcmul_(d_system, alike)
        d_system *= decay  # of <k_i, k_j>
        dk.baddbmm_(d_system + d_system.mT, k).addcmul_(d_found, rate)
    d_log_g += ratios.sum(-1) - ratios.sum(-2)
    d_log_decay = d_log_g.flip(-1).cumsum(-1).flip(-1)[..., None]
    return dq, dk, d_written.mul_(rate), d_log_decay, d_rate, d_memories[0]


def _grouped(chunks: int, device: str) -> bool:
    """Whether groups of chunks are worked through side by side: where launching the products of one chunk takes longer than they do."""
    return device != "cpu" and chunks > GROUP


def _kept(g_end: Tensor, written: Tensor, found: Tensor | None = None) -> Tensor:
    """What each chunk keeps of the memory before it, as a matrix (n x G x R x R): the decayed rest, without what it replaces."""
    kept = g_end * torch.eye(written.shape[-2], device=written.device, dtype=written.dtype)
    return kept if found is None else kept - written @ found


def _carried(kept: Tensor, added: Tensor, first: Tensor) -> Tensor:
    """The memories (n x G x R x P) after each of n chunks, M_{i+1} = kept_i M_i + added_i, M_0 = `first`.

    One chunk after another, but in all groups of `GROUP` chunks at once, since two such steps in a row are one of the same form: about
    GROUP + n / GROUP products in turn instead of n, and twice the arithmetic.
    """
    chunks, features = len(kept), kept.shape[-1]
    behind = -chunks % GROUP
    steps = functional.pad(torch.cat([kept, added], -1), (0, 0) * 3 + (0, behind)).unflatten(0, (-1, GROUP)).transpose(0, 1).contiguous()
    rest = added.new_zeros(steps.shape[1:])
    for earlier, step in itertools.pairwise(steps):  # n/GROUP x G x R x (R+P) each; becomes what leads from the groups' starts to there
        rest[..., features:] = step[..., features:]
        torch.add(step[..., :features] @ earlier, rest, out=step)
    starts = added.new_empty(steps.shape[1], *first.shape)
    memory = first
    for group, step in enumerate(steps[-1]):
        starts[group] = memory
        memory = step[..., :features] @ memory + step[..., features:]
    memories = steps[..., :features] @ starts + steps[..., features:]  # GROUP x n/GROUP x G x R x P
    return memories.transpose(0, 1).flatten(0, 1)[:chunks]


def _solved(system: Tensor, right: Tensor, upper: bool) -> Tensor:
    """The solution of triangular systems whose diagonal is 1, turned on its side, as LAPACK wants it: it goes by columns, these by rows."""
    return torch.linalg.solve_triangular(system.mT, right.mT, upper=not upper, left=False, unitriangular=True).mT


def _decays(log_decay: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """g_i / g_j for j <= i, or else 0 (M x C x C); g_i, and g_C / g_i (M x C x 1); from M x C x 1."""
    # summed in float64, since one strong decay would leave the differences of the others no digits
    log_g = log_decay.double().cumsum(1)  # M x C x 1
    decay = (log_g - log_g.mT).to(log_decay.dtype)
    later = torch.ones(decay.shape[-2:], dtype=torch.bool, device=decay.device).triu(1)
    decay = decay.masked_fill_(later, float("-inf")).exp_()
    return decay, log_g.exp().to(log_decay.dtype), (log_g[:, -1:] - log_g).exp().to(log_decay.dtype)


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
                memory = v.new_zeros(len(v), self.heads, self.features, v.shape[-1])
                state = RecallState(v.new_zeros(len(v), self.late, self.heads, self.features), memory)
            y, memory = recall(addresses, v, log_decay, rate, self.own, state.late, state.memory, self.replace)
            last = addresses[:, addresses.shape[1] - self.late :, 0]
            late = functional.normalize(last, dim=-1, eps=SHORTEST)
        return y.flatten(2).to(x.dtype), RecallState(late, memory)

    def state_bytes(self, positions: int) -> int:
        return 4 * self.features * (self.late * self.heads + self.hidden)

    def flops(self, length: int) -> int:
        chunk, features, width = min(CHUNK, length), self.features * self.heads, self.hidden
        products = 2 * chunk * (features + width) + 2 * 2 * self.features * width  # what a chunk hears of itself; written, read
        if self.replace:  # likeness, the triangular system, and what the memory takes from the writes
            products += 2 * chunk * features + chunk * (features + width) + 2 * self.features * width
        return length * products
