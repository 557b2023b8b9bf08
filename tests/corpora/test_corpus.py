"""The step `corpus`: what it writes is what it says, whole or cut, in bounded memory."""

import hashlib
import json
import platform
import subprocess
import sys
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavestack.corpora.corpus import _beginning, keep_sample, write_corpus
from wavestack.corpora.documents import document_hash, read_documents
from wavestack.schema import Corpus

SPLITS = ("train", "valid", "test")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAVESTACK_DATA", raising=False)


def local(texts: dict[str, list[str]] | list[str], words: str = "whitespace") -> Corpus:
    """A corpus `mine` of these documents in data/raw."""
    given_splits = texts if isinstance(texts, dict) else {"train": texts}
    folder = Path("data/raw/mine")
    folder.mkdir(parents=True, exist_ok=True)
    for split, documents in given_splits.items():
        (folder / split).write_bytes("<|endoftext|>\n".join(documents).encode())
    return Corpus.model_validate(
        {"licence": "CC0-1.0", "words": words, "files": {"form": "text", **{split: split for split in given_splits}}}
    )


def written(split: str) -> list[str]:
    return list(read_documents(Path("out") / f"{split}.parquet"))


def write(corpus: Corpus, limit: int | None = None) -> dict:
    return write_corpus("mine", corpus, limit, Path("out"), Path("reports"))


def test_documents_and_manifest_agree():
    texts = {"train": ["one two\nthree é\n", "a\r\x0c \u2028\n"], "valid": ["five\n"], "test": ["six seven\n"]}
    manifest = write(local(texts, words="lines"))
    assert {split: written(split) for split in SPLITS} == texts
    assert manifest == json.loads(Path("reports/manifest.json").read_text())
    assert manifest["licence"] == "CC0-1.0"
    assert manifest["source"] == {
        "kind": "files",
        "files": {split: hashlib.sha256(Path("data/raw/mine", split).read_bytes()).hexdigest() for split in SPLITS},
        "revision": None,
    }
    train = manifest["splits"]["train"]
    # words: one two three é a, and three ends of lines; bytes: é has two, U+2028 three
    assert (train["documents"], train["bytes"], train["words"]) == (2, 17 + 8, 5 + 3)
    digest = hashlib.sha256()
    for text in texts["train"]:
        digest.update(len(text.encode()).to_bytes(8, "little") + text.encode())
    assert train["sha256"] == digest.hexdigest()
    assert [path.name for path in sorted(Path("out").iterdir())] == ["test.parquet", "train.parquet", "valid.parquet"]


def test_no_words_are_null():
    manifest = write(local({"train": ["a b\n"], "valid": ["c\n"], "test": ["d\n"]}, words="none"))
    assert [manifest["splits"][split]["words"] for split in SPLITS] == [None] * 3


def test_a_planted_copy_is_in_the_audit():
    story = " ".join(f"w{n}" for n in range(30)) + "\n"
    manifest = write(local({"train": [story, "b\n"], "valid": [story, "c\n"], "test": ["d\n"]}))
    assert manifest["overlap"]["valid"]["document_share"] == 0.5
    assert manifest["overlap"]["valid"]["ngram_share"] == 1
    assert manifest["overlap"]["test"]["document_share"] == 0


def test_twice_the_same():
    corpus = local([f"document {n} of many\n" for n in range(300)])
    first = write(corpus, limit=2000)
    files = {split: (Path("out") / f"{split}.parquet").read_bytes() for split in SPLITS}
    assert write(corpus, limit=2000) == first
    assert {split: (Path("out") / f"{split}.parquet").read_bytes() for split in SPLITS} == files


@pytest.mark.parametrize("missing", ["valid", "test"])
def test_an_empty_split_is_named(missing):
    texts = {split: [] if split == missing else ["text\n"] for split in SPLITS}
    with pytest.raises(ValueError, match=f"corpus 'mine': split {missing} is empty"):
        write(local(texts))
    assert not Path("reports/manifest.json").exists()
    assert list(Path("out").iterdir()) == []


