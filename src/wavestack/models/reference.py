"""The published one-block WaveStack, as it was: what the published figures were measured on.

    x  = token(w) + position                               # no residual stream
    y_l = mlp_l(linear_l(view_l(x)))                       # Chebyshev, Fourier, running means
    y_l = y_l + dropout(gelu(causal_conv(y_l)))            # one for all lanes
    m  = mixer(y_1, y_2, y_3)
    m  = m + dropout(gelu(causal_conv(m)))
    logits = head(layer_norm(m))                           # untied

Its fault is kept: the bases of two lanes are stretched over the sequence at hand, so what a prefix says changes with what follows it, if
only by its length (with `stretched: context` it does not). There is no state that sums up a past then; to go on, it is all computed anew.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavestack.models.alignment import project
from wavestack.models.language_model import LanguageModel, matrix_flops
from wavestack.models.reference_lanes import PublishedChebyshev, PublishedFourier, PublishedLane, PublishedRecall, PublishedWavelet, decayed

Positive = Annotated[int, Field(ge=1)]
Decay = Annotated[float, Field(gt=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class PublishedModel(LanguageModel):
    """What the published models have in common: learned positions that end at T, a LayerNorm, and an untied, bias-free output layer."""

    names_its_size = True

    def __init__(self, vocabulary: int, context: int, hidden: int):
        super().__init__()
        self.context = context
        self.token = nn.Embedding(vocabulary, hidden)
        self.position = nn.Embedding(context, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.head = nn.Linear(hidden, vocabulary, bias=False)

    def embed(self, tokens: Tensor) -> Tensor:
        return self.token(tokens)

    def positioned(self, x: Tensor, past: int = 0) -> Tensor:
        """Embedded tokens (B x S x H) after `past` others, with their positions added.

        Raises:
            ValueError: at position T, for which none was learned.
        """
        end = past + x.shape[1]
        if end > self.context:
            raise ValueError(
                f"{type(self).__name__}: position {end - 1} is beyond its context of {self.context}, where its learned positions end; "
                "shorten the input or train with a larger context"
            )
        return x + self.position.weight[past:end]

    def logits(self, h: Tensor) -> Tensor:
        return project(h, self.head.weight)

    def parameter_counts(self) -> tuple[int, int]:
        total = sum(parameter.numel() for parameter in self.parameters())
        return total, total - self.token.weight.numel() - self.head.weight.numel()


class ContextBlock(nn.Module):
    """`x + dropout(gelu(causal_conv(x)))`, all channels to all channels, over three positions."""

    def __init__(self, hidden: int, dropout: float):
        super().__init__()
        self.convolution = nn.Conv1d(hidden, hidden, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolution(functional.pad(x.mT, (2, 0))).mT  # B x S x H
        return x + self.dropout(functional.gelu(y))

    def flops(self, length: int) -> int:
        return 2 * length * self.convolution.weight.numel()


class GatedSum(nn.Module):
    """A softmax over the lanes at every token, from all of them side by side, weighs them."""

    def __init__(self, hidden: int, lanes: int):
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(lanes * hidden, hidden), nn.GELU(), nn.Linear(hidden, lanes))

    def forward(self, views: Tensor) -> Tensor:
        """B x S x L x H to B x S x H, as all of these mixers do."""
        weights = torch.softmax(self.gate(views.flatten(2)), -1)  # B x S x L
        return (weights[..., None] * views).sum(2)

    def flops(self, length: int) -> int:
        return matrix_flops(self, length)


class AcrossLanes(nn.Module):
    """At each position the lanes attend to one another with a single head; the mean of what they hear."""

    def __init__(self, hidden: int, lanes: int):
        super().__init__()
        self.lanes = lanes
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)

    def forward(self, views: Tensor) -> Tensor:
        q, k, v = self.qkv(views).chunk(3, -1)  # B x S x L x H
        return functional.scaled_dot_product_attention(q, k, v).mean(2)

    def flops(self, length: int) -> int:
        return self.lanes * matrix_flops(self, length) + 2 * 2 * length * self.lanes**2 * self.qkv.in_features


class LaneMLP(nn.Module):
    """An MLP with one hidden layer of GELUs on the lanes side by side."""

    def __init__(self, hidden: int, lanes: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(lanes * hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden))

    def forward(self, views: Tensor) -> Tensor:
        return self.mlp(views.flatten(2))

    def flops(self, length: int) -> int:
        return matrix_flops(self, length)


class RecallBias(nn.Module):
    """Adds `beta * sigmoid(gate(m_t)) * sum_{s<=t} d^(t-s) [w_s = w]` to the logit of each token w: what stood in the text is likelier.

    It was proposed and not measured. beta is learned from 0, at which there is no bias.
    """

    def __init__(self, hidden: int, decay: float):
        super().__init__()
        self.decay = decay
        self.beta = nn.Parameter(torch.zeros(()))
        self.gate = nn.Linear(hidden, 1)

    def forward(self, logits: Tensor, m: Tensor, seen: Tensor) -> Tensor:
        """Logits B x S x V with their bias, for m (B x S x H) and all tokens seen, the last S of which are the chunk's own (B x P)."""
        new, past = m.shape[1], seen.shape[1]
        counted = self.beta * torch.sigmoid(self.gate(m)) * decayed(past, self.decay, m)[past - new :]  # B x S x P
        return logits.scatter_add(2, seen[:, None].expand(-1, new, -1), counted.to(logits.dtype))

    def flops(self, length: int) -> int:
        return matrix_flops(self, length) + 2 * length**2


