"""Names of models, lanes and mixers, and where their classes live.

A name is all that parameter files and checkpoints hold. The strings are resolved when a name is used, so a new entry costs nothing to
those who do not use it, and this file is no part of any run's fingerprint (a run's own entries are: see `provenance.py`).
"""

import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MODELS = {
    "wavestack": "wavestack.models.wavestack:WaveStack",
    "transformer": "wavestack.models.transformer:Transformer",
    "reference": "wavestack.models.reference:Reference",
    "reference-neural": "wavestack.models.reference_neural:ReferenceNeural",
    "reference-transformer": "wavestack.models.reference_transformer:ReferenceTransformer",
}
LANE_NAME = r"[a-z0-9][a-z0-9_-]*"
LANES = {
    "chebyshev": "wavestack.lanes.chebyshev:Chebyshev",
    "fourier": "wavestack.lanes.fourier:Fourier",
    "hadamard": "wavestack.lanes.hadamard:Hadamard",
    "random": "wavestack.lanes.controls:RandomBasis",
    "learned": "wavestack.lanes.controls:LearnedBasis",
    "legendre": "wavestack.lanes.legendre:Legendre",
    "oscillator": "wavestack.lanes.oscillator:Oscillator",
    "wavelet": "wavestack.lanes.wavelet:Wavelet",
    "convolution": "wavestack.lanes.convolution:ShortConvolution",
    "recall": "wavestack.lanes.recall:Recall",
    "attention": "wavestack.lanes.attention:Attention",
    "identity": "wavestack.lanes.identity:Identity",
}
MIXERS = {
    "gated": "wavestack.models.mixer:GatedMixer",
    "sigmoid": "wavestack.models.mixer:SigmoidMixer",
    "mlp": "wavestack.models.mixer:MLPMixer",
    "across": "wavestack.models.mixer:AcrossMixer",
    "sequence": "wavestack.models.mixer:SequenceMixer",
}


def check_lane_name(name: str) -> None:
    """Refuse what cannot name a lane: it becomes part of the names of tensors, folders and variants.

    Raises:
        ValueError: saying why.
    """
    from torch.nn import ModuleDict  # whoever names lanes loads them, too

    if not re.fullmatch(LANE_NAME, name):
        raise ValueError(f"'{name}' cannot name a lane; expected {LANE_NAME}")
    if name == "none":
        raise ValueError("'none' cannot name a lane, since the variant lanes=none has no lane at all; choose another one")
    if hasattr(ModuleDict, name) or name == "training":
        raise ValueError(f"'{name}' cannot name a lane, since PyTorch's modules have an attribute of that name; choose another one")


def load(entry: str) -> Any:
    """The class that a `module:Class` string names.

    Raises:
        ValueError: there is no such module or class, or it cannot be run. Modules of a user's own are looked for in the working
            directory, too.
    """
    module, _, name = entry.partition(":")
    try:
        with _working_directory_importable():
            return getattr(importlib.import_module(module), name)
    except Exception as error:  # a user's module may fail in any way
        told = error if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise ValueError(f"'{entry}' cannot be loaded ({told}); expected 'module:Class' of an importable module") from error


def lane_entry(name: str, knobs: Mapping[str, Any]) -> str:
    """The `module:Class` string of a lane: of its knob `lane`, a registered name or such a string, or else of its own name.

    Raises:
        ValueError: it is neither.
    """
    kind = knobs.get("lane", name)
    if isinstance(kind, str) and kind in LANES:
        return LANES[kind]
    if isinstance(kind, str) and ":" in kind:
        return kind
    raise ValueError(f"'{kind}' is no lane; known: {', '.join(LANES)}, or 'module:Class' for one of your own")


def lane(name: str, knobs: Mapping[str, Any]) -> Any:
    """The class of a lane."""
    return load(lane_entry(name, knobs))


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.append(here)
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)
