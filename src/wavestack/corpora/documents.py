"""A document: its hash, its words, and the Parquet files that hold many of them."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = ("train", "valid", "test")
ROW_GROUP_BYTES = 4 * 2**20  # of text: what a writer or a reader holds at a time (or one document, if that is longer)


def document_hash(text: str) -> int:
    """64 bits of BLAKE2b of the UTF-8 text: the same on every machine and in every process, unlike `hash`."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def split_by_hash(text: str) -> str:
    """`train`, `valid` or `test`, 90/5/5 of the documents; equal texts always come into the same split."""
    share = document_hash(text) / 2**64
    return "train" if share < 0.90 else "valid" if share < 0.95 else "test"


def count_words(text: str, words: str) -> int | None:
    """Words of a text under a corpus's convention (`Corpus.words`); None where a corpus has no words."""
    if words == "none":
        return None
    return len(text.split()) + (text.count("\n") if words == "lines" else 0)


class DocumentWriter:
    """Writes documents to a Parquet file with the one column `text`, a bounded row group at a time."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(
            path,
            pa.schema([("text", pa.string())]),
            compression="zstd",
            use_dictionary=False,  # texts do not repeat
            write_statistics=False,  # they would repeat whole documents
        )
        self._waiting: list[str] = []
        self._waiting_bytes = 0

    def write(self, text: str) -> None:
        self._waiting.append(text)
        self._waiting_bytes += len(text)  # characters: at least a quarter of the bytes
        if self._waiting_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.table({"text": pa.array(self._waiting, pa.string())}))
        self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        self._flush()
        self._file.close()


def read_documents(path: Path) -> Iterator[str]:
    """The documents of a Parquet file with a column `text`, a row group in memory at a time.

    Raises:
        ValueError: the file is missing, or is not such a file.
    """
    try:
        file = pq.ParquetFile(path)
        groups = range(file.num_row_groups)
        if "text" not in file.schema_arrow.names:
            raise ValueError(f"{path} has no column 'text'; delete it and run the step that writes it again")
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; the step that writes it has not run") from None
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not Parquet ({error}); delete it and run the step that writes it again") from None
    with file:
        for group in groups:
            yield from file.read_row_group(group, columns=["text"]).column("text").to_pylist()


def batched_by_size(texts: Iterable[str], characters: int = ROW_GROUP_BYTES) -> Iterator[list[str]]:
    """Lists of texts that reach so many characters together (or one text, if that is longer)."""
    batch: list[str] = []
    held = 0
    for text in texts:
        batch.append(text)
        held += len(text)
        if held >= characters:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch
