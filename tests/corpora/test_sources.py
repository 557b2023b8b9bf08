"""Every character of a source arrives, in the right split, from the right place."""

import ast
import inspect
import io
import itertools
import json
import os
import subprocess
import sys
import textwrap
import time
import tokenize
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavestack.corpora import sources, standard_library
from wavestack.corpora.documents import count_words, document_hash, split_by_hash
from wavestack.corpora.sources import file_documents, find_source, local_files
from wavestack.schema import Corpus, LocalFiles

REAL = Path(os.environ.get("WAVESTACK_DATA") or Path(__file__).parents[3] / "shared" / "data")
needs_real_data = pytest.mark.skipif(
    not (REAL / "wikitext-2").is_dir(),
    reason=f"{REAL}/wikitext-2 is absent; set WAVESTACK_DATA",
)
AWKWARD = "a\rb\r\nform\x0cfeed\u2028line\x85next  \ntrailing  \t\n\n"


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WAVESTACK_DATA", raising=False)


def text_corpus(**files) -> Corpus:
    return Corpus.model_validate({"licence": "CC0-1.0", "files": {"form": "text", **files}})


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


# --- forms of files --------------------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=5))
def test_text_is_returned_character_by_character(tmp_path_factory, texts):
    texts = [text.replace("<|endoftext|>", "") + "\n" for text in texts] or [""]
    path = put(tmp_path_factory.mktemp("text") / "x.txt", "<|endoftext|>\n".join(texts))
    assert list(file_documents(path, LocalFiles(form="text", train="x.txt"))) == texts


def test_text_without_a_separator_line_is_one_document(tmp_path):
    text = AWKWARD + "a <|endoftext|> within a line parts nothing\n" + "x" * 100_000 + " end"
    assert list(file_documents(put(tmp_path / "x.txt", text), LocalFiles(form="text", train="x.txt"))) == [text]


def test_text_takes_another_separator_and_carriage_returns(tmp_path):
    path = put(tmp_path / "x.txt", "a\r\n---\r\nb\r\n")
    assert list(file_documents(path, LocalFiles(form="text", train="x", separator="---"))) == ["a\r\n", "b\r\n"]


def test_text_that_is_not_utf8_is_named(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"x\.txt is not UTF-8"):
        list(file_documents(path, LocalFiles(form="text", train="x.txt")))


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_rows_are_returned_character_by_character(tmp_path, form):
    texts = [AWKWARD, "<|endoftext|>\n", "nul \x00 here", "  ", "y" * 100_000]
    path = tmp_path / "br[acke]ts *" / "x"  # a path is no pattern
    path.parent.mkdir()
    if form == "jsonl":
        path.write_text("".join(json.dumps({"code": text, "other": 1}) + "\n" for text in texts))
    else:
        pq.write_table(pa.table({"code": texts, "other": range(len(texts))}), path)
    assert list(file_documents(path, LocalFiles(form=form, train="x", field="code"))) == texts


def test_a_missing_field_names_the_fields_there_are(tmp_path):
    path = put(tmp_path / "x.jsonl", '{"content": "a"}\n')
    with pytest.raises(ValueError, match="no field 'text', only content"):
        list(file_documents(path, LocalFiles(form="jsonl", train="x.jsonl")))


@pytest.mark.parametrize("content", ["", '{"text": "a"}\n{"text": \n', '{"text": "a"}\n{"text": null}\n'])
def test_broken_jsonl_is_named(tmp_path, content):
    path = put(tmp_path / "x.jsonl", content)
    with pytest.raises(ValueError, match=r"x\.jsonl"):
        list(file_documents(path, LocalFiles(form="jsonl", train="x.jsonl")))


def test_an_article_begins_with_the_empty_line_before_its_title(tmp_path):
    first = " \n = First = \n \n Text with = signs = . \n \n = = Section = = \n \n so J \n = 7 / 2 = \n is a formula \n"
    second = " \n = Second = \n \n Text . \n \n = A book : with 1 = \n <unk> . \n"  # after an empty line, before a full one
    path = put(tmp_path / "x", first + second)
    got = list(file_documents(path, LocalFiles(form="wikitext", train="x")))
    assert [text for text in got if text] == [first, second]


@given(st.lists(st.sampled_from([" \n", " = A = \n", " = = B = = \n", " c \n", "\n", " = A = "])))
def test_articles_lose_no_line(tmp_path_factory, lines):
    path = put(tmp_path_factory.mktemp("wiki") / "x", "".join(lines))
    assert "".join(file_documents(path, LocalFiles(form="wikitext", train="x"))) == "".join(lines)


@needs_real_data
@pytest.mark.parametrize(("split", "articles", "words"), [("train", 600, 2_088_628), ("valid", 60, 217_646), ("test", 60, 245_569)])
def test_wikitext_2_has_its_documented_articles_and_words(split, articles, words):
    path = REAL / "wikitext-2" / f"wiki.{split}.tokens"
    texts = [text for text in file_documents(path, LocalFiles(form="wikitext", train="x")) if text]
    assert len(texts) == articles
    assert sum(count_words(text, "lines") for text in texts) == words
    assert "".join(texts).encode() == path.read_bytes()


