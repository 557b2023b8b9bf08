"""Names of models, lanes and mixers, and where their classes live.

A name is all that parameter files and checkpoints hold. The strings are resolved when a name is used, so a new entry costs nothing to
those who do not use it, and this file is no part of any run's fingerprint (a run's own entries are: see `provenance.py`).
"""

import importlib

MODELS = {
    "wavestack": "wavestack.models.wavestack:WaveStack",
    "transformer": "wavestack.models.transformer:Transformer",
}
LANES = {
    "chebyshev": "wavestack.lanes.chebyshev:Chebyshev",
    "fourier": "wavestack.lanes.fourier:Fourier",
    "wavelet": "wavestack.lanes.wavelet:Wavelet",
}
MIXERS = {
    "gated": "wavestack.models.mixer:GatedMixer",
}


def load(entry: str) -> type:
    """The class that a `module:Class` string names."""
    module, _, name = entry.partition(":")
    return getattr(importlib.import_module(module), name)
