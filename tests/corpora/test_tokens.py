"""The token files hold every document between two end-of-text tokens, and know their borders."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wavestack.artifacts import sha256
from wavestack.corpora import documents, tokens
from wavestack.corpora.documents import DocumentWriter
from wavestack.corpora.tokenizer import load_tokenizer
from wavestack.corpora.tokens import TokenFile, write_tokens
from wavestack.schema import Corpus, Tokenizer

BYTES = Tokenizer(kind="bytes")


def corpus(words: str = "whitespace") -> Corpus:
    return Corpus.model_validate({"licence": "CC0-1.0", "words": words, "python": "docs"})


def write(folder: Path, texts: list[str], params: Tokenizer = BYTES, words: str = "whitespace") -> dict:
    for split in ("train", "valid", "test"):
        (folder / "corpus").mkdir(exist_ok=True)
        writer = DocumentWriter(folder / "corpus" / f"{split}.parquet")
        for text in texts:
            writer.write(text)
        writer.close()
    return write_tokens("mine", corpus(words), params, folder / "corpus", folder / "data", folder / "reports")


def test_the_stream_by_hand(tmp_path):
    manifest = write(tmp_path, ["ab", "c\n"], words="lines")
    file = TokenFile.open(tmp_path / "data", "train")
    assert file.stream.tolist() == [256, 97, 98, 256, 99, 10, 256]
    assert file.stream.dtype == np.dtype("<u2")
    assert file.borders.tolist() == [0, 3, 6]
    assert file.borders.dtype == np.int64
    assert file.bytes.tolist() == [2, 2]
    assert file.words.tolist() == [1, 2]
    assert (len(file), file.vocabulary, file.end_of_text) == (2, 257, 256)
    assert file.document(0).tolist() == [256, 97, 98, 256]
    assert file.document(1).tolist() == [256, 99, 10, 256]
    assert manifest["splits"]["train"] == {
        "tokens": 7,
        "documents": 2,
        "bytes": 4,
        "words": 3,
        "sha256": sha256(tmp_path / "data" / "train.tokens"),
    }
    assert (tmp_path / "data" / "train.tokens").read_bytes()[:4] == b"\x00\x01a\x00"  # little-endian


def test_the_manifest_stands_in_both_folders(tmp_path):
    manifest = write(tmp_path, ["ab"])
    assert manifest["tokenizer"]["kind"] == "bytes"
    assert (manifest["vocabulary"], manifest["dtype"]) == (257, "uint16")
    for folder in ("data", "reports"):
        assert json.loads((tmp_path / folder / "manifest.json").read_text()) == manifest


def test_a_corpus_without_words_has_none(tmp_path):
    manifest = write(tmp_path, ["ab", "c"], words="none")
    assert manifest["splits"]["valid"]["words"] is None
    assert TokenFile.open(tmp_path / "data", "valid").words is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=8), size=st.integers(1, 9))
def test_documents_come_back_whatever_the_batches(tmp_path, texts, size):
    texts = [*texts, "<|endoftext|>"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "batched_by_size", lambda some: documents.batched_by_size(some, characters=size))
        write(tmp_path, texts)
    file = TokenFile.open(tmp_path / "data", "test")
    tokenizer = load_tokenizer(tmp_path / "data" / "tokenizer.json")
    assert len(file) == len(texts)
    assert (file.stream == file.end_of_text).sum() == len(texts) + 1
    for number, text in enumerate(texts):
        document = file.document(number)
        assert document[0] == document[-1] == file.end_of_text
        assert tokenizer.decode(document[1:-1]) == text
        assert file.bytes[number] == len(text.encode())
        assert file.words[number] == len(text.split())


def test_a_vocabulary_above_two_bytes_takes_four(tmp_path, monkeypatch):
    class Wide:
        size, end_of_text = 2**16 + 1, 2**16

        def encode_batch(self, texts):
            return [np.arange(len(text), dtype=np.int32) for text in texts]

        def save(self, path):
            path.parent.mkdir()
            path.write_text("{}")

    monkeypatch.setattr(tokens, "train_tokenizer", lambda *_: Wide())
    assert write(tmp_path, ["abc"])["dtype"] == "uint32"
    assert TokenFile.open(tmp_path / "data", "train").stream.tolist() == [65536, 0, 1, 2, 65536]


def test_trained_on_the_train_split_and_the_same_every_time(tmp_path):
    texts = [f"the number {n} of the many numbers\n" for n in range(300)]
    params = Tokenizer(kind="bpe", vocabulary=300)
    first = write(tmp_path, texts, params)
    assert write(tmp_path, texts, params) == first
    assert first["vocabulary"] == 300
    assert TokenFile.open(tmp_path / "data", "train").stream.max() < 300


def test_the_file_cannot_be_written_through(tmp_path):
    write(tmp_path, ["ab"])
    with pytest.raises(ValueError, match="read-only"):
        TokenFile.open(tmp_path / "data", "train").stream[0] = 1


@pytest.mark.parametrize("number", [-1, 2])
def test_a_document_that_is_not_there(tmp_path, number):
    write(tmp_path, ["ab", "c"])
    with pytest.raises(IndexError, match=f"document {number} of 2"):
        TokenFile.open(tmp_path / "data", "train").document(number)


def test_tokens_are_counted_piece_by_piece(tmp_path, monkeypatch):
    write(tmp_path, ["abca", "c", "ab"])
    file = TokenFile.open(tmp_path / "data", "train")
    whole = np.bincount(file.stream, minlength=257)
    assert (whole[ord("a")], whole[file.end_of_text]) == (3, 4)
    for piece in (1, 3, len(file.stream), 10**6):
        monkeypatch.setattr(tokens, "PIECE", piece)
        assert file.counts().tolist() == whole.tolist()


def test_a_cut_file_is_named(tmp_path):
    write(tmp_path, ["ab", "c"])
    path = tmp_path / "data" / "train.tokens"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"train\.tokens has 10 bytes, and the manifest tells 12"):
        TokenFile.open(tmp_path / "data", "train")


def test_another_file_of_the_same_size_is_named(tmp_path):
    write(tmp_path, ["ab", "c"])
    path = tmp_path / "data" / "train.tokens"
    content = bytearray(path.read_bytes())
    content[2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"train\.tokens is not what was written: its SHA-256"):
        TokenFile.open(tmp_path / "data", "train")


def test_rows_of_another_corpus_are_named(tmp_path):
    write(tmp_path, ["ab", "c"])
    rows = (tmp_path / "data" / "train.documents.parquet").read_bytes()
    write(tmp_path, ["ab", "cd", "e"])
    (tmp_path / "data" / "train.documents.parquet").write_bytes(rows)
    with pytest.raises(ValueError, match=r"train\.documents\.parquet has 2 documents, and the manifest tells 3"):
        TokenFile.open(tmp_path / "data", "train")


@pytest.mark.parametrize("name", ["train.tokens", "train.documents.parquet", "manifest.json"])
def test_a_missing_file_is_named(tmp_path, name):
    write(tmp_path, ["ab"])
    (tmp_path / "data" / name).unlink()
    with pytest.raises(ValueError, match=f"{name} does not exist"):
        TokenFile.open(tmp_path / "data", "train")


def test_a_missing_split_is_named(tmp_path):
    write(tmp_path, ["ab"])
    (tmp_path / "corpus" / "valid.parquet").unlink()
    with pytest.raises(ValueError, match=r"valid\.parquet does not exist"):
        write_tokens("mine", corpus(), BYTES, tmp_path / "corpus", tmp_path / "data", tmp_path / "reports")
