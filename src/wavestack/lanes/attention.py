"""Causal softmax attention: the lane whose state grows, and the transformer's own."""

from functools import cache
from typing import Annotated, NamedTuple
from weakref import WeakValueDictionary

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from wavestack.lanes.lane import Lane, at_least
from wavestack.lanes.norm import RMSNorm

ROOM = 256  # positions that a KV cache grows by
MASKS: WeakValueDictionary[tuple[int, int, torch.dtype, torch.device], Tensor] = WeakValueDictionary()


class Room:
    """Memory behind keys and values, so that a decoded token is written there and its whole past is not copied.

    States share it. Only the one that ends where it is filled to may write, so that two continuations of one past never meet.
    """

    def __init__(self, keys: Tensor, values: Tensor, behind: int):
        self.filled = keys.shape[2]
        self.buffers = [functional.pad(tensor, (0, 0, 0, behind)) for tensor in (keys, values)]  # B x heads x (P + behind) x width

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The past with what is new, as views."""
        start, self.filled = self.filled, self.filled + keys.shape[2]
        for buffer, new in zip(self.buffers, (keys, values), strict=True):
            buffer[:, :, start : self.filled] = new
        k, v = (buffer[:, :, : self.filled] for buffer in self.buffers)
        return k, v

    def takes(self, past: Tensor, new: Tensor) -> bool:
        """Whether new keys can follow the past ones here."""
        buffer = self.buffers[0]
        here = past.data_ptr() == buffer.data_ptr() and past.shape[:3] == (*buffer.shape[:2], self.filled)  # not chosen rows of it
        writable = torch.is_inference_mode_enabled() or not buffer.is_inference()
        return here and writable and self.filled + new.shape[2] <= buffer.shape[2]


class AttentionState(NamedTuple):
    position: int  # of the next token
    keys: Tensor  # B x heads x P x width, rotated: of the whole past, or of as much as a window needs
    values: Tensor  # B x heads x P x width
    room: Room | None = None  # behind both, where no gradient is asked for


def rotary_angles(start: int, end: int, width: int, device: str | torch.device = "cpu") -> Tensor:
    """cos and sin of t / 10000^(2i / width) for t = start .. end-1, (end - start) x width/2 x 2, exact to float32 at any position."""
    frequencies = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device=device) / width)
    angle = torch.arange(start, end, dtype=torch.float64, device=device)[:, None] * frequencies
    return torch.stack([torch.cos(angle), torch.sin(angle)], -1).float()


@cache
def rotary_table(context: int, width: int, device: str = "cpu") -> Tensor:
    """The angles of a whole context, T x width/2 x 2."""
    return rotary_angles(0, context, width, device)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate the pairs (i, i + width/2) of x (B x heads x S x width) by the angles of their positions (S x width/2 x 2)."""
    cosine, sine = angles.unbind(-1)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cosine - b * sine, a * sine + b * cosine], dim=-1).to(x.dtype)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, past: int, explicit_mask: bool = False) -> Tensor:
    """Softmax attention of S queries to the `past` positions before them and to one another, never ahead.

    q is B x heads x S x width, k and v are B x heads x (past + S) x width. PyTorch's fused kernel, without a mask where it can be, or with
    one that adds minus infinity to what lies ahead, S x (past + S), as was published.
    """
    length = q.shape[2]
    if explicit_mask:
        return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask_of(length, past, q.dtype, q.device))
    if past == 0 or length == 1:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
    seen = torch.ones(length, past + length, dtype=torch.bool, device=q.device).tril(past)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)


