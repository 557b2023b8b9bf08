"""A memory of what was written under which key, over a whole sequence: linear attention with decay, or the gated delta rule, in chunks.

The chunks' form follows Yang et al. (2024, arXiv:2406.06484 and arXiv:2412.06464). What is added here: keys that are the query of the
position before, their gradients, and groups of chunks side by side.
"""

import itertools
from math import log
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 64  # positions
TOGETHER = 32  # chunks of a sequence each that are worked on at a time on the CPU
ABREAST = 4  # sequences, at least, whose chunks they are, where there are as many
FEW = 8  # chunks: of shorter parts the first memory that is found is not kept, since it is an argument; a longer part's would be copied
GROUP = 16  # chunks that a GPU works through in turn, in all groups at once
SHORTEST = 1e-12  # addresses that are shorter have no direction


def recall(
    addresses: Tensor, v: Tensor, log_decay: Tensor, rate: Tensor, own: Tensor, late: Tensor, memory: Tensor, replace: bool
) -> tuple[Tensor, Tensor]:
    """What each position recalls of the values that were written up to it, in chunks: matrix products, and a few small ones in turn.

    With the key k_i that position i writes under and the query q_i, both of length 1, let g_i be the product of its chunk's decays up to i.
    What position i writes, u_i, is known from what the ones before it wrote and from the memory M that the chunk finds,

        u_i = b_i (v_i - g_i k_i . M - sum_{j<i} g_i/g_j <k_i, k_j> u_j),

    a triangular system of each chunk, solved as soon as its memory is known. Where groups of chunks are worked through side by side it is
    solved before, with right-hand sides in v and in k: u = a - c M.

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
    """`recall`, on the CPU some chunks at a time, which stay in the cache: nG matrices, of n chunks of G sequences (a row and a head).

    The keys of a chunk are the first C of its N rows, and its queries the last C. With two addresses N is 2C. With one it is C + 1: what a
    position asks with, the next one writes under, and one product has what all keys and queries have in common.

    Kept for backward: the arguments, what was written, and the memory that each chunk found, but for the first of a short part, which is
    an argument. The rest is made again.
    """

    @staticmethod
    def forward(ctx, addresses, v, log_decay, rate, own, late, memory, replace):
        batch, length, _, heads, _ = addresses.shape
        chunk = min(CHUNK, length)
        y = torch.empty_like(v, memory_format=torch.contiguous_format)
        after = torch.empty_like(memory, memory_format=torch.contiguous_format)
        kept = []
        for rows, parts in _together(batch, length, heads, chunk, v.device.type):
            found = memory[rows].flatten(0, 1)
            for part in parts:
                addressed, values = _rows(_directions(addresses[rows], late[rows], part)[0], chunk), _chunked(v[rows, part], chunk)
                decays = _chunked(log_decay[rows, part, :, None], chunk), _chunked(rate[rows, part, :, None], chunk)
                chunks = _Chunks.of(addressed, *decays, replace)
                written = values.new_empty(len(values) // len(found), len(found), *values.shape[1:])
                memories = found.new_empty(len(written), *found.shape)
                memories[0] = found
                said = y[rows, part]
                heard, found = _recall(chunks, values, memories, written)
                torch.addcmul(_in_order(heard, len(said), heads)[:, : said.shape[1]], v[rows, part], own[:, None], out=said)
                kept += [written, memories[1:].clone() if part.start == 0 and len(memories) <= FEW else memories]
            after[rows] = found.unflatten(0, (-1, heads))
        ctx.save_for_backward(addresses, v, log_decay, rate, own, late, memory, *kept)
        ctx.replace = replace
        return y, after

    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)  # whoever calls backward inside of it
    def backward(ctx, dy, d_after):
        addresses, v, log_decay, rate, own, late, memory, *kept = ctx.saved_tensors
        batch, length, _, heads, _ = addresses.shape
        chunk = min(CHUNK, length)
        d_addresses, dv = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (addresses, v))
        d_log_decay, d_rate, d_own = torch.empty_like(log_decay), torch.empty_like(rate), torch.zeros_like(own)
        d_memory, d_late = torch.empty_like(d_after, memory_format=torch.contiguous_format), torch.zeros_like(late)
        for rows, parts in reversed(_together(batch, length, heads, chunk, v.device.type)):
            d_found, d_key = d_after[rows].flatten(0, 1), d_late[rows]
            for part in reversed(parts):
                memories, written = kept.pop(), kept.pop()
                if len(memories) < len(written):
                    memories = torch.cat([memory[rows].flatten(0, 1)[None], memories])
                directions, lengths = _directions(addresses[rows], late[rows], part)
                addressed, values = _rows(directions, chunk), _chunked(v[rows, part], chunk)
                decays = _chunked(log_decay[rows, part, :, None], chunk), _chunked(rate[rows, part, :, None], chunk)
                chunks, d_heard = _Chunks.of(addressed, *decays, ctx.replace), _chunked(dy[rows, part], chunk)
                d_rows, *gradients, d_found = _recall_backward(chunks, addressed, values, memories, written, d_heard, d_found)
                size = lengths.shape[:2]
                d_values, d_decays, d_rates = (_in_order(gradient, size[0], heads)[:, : size[1]] for gradient in gradients)
                torch.addcmul(d_values, dy[rows, part], own[:, None], out=dv[rows, part])
                d_own += (dy[rows, part] * v[rows, part]).sum((0, 1, 3))
                d_log_decay[rows, part], d_rate[rows, part] = d_decays[..., 0], d_rates[..., 0]
                d = _in_directions(d_rows, directions.shape, chunk)
                d[:, d.shape[1] - late.shape[1] :] += d_key[:, :, None]  # of the key of the part behind this one
                d_key, d = d[:, : late.shape[1], 0], d[:, late.shape[1] :]
                directions = directions[:, late.shape[1] :]
                along = (d * directions).sum(-1, keepdim=True)
                torch.div(d.addcmul_(directions, along, value=-1), lengths, out=d_addresses[rows, part])
            d_memory[rows], d_late[rows] = d_found.unflatten(0, (-1, heads)), d_key
        return d_addresses, dv, d_log_decay, d_rate, d_own, d_late, d_memory, None


def _together(batch: int, length: int, heads: int, chunk: int, device: str) -> list[tuple[slice, list[slice]]]:
    """Rows that are worked on together, and of their positions the parts that are, one after another.

    On the CPU about `TOGETHER` chunks: all of some sequences, if they are short, or else a part of a few, since a product of many small
    matrices is faster than many products.
    """
    chunks, rows = -(-length // chunk), batch
    together = chunks
    if device == "cpu":
        rows = min(batch, max(-(-ABREAST // heads), TOGETHER // (chunks * heads)))
        together = min(chunks, max(1, TOGETHER // (rows * heads)))
    parts = [slice(start * chunk, min((start + together) * chunk, length)) for start in range(0, chunks, together)]
    return [(slice(start, min(start + rows, batch)), parts) for start in range(0, batch, rows)]


def _directions(addresses: Tensor, late: Tensor, part: slice) -> tuple[Tensor, Tensor]:
    """The directions of a part's addresses, B x (1 +) s x (1 or 2) x heads x R, with that of the key that comes late; their lengths."""
    lengths = addresses[:, part].square().sum(-1, keepdim=True).sqrt_().clamp_min_(SHORTEST)
    directions = addresses[:, part] / lengths
    if late.shape[1]:
        if part.start:
            late = functional.normalize(addresses[:, part.start - 1 : part.start, 0], dim=-1, eps=SHORTEST)
        directions = torch.cat([late[:, :, None], directions], 1)
    return directions, lengths


