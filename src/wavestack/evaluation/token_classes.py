"""What kind of text a token stands for: a partition of positions that means the same for bytes and for pieces of words."""

from collections.abc import Sequence

import numpy

from wavestack.corpora.tokenizer import TextTokenizer

CLASSES = ("end of text", "white space", "digits", "punctuation", "word, beginning", "word, inside", "part of a character")
END, SPACE, DIGITS, PUNCTUATION, BEGINNING, INSIDE, PART = range(len(CLASSES))


class TokenClasses:
    """Classes of the tokens of a text, by a tokenizer.

    A token with a letter is a word's beginning where it starts with white space or does not follow a letter; with a digit and no letter it
    is of digits. A byte that is no character of its own is a part of one.
    """

    def __init__(self, tokenizer: TextTokenizer):
        texts = [tokenizer.decode([token]) for token in range(tokenizer.size)]
        self._alone = numpy.array([END if token == tokenizer.end_of_text else _alone(text) for token, text in enumerate(texts)])
        self._apart = numpy.array([text[:1].isspace() for text in texts])
        self._goes_on = numpy.array([text[-1:].isalpha() for text in texts]) & (self._alone != END)

    def of(self, tokens: Sequence[int] | numpy.ndarray) -> numpy.ndarray:
        """Indices into CLASSES, one a token. The first token follows no letter."""
        chosen = numpy.asarray(tokens, dtype=numpy.int64)
        after_a_letter = numpy.concatenate([[False], self._goes_on[chosen[:-1]]])
        classes = self._alone[chosen]
        return numpy.where((classes == BEGINNING) & after_a_letter & ~self._apart[chosen], INSIDE, classes)


def _alone(text: str) -> int:
    """The class of a token that begins what it is of."""
    if "\ufffd" in text:
        return PART
    if not text.strip():
        return SPACE
    if any(character.isalpha() for character in text):
        return BEGINNING
    return DIGITS if any(character.isdigit() for character in text) else PUNCTUATION