def test_lines_are_documents_and_empty_ones_are_kept(tmp_path):
    path = put(tmp_path / "x", " = A = \n \n\n text \nlast")
    assert list(file_documents(path, LocalFiles(form="lines", train="x"))) == [" = A = \n", "", "", " text \n", "last"]


def test_a_corpus_of_lines_reads_the_files_of_another(tmp_path):
    for file in ("t", "v", "e"):
        put(tmp_path / "data/raw/wiki" / file, f"{file} one \n \n{file} two \n")
    files = LocalFiles(form="lines", folder="wiki", train="t", valid="v", test="e")
    corpus = Corpus(licence="none", words="lines", files=files)
    assert [path.parent.name for path in local_files("wiki-lines", corpus)] == ["wiki"] * 3
    expected = {split: [f"{name} one \n", "", f"{name} two \n"] for split, name in (("train", "t"), ("valid", "v"), ("test", "e"))}
    found = list(find_source("wiki-lines", corpus).documents())
    assert found == [(split, text) for split, texts in expected.items() for text in texts]


# --- places ----------------------------------------------------------------------------------------------------------


def test_places_are_looked_up_in_order(tmp_path, monkeypatch):
    corpus = text_corpus(train="t.txt", valid="v.txt", test="e.txt")
    elsewhere = tmp_path / "elsewhere"
    for folder, word in ((elsewhere / "mine", "variable"), (tmp_path / "data" / "raw" / "mine", "raw")):
        for file in ("t.txt", "v.txt", "e.txt"):
            put(folder / file, f"{word} {file}\n")
        monkeypatch.setenv("WAVESTACK_DATA", str(elsewhere))
        source = find_source("mine", corpus)  # the second folder, once it is there, hides the first
        expected = [("train", f"{word} t.txt\n"), ("valid", f"{word} v.txt\n"), ("test", f"{word} e.txt\n")]
        assert list(source.documents()) == expected
        assert set(source.facts["files"]) == {"t.txt", "v.txt", "e.txt"}
        assert str(tmp_path) not in json.dumps(source.facts)


def test_a_folder_without_a_file_is_an_error_and_not_passed_over(tmp_path):
    put(tmp_path / "data/raw/mine/t.txt", "a\n")
    with pytest.raises(ValueError, match=r"'mine': data/raw/mine/v\.txt is missing"):
        find_source("mine", text_corpus(train="t.txt", valid="v.txt", test="e.txt"))


def test_a_variable_that_names_no_folder_is_an_error(monkeypatch):
    monkeypatch.setenv("WAVESTACK_DATA", "/nowhere/at/all")
    with pytest.raises(ValueError, match="WAVESTACK_DATA=/nowhere/at/all is not a folder"):
        find_source("mine", text_corpus(train="t.txt"))


def test_without_files_and_hub_the_error_names_the_ways(monkeypatch):
    hub = {"path": "someone/something", "revision": "0" * 40}
    corpus = Corpus.model_validate({"licence": "?", "files": {"form": "text", "train": "t.txt"}, "hub": hub})

    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", unreachable)
    started = time.monotonic()
    with pytest.raises(ValueError, match="no route") as error:
        find_source("mine", corpus)
    assert time.monotonic() - started < 5
    for part in ("'mine'", "someone/something", "t.txt", "data/raw/mine/", "WAVESTACK_DATA"):
        assert part in str(error.value)


def test_a_dead_address_of_the_hub_fails_in_seconds():
    """The real client against a port where nobody listens; it reads the address when it is imported."""
    program = (
        "from wavestack.corpora.sources import find_source\n"
        "from wavestack.params import Corpus\n"
        "hub = {'path': 'a/b', 'revision': '0' * 40}\n"
        "try: find_source('mine', Corpus.model_validate({'licence': '?', 'hub': hub}))\n"
        "except ValueError as error: print(error)\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    started = time.monotonic()
    answer = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert "cannot be reached" in answer.stdout, answer.stderr
    assert time.monotonic() - started < 15


def test_the_hub_s_missing_test_split_is_taken_from_train(monkeypatch):
    rows = {"train": [f"text {n}" for n in range(400)], "validation": ["held out"]}
    asked = []

    def load_dataset(path, name, *, split, revision, streaming):
        asked.append((path, name, split, revision, streaming))
        return ({"text": text} for text in rows[split])

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    hub = {"path": "a/b", "revision": "1" * 40, "test": None}
    source = find_source("mine", Corpus.model_validate({"licence": "?", "hub": hub}))
    got = list(source.documents())
    assert asked == [("a/b", None, split, "1" * 40, True) for split in ("train", "validation")]
    assert [text for split, text in got if split == "valid"] == ["held out"]
    test = {text for split, text in got if split == "test"}
    assert test == {text for text in rows["train"] if document_hash(text) / 2**64 >= 0.95}
    assert 5 <= len(test) <= 40
    assert {text for split, text in got if split == "train"} == set(rows["train"]) - test
    assert source.facts == {"kind": "hub", "path": "a/b", "name": None, "revision": "1" * 40}


def test_the_hub_s_wikitext_gets_its_empty_lines_back(monkeypatch):
    rows = ["", " = A = \n", "", " text \n"]
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: ({"text": text} for text in rows))
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    hub = {"path": "a/b", "revision": "1" * 40, "form": "wikitext"}
    texts = [text for _, text in find_source("mine", Corpus.model_validate({"licence": "?", "hub": hub})).documents()]
    assert texts == [" \n = A = \n \n text \n"] * 3