def test_the_limit_keeps_a_sample_in_the_order_of_the_source():
    counts = {"train": 1000, "valid": 200, "test": 100}
    texts = {split: [f"{split} document {n:04d}\n" for n in range(count)] for split, count in counts.items()}
    manifest = write(local(texts), limit=5000)
    train = written("train")
    size = len(texts["train"][0])  # all alike
    assert len(train) == 5000 // size
    smallest = sorted(texts["train"], key=document_hash)[: 5000 // size]
    assert train == sorted(smallest)
    assert train[-1] > "train document 0900"  # from all over the corpus
    share = 5000 / (1000 * size)
    assert len(written("valid")) == int(share * 200)
    assert len(written("test")) == int(share * 100)
    assert manifest["splits"]["train"]["source_documents"] == 1000
    assert manifest["splits"]["train"]["bytes"] <= 5000 < manifest["splits"]["train"]["source_bytes"]


def test_a_tiny_limit_leaves_a_document_in_every_split():
    texts = {split: [f"{split} {n}\n" for n in range(9)] for split in SPLITS}
    write(local(texts), limit=1)
    assert [len(written(split)) for split in SPLITS] == [1, 1, 1]


def test_a_limit_above_the_size_changes_nothing():
    corpus = local([f"document {n}\n" for n in range(300)])
    whole = write(corpus)
    assert write(corpus, limit=10**9)["splits"] == whole["splits"]


def test_the_limit_cuts_a_single_document_at_a_line_end():
    lines = [f"line {n:03d}\n" for n in range(200)]  # 9 bytes each; 181, 10 and 9 of them in the splits
    write(local(["".join(lines)]), limit=181 * 9 // 2)
    assert written("train") == ["".join(lines[:90])]
    assert written("valid") == ["".join(lines[181 : 181 + 4])]  # 44 of 90 bytes: lines of 9 fit four times
    assert written("test") == ["".join(lines[191 : 191 + 4])]


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.integers(0, 50))
def test_a_beginning_fits_and_is_one(text, allowed):
    beginning = _beginning(text, allowed)
    assert text.startswith(beginning)
    assert len(beginning) == 1 or len(beginning.encode()) <= allowed
    assert beginning


def test_a_sample_by_hand():
    hashes, sizes = np.array([30, 10, 20, 40], np.uint64), np.array([1, 5, 3, 1])
    assert keep_sample(hashes, sizes, 8).tolist() == [False, True, True, False]  # 5 + 3, in the order of the hashes
    assert keep_sample(hashes, sizes, 9).tolist() == [True, True, True, False]
    assert keep_sample(hashes, sizes, 2).tolist() == [False, True, False, False]  # at least one


@pytest.mark.parametrize("part", ["docs", "code"])
def test_the_standard_library_is_a_corpus(part):
    words = "whitespace" if part == "docs" else "none"
    manifest = write(Corpus(licence="PSF-2.0", python=part, words=words), limit=200_000)
    assert manifest["source"] == {
        "kind": "python",
        "part": part,
        "python": platform.python_version(),
        "revision": None,
    }
    assert 100_000 < manifest["splits"]["train"]["bytes"] <= 200_000
    assert all(manifest["splits"][split]["documents"] >= 1 for split in SPLITS)


PEAK = """
import sys
from pathlib import Path
from wavestack.corpora.corpus import write_corpus
from wavestack.schema import Corpus
files = {"form": "text", "train": "train", "valid": "valid", "test": "test"}
corpus = Corpus.model_validate({"licence": "?", "files": files})
write_corpus("mine", corpus, int(sys.argv[1]) or None, Path("out"), Path("reports"))
# Not getrusage: its peak includes the parent at the moment of the fork
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])  # KiB
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("limit", [0, 2 * 2**20])
def test_memory_does_not_grow_with_the_corpus(limit):
    """40 MiB of train against 4 MiB. (Of valid and test the audit holds 8 bytes a word: they are the same here.)"""
    peaks = []
    generator = np.random.default_rng(0)
    words = np.array([letter * 5 for letter in ascii_lowercase])
    for size in (4, 40):
        documents = [f"{number}\n{' '.join(generator.choice(words, 1700))}\n" for number in range(size * 103)]  # of 10 kB
        local({"train": documents, "valid": documents[:20], "test": documents[-20:]})
        program = [sys.executable, "-c", PEAK, str(limit)]
        peaks.append(int(subprocess.run(program, check=True, capture_output=True, text=True).stdout) / 1024)
    assert peaks[1] - peaks[0] < 18, f"MiB: {peaks}"