def _rows(directions: Tensor, chunk: int) -> Tensor:
    """nG x N x R from B x s x 2 x heads x R, keys before queries; or from B x (1 + s) x 1 x heads x R, a late key before the addresses."""
    shared = directions.shape[2] == 1
    behind = (shared - directions.shape[1]) % chunk
    directions = functional.pad(directions, (0, 0, 0, 0, 0, 0, 0, behind)) if behind else directions
    if shared:
        rows = directions[:, :, 0].unfold(1, chunk + 1, chunk).permute(1, 0, 2, 4, 3)  # n x B x heads x (C + 1) x R
        return rows.contiguous().flatten(0, 2)
    return directions.unflatten(1, (-1, chunk)).permute(1, 0, 4, 3, 2, 5).flatten(0, 2).flatten(1, 2)


def _in_directions(d_rows: Tensor, shape: torch.Size, chunk: int) -> Tensor:
    """The gradient of the directions of that shape from that of their rows, nG x N x R."""
    batch, size, addresses, heads, _ = shape
    if addresses == 2:
        d = d_rows.unflatten(1, (2, chunk)).unflatten(0, (-1, batch, heads))  # n x B x heads x 2 x C x R
        return d.permute(1, 0, 4, 3, 2, 5).flatten(1, 2)[:, :size]
    d = d_rows.unflatten(0, (-1, batch, heads))  # n x B x heads x (C + 1) x R
    d[:-1, :, :, -1] += d[1:, :, :, 0]  # one row is the last query of its chunk and the first key of the next
    return torch.cat([d[0, :, None, :, 0], _in_order(d_rows[:, 1:], batch, heads)], 1)[:, :size, None]


