"""The step `corpus`: from a source to three Parquet files of documents and a manifest of what they hold.

The limit. A corpus that is larger is cut to a sample and not to its beginning, which may be one letter of the alphabet
or one
author: of each split those documents are kept whose hashes are smallest, in the order of the source. Of train so many
that their text stays within the limit; of valid and test so many that they stay within the same share, limit / bytes of
train; of each at least one. A split that is one single document is cut at a line end instead. The whole corpus is
streamed to the disk once before it is cut, since a share is known only at the end.
"""

import hashlib
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from wavestack.artifacts import TEMPORARY, write_json, written_atomically
from wavestack.corpora.documents import SPLITS, DocumentWriter, count_words, document_hash, read_documents
from wavestack.corpora.overlap import audit_overlap
from wavestack.corpora.sources import find_source
from wavestack.schema import Corpus


def write_corpus(name: str, corpus: Corpus, limit: int | None, data: Path, reports: Path) -> dict[str, Any]:
    """Write `data/{train,valid,test}.parquet` (column `text`, one row a document) and `reports/manifest.json`.

    Args:
        name: of the corpus; also of its folder of local files.
        corpus: where its documents come from, and what a word is in it.
        limit: bytes of UTF-8 text of the train split; None for the whole.
        data: folder of the splits.
        reports: folder of the manifest.

    Returns:
        The manifest: source and licence; per split the documents, bytes, words and SHA-256 of what was kept, beside the
            documents
        and bytes of the source; the overlap audit.

    Raises:
        ValueError: no source has the corpus, it cannot be read, or a split of it is empty.
    """
    source = find_source(name, corpus)
    data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=data, prefix=".whole.", suffix=TEMPORARY) as folder:
        whole = {split: _Whole(Path(folder) / f"{split}.parquet") for split in SPLITS}
        with ExitStack() as stack:
            for part in whole.values():
                stack.callback(part.writer.close)
            for split, text in source.documents():
                whole[split].write(text)
        for split, part in whole.items():
            if not part.sizes:
                raise ValueError(f"corpus '{name}': split {split} is empty; give it more documents, or files with all three splits")
        share = 1.0 if limit is None else min(1.0, limit / sum(whole["train"].sizes))
        splits = {split: _write_split(part, share, corpus, data / f"{split}.parquet") for split, part in whole.items()}
    manifest = {
        "corpus": name,
        "licence": corpus.licence,
        "source": source.facts,
        "limit": limit,
        "word_convention": corpus.words,
        "splits": splits,
        "overlap": audit_overlap(
            read_documents(data / "train.parquet"),
            {split: read_documents(data / f"{split}.parquet") for split in ("valid", "test")},
        ),
    }
    write_json(reports / "manifest.json", manifest)
    return manifest


class _Whole:
    """A split before the limit: its documents on disk, their hashes and sizes in memory (16 bytes a document)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = DocumentWriter(path)
        self.hashes = array("Q")
        self.sizes = array("q")  # bytes of UTF-8

    def write(self, text: str) -> None:
        self.writer.write(text)
        self.hashes.append(document_hash(text))
        self.sizes.append(len(text.encode()))


def _write_split(whole: _Whole, share: float, corpus: Corpus, path: Path) -> dict[str, Any]:
    """Write what the limit leaves of a split; returns its entry of the manifest."""
    documents, size, words = 0, 0, 0
    digest = hashlib.sha256()
    with written_atomically(path) as temporary:
        writer = DocumentWriter(temporary)
        for text in _sampled(whole, share):
            writer.write(text)
            content = text.encode()
            digest.update(len(content).to_bytes(8, "little") + content)  # a length parts documents, and no text can look like it
            documents += 1
            size += len(content)
            words += count_words(text, corpus.words) or 0
        writer.close()
    return {
        "documents": documents,
        "bytes": size,
        "words": None if corpus.words == "none" else words,
        "sha256": digest.hexdigest(),
        "source_documents": len(whole.sizes),
        "source_bytes": sum(whole.sizes),
    }


def _sampled(whole: _Whole, share: float) -> Iterator[str]:
    """The documents with the smallest hashes that make up a share of the bytes, in the order of the source."""
    allowed = int(share * sum(whole.sizes))
    if share < 1 and len(whole.sizes) == 1:
        yield from (_beginning(text, allowed) for text in read_documents(whole.path))
        return
    kept = keep_sample(np.frombuffer(whole.hashes, np.uint64), np.frombuffer(whole.sizes, np.int64), allowed)
    yield from (text for text, keep in zip(read_documents(whole.path), kept, strict=True) if keep)


def keep_sample(hashes: np.ndarray, sizes: np.ndarray, allowed: int) -> np.ndarray:
    """Which documents to keep: those with the smallest hashes whose sizes together are at most `allowed`, at least one.

    Args:
        hashes: uint64, (documents,).
        sizes: int64, (documents,), bytes.
        allowed: bytes.

    Returns:
        bool, (documents,).
    """
    order = np.argsort(hashes, kind="stable")
    fits = np.cumsum(sizes[order]) <= allowed
    fits[0] = True
    kept = np.zeros(len(hashes), bool)
    kept[order[fits]] = True
    return kept


def _beginning(text: str, allowed: int) -> str:
    """The lines of a text that fit into `allowed` bytes; where not one does, as many characters as fit, or one."""
    beginning = text.encode()[:allowed].decode(errors="ignore")
    return beginning[: beginning.rfind("\n") + 1] or beginning or text[0]
