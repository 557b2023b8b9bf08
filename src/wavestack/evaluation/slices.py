"""Where a model's losses lie: by how much it has seen, by how common the token is, and by whether the pair stood earlier in the context.

Each target of the split is in one slice of each kind. A slice is a range of whole numbers, each twice as far as the one before:

    seen         tokens of its document that the model sees before the target
    count        occurrences of the target in the train split
    back         how far back the same pair, the token before and the target, stood last in what the model has seen; 0 where it is new.
                 A model that copies is good at small and large ones alike, and one that only knows pairs is as good at 0.
"""

from collections.abc import Iterable

import numpy
import pandas

from wavestack.corpora.tokens import TokenFile
from wavestack.evaluation.likelihood import Window

KINDS = ("seen", "count", "back")


def by_slice(tokens: TokenFile, scored: Iterable[tuple[Window, numpy.ndarray]], counts: numpy.ndarray) -> pandas.DataFrame:
    """Nats and tokens of every slice.

    Args:
        tokens: what was scored.
        scored: of `likelihood.scored_windows`.
        counts: of each token of the vocabulary in the train split.

    Returns:
        A row a slice that holds a target: kind, least (the smallest number in it; the largest is 2 least - 1, and 0 stands alone), tokens,
        nats.
    """
    sums: dict[tuple[str, int], list[float]] = {}
    for window, loss in scored:
        text = tokens.document(window.document)[window.start : window.end + 1]
        first = window.scored - window.start
        numbers = {
            "seen": numpy.arange(first, window.length) + 1,
            "count": counts[text[first + 1 :]],
            "back": pairs_back(text)[first:],
        }
        for kind, values in numbers.items():
            for least, places in _by_octave(values):
                total = sums.setdefault((kind, least), [0, 0.0])
                total[0] += len(places)
                total[1] += float(loss[places].sum())
    rows = [(kind, least, *sums[kind, least]) for kind, least in sorted(sums, key=lambda key: (KINDS.index(key[0]), key[1]))]
    return pandas.DataFrame(rows, columns=["kind", "least", "tokens", "nats"])


def pairs_back(text: numpy.ndarray) -> numpy.ndarray:
    """For each token but the first, how many tokens ago the pair that it ends stood last; 0 where it is new. n tokens give n - 1."""
    last: dict[tuple[int, int], int] = {}
    back = numpy.zeros(max(0, len(text) - 1), dtype=numpy.int64)
    for place, pair in enumerate(zip(text[:-1].tolist(), text[1:].tolist(), strict=True)):
        back[place] = place - last.get(pair, place)
        last[pair] = place
    return back


def _by_octave(values: numpy.ndarray) -> list[tuple[int, numpy.ndarray]]:
    """Places of the values between a power of two and the next, by that power; those of zero apart."""
    least = numpy.where(values > 0, 2 ** numpy.floor(numpy.log2(numpy.maximum(values, 1))).astype(numpy.int64), 0)
    return [(int(power), numpy.flatnonzero(least == power)) for power in numpy.unique(least)]
