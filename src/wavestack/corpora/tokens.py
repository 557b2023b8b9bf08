"""The step `tokens`: a corpus encoded into flat files that a training maps into memory.

The stream of a split with documents d1 ... dn, E being end-of-text:

    E d1 E d2 E ... dn E

`border[i]` is the position of the E that begins document i, so that `stream[border[i] : border[i + 1] + 1]` is the
document between its two E; `border[n]` is the last position. The file `<split>.tokens` is the stream as raw
little-endian numbers, uint16 where the vocabulary fits and uint32 otherwise; `<split>.documents.parquet` has a row a
document: `border`, `bytes` and `words` of its text.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wavestack.artifacts import read_json, sha256, write_json, written_atomically
from wavestack.corpora.documents import SPLITS, batched_by_size, count_words, read_documents
from wavestack.corpora.tokenizer import TextTokenizer, train_tokenizer
from wavestack.schema import Corpus, Tokenizer

PIECE = 2**22  # tokens that are counted at a time
ROWS = pa.schema([("border", pa.int64()), ("bytes", pa.int64()), ("words", pa.int64())])


def write_tokens(
    corpus_name: str, corpus: Corpus, tokenizer_params: Tokenizer, corpus_data: Path, data: Path, reports: Path
) -> dict[str, Any]:
    """Make the tokenizer and encode the three splits of a corpus.

    Args:
        corpus_name, corpus: what was written to `corpus_data`; says how words are counted.
        tokenizer_params: the kind of tokenizer, and the size of its vocabulary.
        corpus_data: folder of `{train,valid,test}.parquet`.
        data: gets `tokenizer.json`, and a split's `.tokens` and `.documents.parquet`, and `manifest.json`.
        reports: gets a copy of `manifest.json`.

    Returns:
        The manifest: kind, size and SHA-256 of the tokenizer, end-of-text, dtype; per split its tokens (end-of-text
            included),
        documents, bytes, words (None where the corpus has none) and the SHA-256 of the token file.

    Raises:
        ValueError: a split is missing, or the tokenizer cannot be made (see `train_tokenizer`).
    """
    tokenizer = train_tokenizer(tokenizer_params, corpus_data / "train.parquet")
    tokenizer.save(data / "tokenizer.json")
    dtype = np.dtype("<u2") if tokenizer.size <= 2**16 else np.dtype("<u4")
    splits = {}
    for split in SPLITS:
        counts = _write_split(corpus_data / f"{split}.parquet", tokenizer, dtype, corpus.words, data, split)
        splits[split] = {**counts, "sha256": sha256(data / f"{split}.tokens")}
    manifest = {
        "corpus": corpus_name,
        "tokenizer": {"kind": tokenizer_params.kind, "sha256": sha256(data / "tokenizer.json")},
        "vocabulary": tokenizer.size,
        "end_of_text": tokenizer.end_of_text,
        "dtype": dtype.name,
        "word_convention": corpus.words,
        "splits": splits,
    }
    write_json(data / "manifest.json", manifest)
    write_json(reports / "manifest.json", manifest)
    return manifest


def _write_split(texts: Path, tokenizer: TextTokenizer, dtype: np.dtype, words: str, data: Path, split: str) -> dict[str, int | None]:
    """Write the stream and the rows of one split, a batch in memory at a time; returns its counts."""
    border, documents, size, counted = 0, 0, 0, 0
    end_of_text = np.array([tokenizer.end_of_text], dtype)
    with ExitStack() as stack:
        stream = stack.enter_context(written_atomically(data / f"{split}.tokens"))
        table = stack.enter_context(written_atomically(data / f"{split}.documents.parquet"))
        file = stack.enter_context(stream.open("wb"))
        rows = stack.enter_context(pq.ParquetWriter(table, ROWS, compression="zstd"))
        for batch in batched_by_size(read_documents(texts)):
            encoded = tokenizer.encode_batch(batch)
            lengths = np.array([len(tokens) for tokens in encoded])
            borders = border + np.concatenate([[0], np.cumsum(lengths + 1)])  # an E comes before each document
            sizes = [len(text.encode()) for text in batch]
            counts = [count_words(text, words) for text in batch]
            for tokens in encoded:
                file.write(end_of_text.tobytes())
                file.write(tokens.astype(dtype).tobytes())
            rows.write_table(pa.table({"border": borders[:-1], "bytes": sizes, "words": counts}, schema=ROWS))
            border = int(borders[-1])
            documents += len(batch)
            size += sum(sizes)
            counted += sum(count or 0 for count in counts)
        file.write(end_of_text.tobytes())
    return {
        "tokens": border + 1,
        "documents": documents,
        "bytes": size,
        "words": None if words == "none" else counted,
    }


@dataclass(frozen=True)
class TokenFile:
    """One split, mapped into memory and never written.

    Attributes:
        stream: uint16 or uint32, (tokens,): end-of-text, first document, end-of-text, ... end-of-text.
        borders: int64, (documents + 1,): position of the end-of-text that begins a document; the last entry is the last
            position.
        bytes: int64, (documents,): UTF-8 bytes of each text.
        words: int64, (documents,): words of each text; None where the corpus has no words.
        vocabulary: entries; every token is below it.
        end_of_text: the token.
    """

    stream: np.ndarray
    borders: np.ndarray
    bytes: np.ndarray
    words: np.ndarray | None
    vocabulary: int
    end_of_text: int

    @classmethod
    def open(cls, data: Path, split: str) -> "TokenFile":
        """Open a split that `write_tokens` wrote to `data`.

        Raises:
            ValueError: a file is missing or broken, or is not the one that the manifest tells.
        """
        manifest = read_json(data / "manifest.json")
        try:
            counted = manifest["splits"][split]
            told = {key: int(counted[key]) for key in ("tokens", "documents")} | {key: counted[key] for key in ("words", "sha256")}
            dtype = np.dtype({"uint16": "<u2", "uint32": "<u4"}[manifest["dtype"]])
            vocabulary, end_of_text = int(manifest["vocabulary"]), int(manifest["end_of_text"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{data / 'manifest.json'} is no manifest of token files ({error!r}); write the tokens again") from None
        path, table = data / f"{split}.tokens", data / f"{split}.documents.parquet"
        for needed in (path, table):
            if not needed.is_file():
                raise ValueError(f"{needed} does not exist; the step that writes it has not run")
        expected = told["tokens"] * dtype.itemsize
        if (found := path.stat().st_size) != expected or found == 0:
            raise ValueError(f"{path} has {found} bytes, and the manifest tells {expected}; delete it and write the tokens again")
        if sha256(path) != told["sha256"]:
            raise ValueError(f"{path} is not what was written: its SHA-256 is not the manifest's; delete it and write the tokens again")
        try:
            rows = pq.read_table(table, columns=["border", "bytes", *([] if told["words"] is None else ["words"])])
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{table} is no table of documents ({error}); delete it and write the tokens again") from None
        if rows.num_rows != told["documents"]:
            raise ValueError(
                f"{table} has {rows.num_rows} documents, and the manifest tells {told['documents']}; delete it and write the tokens again"
            )
        return cls(
            stream=np.memmap(path, dtype=dtype, mode="r"),
            borders=np.append(rows["border"].to_numpy(), np.int64(told["tokens"] - 1)),
            bytes=rows["bytes"].to_numpy(),
            words=None if told["words"] is None else rows["words"].to_numpy(),
            vocabulary=vocabulary,
            end_of_text=end_of_text,
        )

    def __len__(self) -> int:
        """Documents."""
        return len(self.bytes)

    def counts(self) -> np.ndarray:
        """How often each token of the vocabulary stands in the stream, (vocabulary,) int64; the stream is read a piece at a time."""
        pieces = (self.stream[start : start + PIECE] for start in range(0, len(self.stream), PIECE))
        return sum((np.bincount(piece, minlength=self.vocabulary) for piece in pieces), np.zeros(self.vocabulary, np.int64))

    def document(self, i: int) -> np.ndarray:
        """Document i between its two end-of-text tokens: (tokens of the text + 2,), a view of the file.

        Raises:
            IndexError: there is no document i.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"document {i} of {len(self)}; count from 0")
        return self.stream[self.borders[i] : self.borders[i + 1] + 1]
