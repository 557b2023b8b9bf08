"""WaveStack: a benchmark, and a model, for language modelling without attention."""

__version__ = "0.1.0"
