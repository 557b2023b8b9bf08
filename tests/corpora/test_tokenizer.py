"""Every text comes back as it was, and no text makes an end-of-text token."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavestack.corpora.documents import DocumentWriter
from wavestack.corpora.tokenizer import END_OF_TEXT, TextTokenizer, load_tokenizer, train_tokenizer
from wavestack.schema import Tokenizer

REAL = Path(os.environ.get("WAVESTACK_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_gpt2 = pytest.mark.skipif(
    not (REAL / "gpt2-bpe").is_dir(), reason=f"{REAL}/gpt2-bpe is absent; set WAVESTACK_DATA to the folder of corpora"
)
any_text = st.lists(st.one_of(st.text(st.characters(codec="utf-8")), st.sampled_from([END_OF_TEXT, "<|endoftext|", " the", "\r\n"]))).map(
    "".join
)


def parquet(path: Path, texts: list[str]) -> Path:
    writer = DocumentWriter(path)
    for text in texts:
        writer.write(text)
    writer.close()
    return path


def trained(folder: Path, vocabulary: int = 400) -> TextTokenizer:
    texts = [f"the quick brown fox number {n} jumps over the lazy dog {n * n} times\n" for n in range(200)]
    return train_tokenizer(Tokenizer(kind="bpe", vocabulary=vocabulary), parquet(folder / "t.parquet", texts))


@pytest.fixture(scope="module", params=["bpe", "bytes", pytest.param("gpt2", marks=needs_gpt2)])
def tokenizer(request, tmp_path_factory) -> TextTokenizer:
    if request.param == "bpe":
        return trained(tmp_path_factory.mktemp("bpe"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAVESTACK_DATA", str(REAL))
        return train_tokenizer(Tokenizer(kind=request.param), Path("unread"))


@given(texts=st.lists(any_text, max_size=4))
def test_every_text_comes_back(tokenizer, texts):
    encoded = tokenizer.encode_batch(texts)
    assert [tokenizer.decode(tokens) for tokens in encoded] == texts
    for tokens in encoded:
        assert tokenizer.end_of_text not in tokens
        assert all(0 <= token < tokenizer.size for token in tokens)


@settings(max_examples=10, deadline=None)  # GPT-2's takes 0.1 s to read
@given(texts=st.lists(any_text, max_size=3))
def test_a_stored_tokenizer_is_the_same(tokenizer, tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("stored") / "tokenizer.json"
    tokenizer.save(path)
    loaded = load_tokenizer(path)
    assert (loaded.size, loaded.end_of_text) == (tokenizer.size, tokenizer.end_of_text)
    for one, other in zip(loaded.encode_batch(texts), tokenizer.encode_batch(texts), strict=True):
        assert np.array_equal(one, other)


def test_the_literal_end_of_text_is_ordinary_text(tokenizer):
    (tokens,) = tokenizer.encode_batch([f"a{END_OF_TEXT}b"])
    assert tokenizer.end_of_text not in tokens
    assert len(tokens) > 3
    assert tokenizer.decode([tokenizer.end_of_text]) == END_OF_TEXT


def test_a_token_outside_the_vocabulary_is_named(tokenizer):
    with pytest.raises(ValueError, match=f"token {tokenizer.size} is not of this vocabulary"):
        tokenizer.decode([tokenizer.size])


def test_a_line_of_100_kilobytes(tokenizer):
    text = "x" * 50_000 + " " * 50_000 + "é\n"
    (tokens,) = tokenizer.encode_batch([text])
    assert tokenizer.decode(tokens) == text


def test_bytes_are_their_own_tokens():
    tokenizer = train_tokenizer(Tokenizer(kind="bytes"), Path("unread"))
    text = "aé \n\u2028" + "".join(map(chr, range(256)))
    assert tokenizer.encode_batch([text])[0].tolist() == list(text.encode())
    assert (tokenizer.size, tokenizer.end_of_text) == (257, 256)


def test_bpe_has_the_size_asked_and_joins_what_is_frequent(tmp_path):
    tokenizer = trained(tmp_path)
    assert tokenizer.size == 400
    assert len(tokenizer.encode_batch([" quick brown fox"])[0]) == 3


def test_bpe_training_is_the_same_every_time(tmp_path):
    hashes = set()
    for name in ("one", "two", "three"):
        trained(tmp_path).save(tmp_path / name)
        hashes.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_bpe_reads_the_train_split_only_and_encodes_what_it_never_saw(tmp_path):
    tokenizer = train_tokenizer(Tokenizer(kind="bpe", vocabulary=258), parquet(tmp_path / "t", ["ababab ababab"]))
    assert tokenizer.decode(tokenizer.encode_batch(["日本語\x00\U0001f600"])[0]) == "日本語\x00\U0001f600"


def test_a_train_split_too_small_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"vocabulary 5000: .* gives only \d+ entries; ask for at most"):
        trained(tmp_path, vocabulary=5000)


def test_a_missing_or_broken_tokenizer_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"tokenizer\.json does not exist"):
        load_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json is no tokenizer"):
        load_tokenizer(tmp_path / "tokenizer.json")


@needs_gpt2
def test_gpt2_gives_gpt2_s_tokens(monkeypatch):
    monkeypatch.setenv("WAVESTACK_DATA", str(REAL))
    tokenizer = train_tokenizer(Tokenizer(kind="gpt2"), Path("unread"))
    assert (tokenizer.size, tokenizer.end_of_text) == (50257, 50256)
    assert tokenizer.encode_batch(["Hello world"])[0].tolist() == [15496, 995]  # as OpenAI's own examples have it
    lines = (REAL / "wikitext-2-raw" / "wiki.test.raw").read_text(encoding="utf-8").split("\n")[:-1]
    rows = [line + "\n" if line.strip() else "" for line in lines]  # as the hub has them
    joined = "\n\n".join(rows)  # the usual recipe
    assert len(tokenizer.encode_batch([joined])[0]) == 287_644


def test_gpt2_without_files_and_network_is_told(monkeypatch, tmp_path):
    def unreachable(*_):
        raise ConnectionError("no route")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAVESTACK_DATA", raising=False)
    monkeypatch.setattr("tiktoken.load.read_file_cached", unreachable)
    with pytest.raises(ValueError, match=r"no route.*vocab\.bpe into data/raw/gpt2-bpe/.*WAVESTACK_DATA"):
        train_tokenizer(Tokenizer(kind="gpt2"), Path("unread"))


@needs_gpt2
def test_gpt2_comes_from_tiktoken_too(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAVESTACK_DATA", raising=False)

    def read(address, digest):
        content = (REAL / "gpt2-bpe" / address.rpartition("/")[2]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        return content

    monkeypatch.setattr("tiktoken.load.read_file_cached", read)
    assert train_tokenizer(Tokenizer(kind="gpt2"), Path("unread")).size == 50257


def test_a_stream_gives_characters_whole():
    tokenizer = train_tokenizer(Tokenizer(kind="bytes"), Path("unread"))
    text = "aé日\U0001f600 z"
    tokens = tokenizer.encode_batch([text])[0].tolist()
    assert len(tokens) == len(text.encode())  # every character but three is spread over tokens
    assert list(tokenizer.decode_stream(tokens)) == list(text)


def test_a_stream_gives_text_as_it_comes():
    tokenizer = train_tokenizer(Tokenizer(kind="bytes"), Path("unread"))
    taken = []
    stream = tokenizer.decode_stream(taken.append(byte) or byte for byte in "né!".encode())
    assert [(next(stream), len(taken)) for _ in range(3)] == [("n", 1), ("é", 3), ("!", 4)]


@given(texts=st.lists(any_text, max_size=2))
def test_a_stream_is_the_text(tokenizer, texts):
    for tokens in tokenizer.encode_batch(texts):
        assert "".join(tokenizer.decode_stream(tokens.tolist())) == tokenizer.decode(tokens)


@given(data=st.data())
def test_a_stream_of_any_tokens_is_the_text(tokenizer, data):
    """Whatever a model draws: halves of characters, end-of-text."""
    tokens = data.draw(st.lists(st.one_of(st.integers(0, 300).map(lambda n: n % tokenizer.size), st.just(tokenizer.end_of_text))))
    assert "".join(tokenizer.decode_stream(tokens)) == tokenizer.decode(tokens)
