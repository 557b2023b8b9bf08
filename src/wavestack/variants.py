"""What a run changes of its spec and of its profile's training, as a name that is read, and is a folder.

`base` changes nothing; otherwise parts with commas between them, in this order: `lanes=fourier+wavelet` (or `lanes=none`) keeps some of
the spec's lanes, `mended=schedule+padding` (or `mended=none`) trains by the audit's published protocol with some of its faults mended,
`tokens=1000000` trains on so many tokens instead of its budget's, `lr=0.003`, `wd=0.1` and `dropout=0` set learning rate, weight decay and
dropout, and `tuned` takes those three from the trial that was chosen for the spec on its corpus.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

TRAINING = {"lr": "learning_rate", "wd": "weight_decay", "dropout": "dropout"}  # parts, and the training's keys that they set
PARTS = ", ".join(f"{part}=" for part in ("lanes", "mended", "tokens", *TRAINING))
EXPECTED = f"expected base, or {PARTS} and tuned in this order, with commas between"


@dataclass(frozen=True)
class Variant:
    lanes: tuple[str, ...] | None = None  # those that are kept; None for all
    mended: tuple[str, ...] | None = None  # of the audit's faults, those that concern the training; None outside of the audit
    tokens: int | None = None  # of training; None for the budget's
    training: Mapping[str, float] = field(default_factory=dict)  # values by keys of the training
    tuned: bool = False

    def __str__(self) -> str:
        lists = {"lanes": self.lanes, "mended": self.mended}
        parts = [f"{part}={'+'.join(names) or 'none'}" for part, names in lists.items() if names is not None]
        parts += [f"tokens={self.tokens}"] if self.tokens is not None else []
        parts += [f"{part}={self.training[key]:g}" for part, key in TRAINING.items() if key in self.training]
        parts += ["tuned"] if self.tuned else []
        return ",".join(parts) or "base"

    @property
    def model(self) -> str:
        """The part that another module is built for; trainings of one module share its contract."""
        return str(Variant(lanes=self.lanes))

    @property
    def recipe(self) -> str:
        """The part that the settings of the training come from, whatever the module and the number of tokens."""
        return str(replace(self, lanes=None, tokens=None))

    @classmethod
    def parse(cls, name: str) -> "Variant":
        """The variant of a name; ValueError where it is none, or is not spelt as `str` spells it."""
        parts = {} if name == "base" else dict(part.partition("=")[::2] for part in name.split(","))
        lanes, mended = (_names(parts.pop(part, None)) for part in ("lanes", "mended"))
        tuned = parts.pop("tuned", None) is not None
        try:
            tokens = int(parts.pop("tokens")) if "tokens" in parts else None
            variant = cls(lanes, mended, tokens, {TRAINING[part]: float(value) for part, value in parts.items()}, tuned)
        except (KeyError, ValueError):
            raise ValueError(f"variant '{name}': {EXPECTED}") from None
        if str(variant) != name:  # a run has one path
            raise ValueError(f"variant '{name}': {EXPECTED}; this one is spelt '{variant}'")
        return variant


def _names(value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    return () if value == "none" else tuple(value.split("+"))
