"""The overlap audit: how much of valid and test also stands in train.

Two shares: of the documents whose whole text is a document of train, and of the distinct sequences of 13 words (parted
at white space, within one document) that occur in train. Only 64-bit hashes of valid and test are held; train is
streamed once.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas

from wavestack.corpora.documents import batched_by_size, document_hash

WORDS = 13  # the length that GPT-3's contamination study used


def audit_overlap(train: Iterable[str], held_out: Mapping[str, Iterable[str]]) -> dict[str, dict[str, Any]]:
    """The overlap of each held-out split with train.

    Args:
        train: its documents, read once.
        held_out: documents by the name of their split.

    Returns:
        By split: `documents` and `ngrams`, how many there are (n-grams: distinct); `documents_in_train` and
            `ngrams_in_train`, how
        many of these also stand in train; `document_share` and `ngram_share`, their quotients (None of nothing).
    """
    splits = {name: _HeldOut(texts) for name, texts in held_out.items()}
    for batch in batched_by_size(train):
        documents = np.fromiter(map(document_hash, batch), np.uint64, len(batch))
        ngrams = ngram_hashes(batch)
        for split in splits.values():
            split.mark(documents, ngrams)
    return {name: split.result() for name, split in splits.items()}


class _HeldOut:
    """The hashes of one split, and which of them were seen in train."""

    def __init__(self, texts: Iterable[str]) -> None:
        documents, ngrams = [], [np.empty(0, np.uint64)]
        for batch in batched_by_size(texts):
            documents += [document_hash(text) for text in batch]
            ngrams.append(np.unique(ngram_hashes(batch)))
        self.documents, self.copies = np.unique(np.array(documents, np.uint64), return_counts=True)
        self.ngrams = np.unique(np.concatenate(ngrams))
        self.documents_seen = np.zeros(len(self.documents), bool)
        self.ngrams_seen = np.zeros(len(self.ngrams), bool)

    def mark(self, documents: np.ndarray, ngrams: np.ndarray) -> None:
        _mark(self.documents, documents, self.documents_seen)
        _mark(self.ngrams, ngrams, self.ngrams_seen)

    def result(self) -> dict[str, Any]:
        documents, documents_seen = int(self.copies.sum()), int(self.copies[self.documents_seen].sum())
        ngrams, ngrams_seen = len(self.ngrams), int(self.ngrams_seen.sum())
        return {
            "documents": documents,
            "documents_in_train": documents_seen,
            "document_share": documents_seen / documents if documents else None,
            "ngrams": ngrams,
            "ngrams_in_train": ngrams_seen,
            "ngram_share": ngrams_seen / ngrams if ngrams else None,
        }


def _mark(known: np.ndarray, found: np.ndarray, seen: np.ndarray) -> None:
    """Set `seen` where an entry of `known` (sorted) is among `found`."""
    if len(known):
        at = np.searchsorted(known, found)
        at[at == len(known)] = 0  # larger than all of them: compared with the first, which is not equal
        seen[at[known[at] == found]] = True


def ngram_hashes(texts: list[str]) -> np.ndarray:
    """Hashes of all sequences of 13 words that lie within one text, repeated ones included.

    Args:
        texts: documents.

    Returns:
        uint64, (max(0, words - 12) summed over the texts,).
    """
    words: list[str] = []
    lengths = []
    for text in texts:
        some = text.split()
        words += some
        lengths.append(len(some))
    starts = len(words) - WORDS + 1
    if starts <= 0:
        return np.empty(0, np.uint64)
    # pandas hashes strings with a fixed key; Python's own `hash` differs between processes
    hashes = pandas.util.hash_array(np.array(words, dtype=object), categorize=False)  # (words,)
    # A polynomial of the words' hashes modulo 2^64, by Horner's rule for all starts at once
    ngrams = np.zeros(starts, np.uint64)  # (starts,)
    for place in range(WORDS):
        ngrams = ngrams * np.uint64(0x9E3779B97F4A7C15) + hashes[place : place + starts]
    document = np.repeat(np.arange(len(texts)), lengths)  # (words,): of each word
    return ngrams[document[:starts] == document[WORDS - 1 :]]