def _chunked(x: Tensor, chunk: int) -> Tensor:
    """nG x C x W, the sequences of a chunk side by side, from B x s x heads x W. Padded positions write nothing and forget nothing."""
    behind = -x.shape[1] % chunk
    x = functional.pad(x, (0, 0, 0, 0, 0, behind)) if behind else x  # which would copy it for nothing, too
    return x.unflatten(1, (-1, chunk)).permute(1, 0, 3, 2, 4).contiguous().flatten(0, 2)


def _in_order(x: Tensor, batch: int, heads: int) -> Tensor:
    """B x nC x heads x W from nG x C x W."""
    return x.unflatten(0, (-1, batch, heads)).permute(1, 0, 3, 2, 4).flatten(1, 2)


class _Chunks(NamedTuple):
    """What the positions of nG chunks are to each other, before anything is written."""

    keys: Tensor  # nG x C x R
    queries: Tensor  # nG x C x R
    asking: Tensor  # nG x (N or C) x R, who looks into the memory: where what is found makes room the keys do, too
    decay: Tensor  # nG x C x C, g_i / g_j for j <= i, or else 0
    g: Tensor  # nG x C x 1
    to_end: Tensor  # nG x C x 1, g_C / g_i
    rate: Tensor  # nG x C x 1
    hears: Tensor  # nG x C x C, g_i / g_j <q_i, k_j>
    alike: Tensor | None  # nG x C x C, g_i / g_j <k_i, k_j>; None for mere addition

    @classmethod
    def of(cls, rows: Tensor, log_decay: Tensor, rate: Tensor, replace: bool) -> "_Chunks":
        size = rate.shape[1]
        keys, queries = rows[:, :size], rows[:, -size:]
        decay, g, to_end = _decays(log_decay)
        asking = rows if replace else queries
        products = torch.bmm(asking, keys.mT)
        alike = products[:, :size] * decay if replace else None
        return cls(keys, queries, asking, decay, g, to_end, rate, products[:, -size:] * decay, alike)


def _recall(chunks: _Chunks, v: Tensor, memories: Tensor, written: Tensor) -> tuple[Tensor, Tensor]:
    """What the queries recall, nG x C x P, and the memory that the last chunk leaves, G x R x P.

    Fills what is written (n x G x C x P), and the memories that chunks find behind the first one, n x G x R x P.
    """
    left = (_write_in_groups if _grouped(len(written), v.device.type) else _write_in_turn)(chunks, v, memories, written)
    heard = torch.bmm(chunks.queries, memories.flatten(0, 1)).mul_(chunks.g)
    return heard.baddbmm_(chunks.hears, written.flatten(0, 1)), left


def _write_in_turn(chunks: _Chunks, v: Tensor, memories: Tensor, written: Tensor) -> Tensor:
    keys, g, rate, by_chunk = chunks.keys, chunks.g, chunks.rate, written.shape[:2]
    parts = rate * v, rate * g * keys, chunks.to_end * keys, g[:, -1:]
    right, finds, ends, g_end = (x.unflatten(0, by_chunk) for x in parts)
    system = None if chunks.alike is None else (chunks.alike * rate).unflatten(0, by_chunk)  # its diagonal is not looked at
    left = torch.empty_like(memories[0])
    for chunk, (memory, after) in enumerate(itertools.pairwise([*memories, left])):
        if system is None:
            written[chunk] = right[chunk]
        else:
            written[chunk] = _solved(system[chunk], torch.baddbmm(right[chunk], finds[chunk], memory, alpha=-1), upper=False)
        torch.mul(memory, g_end[chunk], out=after)
        after.baddbmm_(ends[chunk].mT, written[chunk])
    return left


