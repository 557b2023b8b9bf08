"""Classes of tokens, of bytes and of pieces of words, by hand."""

import pyarrow
import pyarrow.parquet

from wavestack.corpora.tokenizer import train_tokenizer
from wavestack.evaluation.token_classes import CLASSES, TokenClasses
from wavestack.schema import Tokenizer


def named(classes, tokens):
    return [CLASSES[each] for each in classes.of(tokens)]


def test_bytes(tmp_path):
    text = train_tokenizer(Tokenizer(kind="bytes"), tmp_path)
    tokens = [text.end_of_text, *text.encode_batch(["ab 1.é"])[0]]
    begins, inside, part = "word, beginning", "word, inside", "part of a character"
    assert named(TokenClasses(text), tokens) == ["end of text", begins, inside, "white space", "digits", "punctuation", part, part]


def test_pieces_of_words(tmp_path):
    documents = ["the cat, the cat; the cats 12 12 12", "the cat\n\n"]
    pyarrow.parquet.write_table(pyarrow.table({"text": documents}), tmp_path / "train.parquet")
    text = train_tokenizer(Tokenizer(kind="bpe", vocabulary=264), tmp_path / "train.parquet")
    tokens = text.encode_batch(["the cats, the 12\n"])[0]
    assert [text.decode([token]) for token in tokens] == ["the", " cat", "s", ",", " ", "the", " 12", "\n"]
    begins, inside, space = "word, beginning", "word, inside", "white space"
    assert named(TokenClasses(text), tokens) == [begins, begins, inside, "punctuation", space, begins, "digits", space]


def test_a_word_after_a_space_of_its_own_begins(tmp_path):
    text = train_tokenizer(Tokenizer(kind="bytes"), tmp_path)
    tokens = [*text.encode_batch(["a b"])[0]]
    assert named(TokenClasses(text), tokens) == ["word, beginning", "white space", "word, beginning"]
    assert named(TokenClasses(text), tokens[2:]) == ["word, beginning"]
