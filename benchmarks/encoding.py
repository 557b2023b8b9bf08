"""Speed of our encoding against `tokenizers`' own batch, interleaved in one run, on a text file.

    python benchmarks/encoding.py TEXT [REPEATS]

Prints medians and their ratio (ours over theirs; 1.2 is the limit). The whole step reads Parquet, counts words and writes files besides.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
from tokenizers import Tokenizer as Plain

from wavestack.corpora.tokenizer import load_tokenizer
from wavestack.corpora.tokens import write_tokens
from wavestack.schema import Corpus, Tokenizer

DOCUMENT = 20_000  # characters


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main(text: Path, repeats: int) -> None:
    content = text.read_text(encoding="utf-8")
    documents = [content[i : i + DOCUMENT] for i in range(0, len(content), DOCUMENT)]
    folder = Path(tempfile.mkdtemp())
    for split, part in (("train", documents), ("valid", documents[:1]), ("test", documents[:1])):
        pyarrow.parquet.write_table(pyarrow.table({"text": part}), folder / f"{split}.parquet")
    write_tokens(
        "benchmark", Corpus(licence="-", python="docs"), Tokenizer(kind="bpe", vocabulary=8192), folder, folder / "t", folder / "r"
    )
    file = folder / "t" / "tokenizer.json"
    ours, theirs = [], []
    for _ in range(repeats):  # a fresh tokenizer each time: it remembers words
        ours.append(seconds(lambda: load_tokenizer(file).encode_batch(documents)))
        theirs.append(seconds(lambda: Plain.from_file(str(file)).encode_batch(documents, add_special_tokens=False)))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"ours {a:.3f} s, tokenizers {b:.3f} s, ratio {a / b:.2f} (medians of {repeats}, {len(content) / 1e6:.1f} M characters)")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 7)