def _write_in_groups(chunks: _Chunks, v: Tensor, memories: Tensor, written: Tensor) -> Tensor:
    keys, g, rate, by_chunk = chunks.keys, chunks.g, chunks.rate, written.shape[:2]
    ends, g_end = (chunks.to_end * keys).unflatten(0, by_chunk).mT, g[:, -1:].unflatten(0, by_chunk)
    if chunks.alike is None:
        written.copy_((rate * v).unflatten(0, by_chunk))
        carried = _carried(_kept(g_end, ends), ends @ written, memories[0])
        memories[1:] = carried[:-1]
    else:  # solved for any memory
        solved = _solved(chunks.alike * rate, torch.cat([rate * v, rate * g * keys], -1), upper=False).unflatten(0, by_chunk)
        right, finds = solved[..., : v.shape[-1]], solved[..., v.shape[-1] :]
        carried = _carried(_kept(g_end, ends, finds), ends @ right, memories[0])
        memories[1:] = carried[:-1]
        torch.sub(right, finds @ memories, out=written)
    return carried[-1].clone()  # alone, without the others


def _recall_backward(
    chunks: _Chunks, rows: Tensor, v: Tensor, memories: Tensor, written: Tensor, dy: Tensor, d_memory: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of the rows, v, log_decay and rate, and that of the memory before them. `d_x` is the gradient of x.

    Args:
        memories: n x G x R x P, what each chunk found.
        d_memory: G x R x P, of what the last chunk left.
    """
    keys, _, asking, decay, g, to_end, rate, hears, alike = chunks
    size = keys.shape[1]
    d_heard = g * dy  # of what the queries find in the memory
    d_found = functional.pad(d_heard, (0, 0, asking.shape[1] - size, 0))  # of what all who ask find there; that of the keys is yet to come
    d_memories = memories.new_empty(len(memories) + 1, *d_memory.shape)
    d_memories[-1] = d_memory
    back = _back_in_groups if _grouped(len(written), v.device.type) else _back_in_turn
    d_left, d_right = back(chunks, d_found, torch.bmm(hears.mT, dy), d_memories)

    written, before, d_after = written.flatten(0, 1), memories.flatten(0, 1), d_memories[1:].flatten(0, 1)
    found = torch.bmm(asking, before)  # nG x (N or C) x P
    at_end = (written * d_left).sum(-1)
    d_log_g = (d_heard * found[:, -size:]).sum(-1) - at_end
    d_log_g[:, -1] += at_end.sum(-1) + g[:, -1, 0] * (before * d_after).sum((-2, -1))
    d_hears = torch.bmm(dy, written.mT)
    ratios = d_hears * hears  # of log(g_i / g_j)
    d_hears *= decay  # of <q_i, k_j>, from here on
    d_rate = (d_right * v).sum(-1, keepdim=True)
    d_alike = None
    if alike is not None:
        d_alike = torch.bmm(-d_right, written.mT).tril_(-1)
        room = g * (d_right * found[:, :size]).sum(-1, keepdim=True)
        d_rate += (d_alike * alike).sum(-1, keepdim=True) - room
        d_log_g -= (rate * room)[..., 0]
        ratios.addcmul_(d_alike.mul_(rate), alike)
        d_alike *= decay  # of <k_i, k_j>, from here on
    d_log_g += ratios.sum(-1) - ratios.sum(-2)
    d_log_decay = d_log_g.flip(-1).cumsum(-1).flip(-1)[..., None]

    d_rows = torch.bmm(d_found, before.mT)
    if alike is None:
        d_rows = functional.pad(d_rows, (0, 0, rows.shape[1] - size, 0))
    d_rows[:, :size].addcmul_(torch.bmm(written, d_after.mT), to_end)
    _add_of_products(d_rows, rows, d_hears, d_alike)
    return d_rows, d_right * rate, d_log_decay, d_rate, d_memories[0]


def _back_in_turn(chunks: _Chunks, d_found: Tensor, d_written: Tensor, d_memories: Tensor) -> tuple[Tensor, Tensor]:
    """From the last chunk to the first, since a write is worth what the memory after it is worth.

    Adds what the keys get to `d_found`, and fills `d_memories` before the last.

    Returns:
        The gradients of what is left of a write at its chunk's end, and of the system's right-hand side, each nG x C x P.
    """
    keys, g, rate, size = chunks.keys, chunks.g, chunks.rate, chunks.rate.shape[1]
    by_chunk = len(d_memories) - 1, d_memories.shape[1]
    parts = chunks.asking.mT, rate * g, chunks.to_end * keys, g[:, -1:], d_found, d_written
    asking, makes_room, ends, g_end, d_found, d_written = (x.unflatten(0, by_chunk) for x in parts)
    system = None if chunks.alike is None else (chunks.alike * rate).mT.unflatten(0, by_chunk)
    d_left, d_right = torch.empty_like(d_written), torch.empty_like(d_written)
    for chunk in reversed(range(len(ends))):
        torch.bmm(ends[chunk], d_memories[chunk + 1], out=d_left[chunk])
        torch.add(d_written[chunk], d_left[chunk], out=d_right[chunk])
        if system is not None:
            d_right[chunk] = _solved(system[chunk], d_right[chunk], upper=True)
            d_found[chunk, :, :size].addcmul_(makes_room[chunk], d_right[chunk], value=-1)
        torch.mul(d_memories[chunk + 1], g_end[chunk], out=d_memories[chunk])
        d_memories[chunk].baddbmm_(asking[chunk], d_found[chunk])
    return d_left.flatten(0, 1), d_right.flatten(0, 1)


def _back_in_groups(chunks: _Chunks, d_found: Tensor, d_written: Tensor, d_memories: Tensor) -> tuple[Tensor, Tensor]:
    keys, g, rate, size = chunks.keys, chunks.g, chunks.rate, chunks.rate.shape[1]
    by_chunk = len(d_memories) - 1, d_memories.shape[1]
    ends, g_end = (chunks.to_end * keys).unflatten(0, by_chunk), g[:, -1:].unflatten(0, by_chunk)
    added = (chunks.asking.mT @ d_found).unflatten(0, by_chunk)
    if chunks.alike is None:
        d_memories[:-1] = _carried(_kept(g_end, ends.mT).flip(0), added.flip(0), d_memories[-1]).flip(0)
        d_left = (ends @ d_memories[1:]).flatten(0, 1)
        return d_left, d_written + d_left
    solved = _solved((chunks.alike * rate).mT, torch.cat([d_written, ends.flatten(0, 1)], -1), upper=True).unflatten(0, by_chunk)
    right, right_ends = solved[..., : d_written.shape[-1]], solved[..., d_written.shape[-1] :]
    finds = (rate * g * keys).unflatten(0, by_chunk).mT
    d_memories[:-1] = _carried(_kept(g_end, finds, right_ends).flip(0), (added - finds @ right).flip(0), d_memories[-1]).flip(0)
    d_right = (right + right_ends @ d_memories[1:]).flatten(0, 1)
    d_found[:, :size].addcmul_(rate * g, d_right, value=-1)
    return (ends @ d_memories[1:]).flatten(0, 1), d_right


def _add_of_products(d_rows: Tensor, rows: Tensor, d_hears: Tensor, d_alike: Tensor | None) -> None:
    """Add what the rows get from <q_i, k_j> and <k_i, k_j>, with gradients nG x C x C."""
    size = d_hears.shape[1]
    if rows.shape[1] == size + 1:  # both are products of any two rows (of key and query, too, where a chunk is one position)
        d_products = functional.pad(d_hears, (0, 1, 1, 0))
        if d_alike is not None:
            d_products[:, :size, :size] += d_alike
        d_rows.baddbmm_(d_products + d_products.mT, rows)
    else:
        keys, queries = rows[:, :size], rows[:, size:]
        d_keys = torch.bmm(d_hears.mT, queries)
        if d_alike is not None:
            d_keys.baddbmm_(d_alike + d_alike.mT, keys)
        d_rows[:, :size] += d_keys
        d_rows[:, size:] += torch.bmm(d_hears, keys)


def _grouped(chunks: int, device: str) -> bool:
    """Whether groups of chunks are worked through side by side: where launching the products of one chunk takes longer than they do."""
    return device != "cpu" and chunks > GROUP


def _kept(g_end: Tensor, left: Tensor, right: Tensor | None = None) -> Tensor:
    """What each chunk keeps of a memory (n x G x R x R): the decayed rest, without what it replaces, `left` @ `right`."""
    kept = g_end * torch.eye(left.shape[-2], device=left.device, dtype=left.dtype)
    return kept if right is None else kept - left @ right


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
    """g_i / g_j for j <= i, or else 0 (nG x C x C); g_i, and g_C / g_i (nG x C x 1); from nG x C x 1."""
    # summed in float64, since one strong decay would leave the differences of the others no digits; powers of 2 are faster than those of e
    log_g = log_decay.cumsum(1, dtype=torch.float64).div_(log(2))  # nG x C x 1
    decay = (log_g - log_g.mT).to(log_decay.dtype).exp2_().tril_()  # which drops the infinite ones
    return decay, log_g.exp2().to(log_decay.dtype), (log_g[:, -1:] - log_g).exp2().to(log_decay.dtype)