# --- splits ----------------------------------------------------------------------------------------------------------


def test_the_split_of_a_text_never_changes():
    assert document_hash("WaveStack") == 0x111211E215E4CCCB  # of b2sum --length 64
    shares = [split_by_hash(f"document {n}") for n in range(20_000)]
    assert shares.count("train") / 20_000 == pytest.approx(0.90, abs=0.01)
    assert shares.count("valid") / 20_000 == pytest.approx(0.05, abs=0.01)


def test_documents_without_given_splits_are_split_by_hash(tmp_path):
    put(tmp_path / "data/raw/mine/t.txt", "<|endoftext|>\n".join(f"document {n}\n" for n in range(500)))
    got = list(find_source("mine", text_corpus(train="t.txt")).documents())
    assert [text for _, text in got] == [f"document {n}\n" for n in range(500)]  # nothing lost, in order
    assert all(split == split_by_hash(text) for split, text in got)
    assert {split for split, _ in got} == {"train", "valid", "test"}


def test_a_single_document_is_cut_at_line_ends(tmp_path):
    lines = [f"line {n:03d}\n" for n in range(200)]
    put(tmp_path / "data/raw/mine/t.txt", "".join(lines))
    got = list(find_source("mine", text_corpus(train="t.txt")).documents())
    assert [split for split, _ in got] == ["train", "valid", "test"]
    assert "".join(text for _, text in got) == "".join(lines)
    assert [text.count("\n") for _, text in got] == [
        181,
        10,
        9,
    ]  # the line that holds the 90% (95%) mark ends its piece
    assert all(text.endswith("\n") for _, text in got)


# --- the standard library --------------------------------------------------------------------------------------------


def test_docs_are_cleaned_docstrings_and_topics():
    documents = list(standard_library.docs())
    again = itertools.islice(standard_library.docs(), 50)
    assert documents[:50] == list(again)  # the same order every time
    assert 2e6 < sum(len(text.encode()) for text in documents) < 4e6
    wrap = next(text for text in documents if text.startswith("Text wrapping and filling."))
    assert "\n\nWrap a single paragraph of text" in wrap
    assert inspect.getdoc(textwrap.dedent) in wrap
    assert any(text.startswith('The "assert" statement') for text in documents)


def test_code_is_the_source_without_docstrings():
    without = standard_library.without_docstrings
    source = (
        '"""Module."""\n\nimport os  # comment\n\n\nclass A:\n    """Café,\n    two lines."""\n'
        '\n    x = "not a docstring"\n\n    def f(self): "one line"\n'
        '\n    def g(self):\n        """All there is."""\n\n\nclass B: "doc"; y = 1\n'
    )
    assert without(source) == (
        '\nimport os  # comment\n\n\nclass A:\n\n    x = "not a docstring"\n\n'
        "    def f(self): pass\n\n    def g(self):\n        pass\n\n\nclass B: pass; y = 1\n"
    )


def test_code_of_the_real_library_keeps_everything_else():
    originals = itertools.islice(standard_library._modules(without="pydoc_data"), 0, None, 12)
    for source in originals:
        got = standard_library.without_docstrings(source)
        assert not standard_library._docstrings(ast.parse(got))
        assert comments(got) == comments(source)
        assert set(got.split("\n")) - set(source.split("\n")) <= {line for line in got.split("\n") if "pass" in line}


def comments(source: str) -> list[str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def test_tests_and_foreign_packages_are_left_out(tmp_path, monkeypatch):
    kept = ["a.py", "b/__init__.py", "unittest/case.py"]
    left = ["test/x.py", "b/tests/x.py", "idlelib/idle_test/x.py", "site-packages/p/x.py", "_sysconfigdata_x.py"]
    for name in kept + left:
        put(tmp_path / "lib" / name, f'"""{name}"""\n')
    monkeypatch.setattr(standard_library.sysconfig, "get_path", lambda _: str(tmp_path / "lib"))
    topics = len(__import__("pydoc_data.topics", fromlist=["topics"]).topics)
    assert list(standard_library.docs())[:-topics] == kept
    assert sources.find_source("x", Corpus(licence="PSF-2.0", python="docs")).facts["kind"] == "python"