def alike(views: Tensor) -> Tensor:
    """0.1 times the square of the mean cosine of pairs of lanes (B x S x L x H), over pairs and tokens."""
    unit = functional.normalize(views, dim=-1)
    lanes = views.shape[2]
    cosines = (unit.sum(2).square().sum(-1) - lanes) / max(1, lanes * (lanes - 1))  # B x S, the mean over ordered pairs
    return 0.1 * cosines.mean().square()


def uneven(views: Tensor) -> Tensor:
    """0.1 times the square of the energies' standard deviation over their mean; a lane's energy is the mean square of what it says."""
    energies = views.square().mean((0, 1, 3))  # L
    return 0.1 * (energies.std(correction=0) / energies.mean()).square()


PENALTIES = {"cosine": alike, "energy": uneven}
MIXERS: dict[str, type[GatedSum | AcrossLanes | LaneMLP]] = {"gated": GatedSum, "across": AcrossLanes, "mlp": LaneMLP}


Views = Annotated[tuple[Literal["chebyshev", "fourier", "wavelet"], ...], Field(min_length=1)]


class Reference(PublishedModel):
    """The published WaveStack; see the module's docstring. Small: the defaults. Large: hidden 768 and three layers in each MLP.

    Published options: a fourth lane (`recall`: its features, 32 to 64; `recall_decay` 1 or 0.98), subsets of the lanes (`views`), a penalty
    on lanes that say the same (`diversity`), a `ramp` over so many steps; and one that was proposed only (`recall_bias`).
    """

    lanes: Sequence[PublishedLane | PublishedRecall]
    bias: RecallBias | None
    trained: Tensor  # steps so far, on the ramp
    breaks = frozenset({"prefix consistency", "step equals parallel", "chunk carry"})

    def __init__(
        self,
        vocabulary: int,
        context: int,
        *,
        hidden: Positive = 384,
        mlp_layers: Positive = 1,  # hidden layers of each lane's MLP
        views: Views = ("chebyshev", "fourier", "wavelet"),  # the lanes, without recall
        order: Positive = 4,  # Chebyshev polynomials
        frequencies: Positive = 64,
        levels: Positive = 3,  # running means
        recall: Annotated[int, Field(ge=0)] = 0,  # features of the recall lane; 0 for none
        recall_decay: Decay = 1.0,
        recall_bias: Decay | None = None,  # decay of the count of tokens seen; None for no bias
        stretched: Literal["input", "context"] = "input",  # what bases are stretched over: the input at hand, or T, as mended
        context_block: bool = True,  # some published runs predate it
        dropout: Dropout = 0.1,
        mixer: Literal["gated", "across", "mlp"] = "gated",
        diversity: Literal["cosine", "energy"] | None = None,
        ramp: Annotated[int, Field(ge=0)] = 0,  # steps; published: 1,000
    ):
        super().__init__(vocabulary, context, hidden)
        for embedding in (self.token, self.position):
            nn.init.normal_(embedding.weight, std=0.02)
        over = None
        if stretched == "context":
            over, self.breaks = context, frozenset()
        made = {
            "chebyshev": lambda: PublishedChebyshev(hidden, order, over, mlp_layers, dropout),
            "fourier": lambda: PublishedFourier(hidden, frequencies, over, mlp_layers, dropout),
            "wavelet": lambda: PublishedWavelet(hidden, levels, mlp_layers, dropout),
        }
        lanes: list[nn.Module] = [make() for view, make in made.items() if view in views]
        lanes += [PublishedRecall(hidden, recall, recall_decay, mlp_layers, dropout)] if recall else []
        self.lanes = nn.ModuleList(lanes)  # type: ignore[assignment]
        self.before = ContextBlock(hidden, dropout) if context_block else None  # the mixer, the same for every lane
        self.mixer = MIXERS[mixer](hidden, len(lanes))
        self.after = ContextBlock(hidden, dropout) if context_block else None
        self.bias = RecallBias(hidden, recall_bias) if recall_bias is not None else None
        self.diversity = diversity
        self.ramp = ramp
        if ramp:  # part of the weights: a model that was best on the way is what it was then
            self.register_buffer("trained", torch.zeros((), dtype=torch.int64))

    def at_step(self, step: int) -> None:
        if self.ramp:
            self.trained.fill_(step)

    def advance(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """With a recall bias, which is of tokens and not of what they are embedded as, the state has the tokens, too."""
        if self.bias is None:
            return super().advance(tokens, state)
        inner, before = (None, tokens[:, :0]) if state is None else state
        m, inner = self.advance_hidden(self.embed(tokens), inner)
        seen = torch.cat([before, tokens], 1)
        return self.bias(self.logits(m), m, seen), (inner, seen)

    def prefill(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        if self.bias is None:
            return super().prefill(tokens, state)
        logits, after = self.advance(tokens, state)
        return logits[:, -1:], after

    def advance_hidden(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The state is everything embedded so far, B x P x H: the whole prefix is computed anew, as the published model generated."""
        new = x.shape[1]
        seen = x if state is None else torch.cat([state, x], 1)
        x = self.positioned(seen)
        part = min(1.0, self.trained.item() / self.ramp) if self.ramp else 1.0
        views = [lane(x, part) for lane in self.lanes]  # L times B x S x H
        self.penalty = PENALTIES[self.diversity](torch.stack(views, 2)) if self.diversity and self.training else None
        if self.before is not None:
            views = [self.before(view) for view in views]
        m = self.mixer(torch.stack(views, 2))  # B x S x H
        if self.after is not None:
            m = self.after(m)
        return self.norm(m[:, -new:]), seen

    def state_bytes(self, positions: int) -> int:
        tokens = 8 * positions if self.bias is not None else 0
        return 4 * positions * self.norm.weight.numel() + tokens

    def flops(self, length: int) -> int:
        """Those of one pass over a whole sequence, with all of the lanes there; to generate it takes one such pass a token."""
        contexts = 0
        if self.before is not None and self.after is not None:
            contexts = len(self.lanes) * self.before.flops(length) + self.after.flops(length)
        lanes = sum(lane.flops(length) for lane in self.lanes)
        bias = self.bias.flops(length) if self.bias is not None else 0
        return lanes + contexts + self.mixer.flops(length) + matrix_flops(self.head, length) + bias