def mask_of(length: int, past: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Minus infinity for what lies ahead of S queries, S x (past + S); one for all blocks, for as long as any has need of it."""
    key = (length, past, dtype, device)
    mask = MASKS.get(key)
    if mask is None:
        with torch.inference_mode(False):  # a training may meet it after an evaluation
            mask = torch.full((length, past + length), float("-inf"), dtype=dtype, device=device).triu_(past + 1)
        MASKS[key] = mask
    return mask


def windowed_attention(q: Tensor, k: Tensor, v: Tensor, past: int, window: int) -> Tensor:
    """`causal_attention` to the last `window` positions alone, the own one among them, linear in S.

    Queries are cut into pieces of `window`: each sees the keys of its own piece and of the one before.
    """
    batch, heads, length, width = q.shape
    if length == 1:
        return causal_attention(q, k[:, :, -window:], v[:, :, -window:], past)
    behind = -length % window
    q = functional.pad(q, (0, 0, 0, behind)).unflatten(2, (-1, window))  # B x heads x N x W x width
    # keys from a whole window before the first query on: padded where there is less past, cut where there is more
    k, v = (functional.pad(tensor, (0, 0, window - past, behind)).unfold(2, 2 * window, window).mT for tensor in (k, v))
    query = torch.arange(window, device=q.device)
    key = torch.arange(2 * window, device=q.device) - window
    near = (key <= query[:, None]) & (key > query[:, None] - window)  # W x 2W
    exists = key + torch.arange(q.shape[2], device=q.device)[:, None, None] * window >= -past  # N x 1 x 2W
    # pieces are rows of a batch, since PyTorch has fused kernels for four dimensions alone
    q, k, v = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (q, k, v))  # (B N) x heads x W or 2W x width
    y = functional.scaled_dot_product_attention(q, k, v, attn_mask=(near & exists).repeat(batch, 1, 1)[:, None])
    return y.view(batch, -1, heads, window, width).transpose(1, 2).flatten(2, 3)[:, :, :length]


class Attention(Lane):
    """Softmax attention in heads, with rotary positions and norms on queries and keys (Henry et al. 2020, arXiv:2010.04245).

    It reads queries, keys and values beside one another. Without a window it looks at the whole past: its state grows with it, and it
    ends at T, as a transformer does. With one it sees the last `window` positions, its own among them, and goes on for ever.
    """

    def __init__(
        self,
        hidden: int,
        context: int,
        *,
        head_width: Annotated[int, Field(ge=2, multiple_of=2)] = 32,
        window: Annotated[int, Field(ge=1)] | None = None,
        explicit_mask: bool = False,
    ):
        at_least(2, "attention", head_width=head_width)
        at_least(1, "attention", window=1 if window is None else window)
        if head_width % 2:
            raise ValueError(f"attention: a head_width of {head_width} is odd, and positions rotate pairs of channels; use an even one")
        if hidden % head_width:
            raise ValueError(f"attention: a width of {hidden} is no multiple of head_width {head_width}; change one of them")
        if explicit_mask and window is not None:
            raise ValueError(f"attention: a window of {window} has masks of its own; leave out window or explicit_mask")
        super().__init__(hidden, context, 3 * hidden)
        self.heads = hidden // head_width
        self.head_width = head_width
        self.window = window
        self.explicit_mask = explicit_mask
        self.query_norm = RMSNorm(head_width)
        self.key_norm = RMSNorm(head_width)
        if window is None:
            self.use_table(lambda device: rotary_table(context, head_width, device))

    def forward(self, x: Tensor, state: AttentionState | None = None) -> tuple[Tensor, AttentionState]:
        batch, length, _ = x.shape
        position = 0 if state is None else state.position
        end = position + length
        if self.window is None and end > self.context:
            raise ValueError(
                f"attention: position {end - 1} is beyond its context of {self.context}; "
                "shorten the input, train with a larger context, or use a window"
            )
        q, k, v = x.view(batch, length, 3, self.heads, -1).unbind(2)  # B x S x heads x width
        q, k, v = (tensor.transpose(1, 2) for tensor in (self.query_norm(q), self.key_norm(k), v))  # B x heads x S x width
        angles = rotary_angles(position, end, self.head_width, x.device) if self.table is None else self.table[position:end]
        q, k = rotate(q, angles), rotate(k, angles)
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            # its rows may start anywhere in what all lanes read, and a GPU's kernels take 16 bytes at a time; a state would keep all that
            v = v.contiguous()
        past, room = 0, None
        if state is not None:
            past = state.keys.shape[2]
            k, v, room = self._extended(state, k, v)
        if self.window is None:
            y = causal_attention(q, k, v, past, self.explicit_mask)
        else:
            y = windowed_attention(q, k, v, past, self.window)
            k, v = (self._recent(tensor, end) for tensor in (k, v))
        return y.transpose(1, 2).reshape(batch, length, self.hidden), AttentionState(end, k, v, room)

    def _extended(self, state: AttentionState, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Room | None]:
        """Keys and values of the past and of what is new."""
        keys, values = state.keys.to(k.dtype), state.values.to(v.dtype)
        if torch.is_grad_enabled() or self.window is not None:
            return torch.cat([keys, k], 2), torch.cat([values, v], 2), None
        room = state.room
        if room is None or not room.takes(keys, k):
            room = Room(keys, values, max(ROOM, k.shape[2]))
        return *room.append(k, v), room

    def _recent(self, past: Tensor, positions: int) -> Tensor:
        """What a window may still look at; a copy, where no gradient keeps the whole past anyway."""
        recent = past[:, :, -self._kept(positions) :]
        return recent if torch.is_grad_enabled() else recent.clone()

    def _kept(self, positions: int) -> int:
        """Past positions that the next token may look at. One is kept where none is needed, since a slice from -0 is everything."""
        return positions if self.window is None else min(positions, max(1, self.window - 1))

    def state_bytes(self, positions: int) -> int:
        return 4 * 2 * self._kept(positions) * self.hidden

    def flops(self, length: int) -> int:
        """Those of the positions that are attended to, not of the masked ones that a kernel may compute as well."""
        window = length if self.window is None else min(self.window, length)
        pairs = window * (window + 1) // 2 + (length - window) * window
        return 2 * 2 * pairs * self.hidden
