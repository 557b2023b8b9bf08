"""The audit finds what was planted, and agrees with Python's own sets."""

import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wavestack.corpora import documents, overlap
from wavestack.corpora.overlap import audit_overlap, ngram_hashes


def words(first: int, last: int) -> str:
    return " ".join(f"w{n}" for n in range(first, last))


def naive(train: list[str], held_out: list[str]) -> dict:
    def ngrams(texts):
        lists = [text.split() for text in texts]
        return {tuple(some[i : i + 13]) for some in lists for i in range(len(some) - 12)}

    shared, own = ngrams(train) & ngrams(held_out), ngrams(held_out)
    copies = sum(text in set(train) for text in held_out)
    return {
        "documents": len(held_out),
        "documents_in_train": copies,
        "document_share": copies / len(held_out) if held_out else None,
        "ngrams": len(own),
        "ngrams_in_train": len(shared),
        "ngram_share": len(shared) / len(own) if own else None,
    }


def test_a_planted_overlap_has_the_share_computed_by_hand():
    # 20 words are 8 sequences of 13. Of the second document words 5 to 19 stand in train: 15 words, 3 sequences.
    train = ["unrelated", words(100, 120), words(5, 20) + " and more"]
    valid = [words(100, 120), words(0, 20), words(100, 120)]  # the first and the last are copies
    assert audit_overlap(train, {"valid": valid})["valid"] == {
        "documents": 3,
        "documents_in_train": 2,
        "document_share": 2 / 3,
        "ngrams": 16,  # distinct: the copy counts once
        "ngrams_in_train": 11,
        "ngram_share": 11 / 16,
    }


def test_white_space_counts_for_documents_and_not_for_ngrams():
    got = audit_overlap([words(0, 13)], {"test": [words(0, 13).replace(" ", "\n")]})["test"]
    assert (got["documents_in_train"], got["ngrams_in_train"]) == (0, 1)


def test_no_sequence_crosses_two_documents():
    assert len(ngram_hashes([words(0, 7), words(7, 14), "", words(0, 13)])) == 1
    assert audit_overlap([words(0, 7), words(7, 14)], {"test": [words(0, 14)]})["test"]["ngrams_in_train"] == 0


def test_nothing_has_no_share():
    got = audit_overlap([words(0, 20)], {"test": ["short"], "valid": []})
    assert got["test"]["ngram_share"] is None
    assert got["test"]["document_share"] == 0
    assert got["valid"]["document_share"] is None


texts = st.lists(
    st.lists(st.sampled_from("ab"), max_size=40).map(" ".join),
    max_size=6,
)


@given(texts, texts, texts)
def test_agrees_with_sets_of_tuples(train, valid, test):
    assert audit_overlap(train, {"valid": valid, "test": test}) == {
        "valid": naive(train, valid),
        "test": naive(train, test),
    }


def test_agrees_with_sets_over_many_batches(monkeypatch):
    monkeypatch.setattr(overlap, "batched_by_size", lambda some: documents.batched_by_size(some, characters=500))
    generator = random.Random(0)
    made = [" ".join(generator.choices("abc", k=generator.randrange(60))) for _ in range(300)]
    assert audit_overlap(made[:200], {"valid": made[200:]})["valid"] == naive(made[:200], made[200:])
    assert 0 < naive(made[:200], made[200:])["ngram_share"] < 1


def test_the_hashes_are_the_same_in_every_process():
    assert ngram_hashes([words(0, 13)]).tolist() == [EXPECTED]
    assert ngram_hashes([words(0, 13)]).dtype == np.uint64


EXPECTED = 9409504669972263644  # of pandas' fixed key


def test_the_audit_is_no_slower_than_a_megabyte_a_second():
    """The floor of the step: WikiText-2's 13 MB in 15 s. Measured on one core: above 10 MB/s."""
    import time

    generator = random.Random(0)
    vocabulary = [f"word{n}" for n in range(20_000)]
    text = [" ".join(generator.choices(vocabulary, k=2000)) for _ in range(150)]  # 2.9 MB
    started = time.perf_counter()
    audit_overlap(text, {"valid": text[:10]})
    assert sum(map(len, text)) / 1e6 / (time.perf_counter() - started) > 1
