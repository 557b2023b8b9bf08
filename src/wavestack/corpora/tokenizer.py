"""From text to tokens and back, without loss: three vocabularies, all of them byte-level BPE.

- `bpe`: trained on the train split; a pair is joined only if it occurs twice.
- `gpt2`: GPT-2's 50,257 entries.
- `bytes`: the 256 bytes and end-of-text, no merges.

End-of-text is one more entry. It stands between documents and is never made from text: a text that holds the characters
`<|endoftext|>` is encoded as these characters.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tokenizers import AddedToken
from tokenizers import Tokenizer as FastTokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.decoders import DecodeStream
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from wavestack.artifacts import written_atomically
from wavestack.corpora.documents import read_documents
from wavestack.corpora.sources import DATA_VARIABLE, RAW, data_folder
from wavestack.schema import Tokenizer

END_OF_TEXT = "<|endoftext|>"
GPT2_FOLDER = "gpt2-bpe"
# Where OpenAI keeps the two files, and their SHA-256
GPT2_ADDRESS = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"
GPT2_FILES = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


class TextTokenizer:
    """A byte-level BPE tokenizer.

    Attributes:
        end_of_text: the token that parts documents.
        size: entries of the vocabulary, end-of-text included; tokens are below it.
    """

    def __init__(self, fast: FastTokenizer) -> None:
        # One batch is encoded on all cores; the library says so itself, unless a process forked before it was asked
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        fast.encode_special_tokens = True  # text never yields end-of-text; the file does not store this
        self._fast = fast
        end_of_text = fast.token_to_id(END_OF_TEXT)
        assert end_of_text is not None, f"a tokenizer without {END_OF_TEXT}"
        self.end_of_text: int = end_of_text
        self.size: int = fast.get_vocab_size()

    def encode_batch(self, texts: list[str]) -> list[np.ndarray]:
        """Tokens of each text, without end-of-text: int32, (tokens,)."""
        encodings = self._fast.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]

    def decode(self, tokens: Iterable[int] | np.ndarray) -> str:
        """The text of tokens; end-of-text as `<|endoftext|>`, bytes that are no UTF-8 as U+FFFD.

        Raises:
            ValueError: a token is not of the vocabulary.
        """
        ids = [int(token) for token in tokens]
        for token in ids:
            if not 0 <= token < self.size:
                raise ValueError(f"token {token} is not of this vocabulary of {self.size}; decode with the tokenizer of its file")
        return self._fast.decode(ids, skip_special_tokens=False)

    def decode_stream(self, tokens: Iterable[int]) -> Iterator[str]:
        """The text of tokens as they come: a character whose bytes are spread over tokens is given when it is whole."""
        stream, drawn, given = DecodeStream(skip_special_tokens=False), [], 0
        for token in tokens:
            drawn.append(int(token))
            text = stream.step(self._fast, int(token))
            if text:
                given += len(text)
                yield text
        if rest := self.decode(drawn)[given:]:  # bytes at the end that are no whole character
            yield rest

    def save(self, path: Path) -> None:
        """Write one `tokenizer.json`, in the format of the library `tokenizers`."""
        with written_atomically(path) as temporary:
            self._fast.save(str(temporary))


def load_tokenizer(path: Path) -> TextTokenizer:
    """Read what `TextTokenizer.save` wrote.

    Raises:
        ValueError: the file is missing or is no tokenizer.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; the step that writes it has not run")
    try:
        fast = FastTokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exceptions
        raise ValueError(f"{path} is no tokenizer ({error}); delete it and run the step that writes it again") from error
    if fast.token_to_id(END_OF_TEXT) is None:
        raise ValueError(f"{path} has no entry {END_OF_TEXT}; delete it and run the step that writes it again")
    return TextTokenizer(fast)


def train_tokenizer(params: Tokenizer, train: Path) -> TextTokenizer:
    """The tokenizer that the parameters name. Only `bpe` reads the train split.

    Args:
        params: kind, and size of the vocabulary.
        train: Parquet file of the train split, column `text`.

    Raises:
        ValueError: the train split is too small for the vocabulary; GPT-2's vocabulary is nowhere to be had.
    """
    match params.kind:
        case "bpe":
            assert params.vocabulary is not None
            return _train_bpe(params.vocabulary, train)
        case "gpt2":
            return _gpt2()
        case "bytes":
            return _with_end_of_text(BPE(vocab=_byte_vocabulary(), merges=[]))


def _byte_level(model: BPE) -> FastTokenizer:
    """A model between bytes and tokens, without any normalisation."""
    fast = FastTokenizer(model)
    fast.pre_tokenizer = ByteLevel(add_prefix_space=False)
    fast.decoder = ByteLevelDecoder()
    return fast


def _with_end_of_text(model: BPE) -> TextTokenizer:
    fast = _byte_level(model)
    fast.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return TextTokenizer(fast)


def _byte_vocabulary() -> dict[str, int]:
    """Byte-level BPE writes a byte as a printable character; by these the bytes 0 to 255 are the tokens 0 to 255."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
    return {characters[byte]: byte for byte in range(256)}


def _train_bpe(vocabulary: int, train: Path) -> TextTokenizer:
    fast = _byte_level(BPE())  # without end-of-text: the training gives it its number, and would leave an older one behind
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,  # a pair that occurs once says nothing about another text
        special_tokens=[END_OF_TEXT],
        initial_alphabet=ByteLevel.alphabet(),  # every byte, so that every text can be encoded
        show_progress=False,
    )
    fast.train_from_iterator(read_documents(train), trainer)
    reached = fast.get_vocab_size()
    if reached < vocabulary:
        raise ValueError(
            f"vocabulary {vocabulary}: the train split is too small and gives only {reached} entries; ask for at"
            f" most {reached}, or raise the corpus's limit"
        )
    return TextTokenizer(fast)


def _gpt2() -> TextTokenizer:
    folder = data_folder(GPT2_FOLDER)
    contents = _gpt2_from_tiktoken() if folder is None else {name: _content(folder / name) for name in GPT2_FILES}
    vocabulary = json.loads(contents["encoder.json"])
    lines = contents["vocab.bpe"].decode().split("\n")[1:]  # a version comes first
    merges = [_pair(line) for line in lines if line]
    return _with_end_of_text(BPE(vocab=vocabulary, merges=merges))


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split(" ")
    return first, second


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"{path} is missing; put it there, or take the folder {path.parent} away")
    return path.read_bytes()


def _gpt2_from_tiktoken() -> dict[str, bytes]:
    """The two files by way of tiktoken's download and its cache (TIKTOKEN_CACHE_DIR)."""
    from tiktoken.load import read_file_cached

    try:
        return {name: read_file_cached(GPT2_ADDRESS + name, digest) for name, digest in GPT2_FILES.items()}
    except Exception as error:  # requests', OSError or ValueError: nothing else can be done about any of them
        raise ValueError(
            f"GPT-2's vocabulary cannot be downloaded ({type(error).__name__}: {error}); put"
            f" {' and '.join(GPT2_FILES)} into {RAW}/{GPT2_FOLDER}/,"
            f" or set {DATA_VARIABLE} to a folder that holds {GPT2_FOLDER}/ with them"
        ) from error
