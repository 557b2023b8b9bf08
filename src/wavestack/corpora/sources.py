"""Where the documents of a corpus come from: the standard library, local files, or the hub. Always a stream.

A corpus with files is looked for in three places, and the first wins: `data/raw/<corpus>/` below the working folder,
`$WAVESTACK_DATA/<corpus>/`, the hub. A folder that is there but lacks a file is an error, not a reason to look further:
half a corpus is a mistake that should be seen.

Splits that are not given are made by `split_by_hash`: 90/5/5 of the documents where neither valid nor test is given;
where only one is missing, the documents of train whose hash says so (5%). A text file that is one single document is
cut instead, at line ends, into its first 90%, the next 5% and the last 5%.
"""

import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from wavestack.artifacts import sha256
from wavestack.corpora import standard_library
from wavestack.corpora.documents import SPLITS, split_by_hash
from wavestack.schema import Corpus, Hub, LocalFiles

RAW = Path("data/raw")
DATA_VARIABLE = "WAVESTACK_DATA"
HUB_SECONDS = 10.0  # to wait for the hub's first answer


@dataclass(frozen=True)
class Source:
    """Where a corpus was found.

    Attributes:
        facts: what a manifest says of it: `kind` (python, files, hub) and what identifies the content; no path of this
            machine.
        documents: starts a stream of (split, text) in the source's order; no text is blank.
    """

    facts: dict[str, Any]
    documents: Callable[[], Iterator[tuple[str, str]]]


def find_source(name: str, corpus: Corpus) -> Source:
    """The first place that has the corpus.

    Raises:
        ValueError: a folder of the corpus lacks a file, or no place has the corpus. A text that cannot be read is a
            ValueError of `documents()`.
    """
    if corpus.python is not None:
        return _python_source(corpus.python)
    folder = data_folder(corpus.files.folder or name) if corpus.files is not None else None
    if corpus.files is not None and folder is not None:
        return _files_source(name, corpus.files, folder)
    if corpus.hub is None:
        raise ValueError(f"corpus '{name}': not found, and it has no data set on the hub. {_ways(name, corpus.files)}")
    try:
        _ask_hub(corpus.hub)
    except Exception as error:  # which classes a failed connection raises depends on the library's version
        raise ValueError(
            f"corpus '{name}': the hub's data set {corpus.hub.path} at revision {corpus.hub.revision} cannot be reached"
            f" ({type(error).__name__}: {error}). {_ways(name, corpus.files)}"
        ) from error
    return _hub_source(name, corpus.hub)


def local_files(name: str, corpus: Corpus) -> list[Path]:
    """The files that the corpus is read from, none where it comes from elsewhere; ValueError as `data_folder`."""
    folder = data_folder(corpus.files.folder or name) if corpus.files is not None else None
    if corpus.files is None or folder is None:
        return []
    return [folder / file for file in (corpus.files.train, corpus.files.valid, corpus.files.test) if file is not None]


def data_folder(name: str) -> Path | None:
    """The folder `name` in `data/raw/` or in the folder that WAVESTACK_DATA names, the first that is there.

    Raises:
        ValueError: WAVESTACK_DATA is set to something that is no folder.
    """
    places = [RAW]
    if variable := os.environ.get(DATA_VARIABLE):
        if not Path(variable).is_dir():
            raise ValueError(f"{DATA_VARIABLE}={variable} is not a folder; set it to the folder that holds the corpora")
        places.append(Path(variable))
    return next((place / name for place in places if (place / name).is_dir()), None)


def _ways(name: str, files: LocalFiles | None) -> str:
    if files is None:
        return f"Reach the hub, or give '{name}' the key files in the parameter file of the corpora"
    names = ", ".join(file for file in (files.train, files.valid, files.test) if file is not None)
    return (
        f"Two other ways to supply it: put its files ({names}) into {RAW}/{name}/, or set {DATA_VARIABLE} to a"
        f" folder that holds {name}/ with them"
    )


# --- the standard library ---------------------------------------------------------------------------------------------


def _python_source(part: str) -> Source:
    texts = {"docs": standard_library.docs, "code": standard_library.code}[part]
    facts = {"kind": "python", "part": part, "python": platform.python_version(), "revision": None}
    return Source(facts, lambda: _split(_not_blank(texts()), given={"train"}))


# --- local files ------------------------------------------------------------------------------------------------------


def _files_source(name: str, files: LocalFiles, folder: Path) -> Source:
    paths = {split: folder / file for split in SPLITS if (file := getattr(files, split)) is not None}
    for path in paths.values():
        if not path.is_file():
            raise ValueError(f"corpus '{name}': {path} is missing; put it there, or take the folder {folder} away")

    def documents() -> Iterator[tuple[str, str]]:
        for split, path in paths.items():
            texts = file_documents(path, files)
            if files.form != "lines":  # of which an empty one is a document, too
                texts = _not_blank(texts)
            if split != "train":
                yield from ((split, text) for text in texts)
            elif files.form == "text" and files.valid is None:
                yield from _split_or_cut(texts)
            else:
                yield from _split(texts, given=set(paths))

    facts = {"kind": "files", "files": {path.name: sha256(path) for path in paths.values()}, "revision": None}
    return Source(facts, documents)


def file_documents(path: Path, files: LocalFiles) -> Iterator[str]:
    """The documents of one file; of form text or wikitext, joined they are the file, character by character.

    Raises:
        ValueError: the file cannot be read in its form.
    """
    match files.form:
        case "text":
            return _separated(_lines(path), files.separator)
        case "wikitext":
            return _articles(_lines(path))
        case "lines":
            return _without_blanks(_lines(path))
        case "jsonl":
            return _rows_of_file("json", path, files.field)
        case "parquet":
            return _rows_of_file("parquet", path, files.field)


def _lines(path: Path) -> Iterator[str]:
    """Lines with their ends, parted at the line feed alone.

    The text reader of `datasets` opens files with universal newlines, which turns every carriage return into a line
    feed.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            yield from file
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}); convert it") from error


def _without_blanks(lines: Iterable[str]) -> Iterator[str]:
    """Lines; one of nothing but white space is empty, as the hub has it."""
    return (line if line.strip() else "" for line in lines)


def _separated(lines: Iterable[str], separator: str) -> Iterator[str]:
    """Documents between lines that equal the separator; each keeps the end of its last line."""
    document: list[str] = []
    for line in lines:
        if line.rstrip("\r\n") == separator:
            yield "".join(document)
            document = []
        else:
            document.append(line)
    yield "".join(document)


TITLE = re.compile(r" = [^=]+ = \n?")


def _articles(lines: Iterable[str]) -> Iterator[str]:
    """Articles of a WikiText file. One begins with the empty line before its title, and no line is lost.

    A title is ` = Title = ` between two empty lines: other lines look alike, such as formulae and reference lists.
    """
    article: list[str] = []  # all but the last two lines seen
    before, line = "", ""
    for after in lines:
        if TITLE.fullmatch(line) and not before.strip() and not after.strip():
            yield "".join(article)
            article = []
        article.append(before)
        before, line = line, after
    yield "".join([*article, before, line])


def _rows_of_file(loader: str, path: Path, field: str) -> Iterator[str]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    try:
        # `datasets` takes a path as a pattern, so a bracket in a folder's name must be escaped
        rows = load_dataset(loader, data_files=escape(str(path)), split="train", streaming=True)
        yield from _field(rows, field, str(path))
    except (ArrowException, DatasetsError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not {loader}: {error}") from error


def _field(rows: Iterable[dict[str, Any]], field: str, where: str) -> Iterator[str]:
    for number, row in enumerate(rows):
        if field not in row:
            raise ValueError(f"{where}: row {number} has no field '{field}', only {', '.join(row)}; name the field in the corpus")
        if not isinstance(row[field], str):
            found = type(row[field]).__name__
            raise ValueError(f"{where}: field '{field}' of row {number} is {found}, not text; leave the row out or correct it")
        yield row[field]


# --- the hub ----------------------------------------------------------------------------------------------------------


def _ask_hub(hub: Hub) -> None:
    """One request with a short limit; `load_dataset` itself retries for half a minute where there is no network."""
    from huggingface_hub import HfApi

    HfApi().dataset_info(hub.path, revision=hub.revision, timeout=HUB_SECONDS)


def _hub_source(name: str, hub: Hub) -> Source:
    splits = {split: hub_split for split in SPLITS if (hub_split := getattr(hub, split)) is not None}

    def documents() -> Iterator[tuple[str, str]]:
        from datasets import load_dataset

        for split, hub_split in splits.items():
            rows = load_dataset(hub.path, hub.name, split=hub_split, revision=hub.revision, streaming=True)
            texts = _field(rows, hub.field, f"corpus '{name}' of the hub ({hub.path})")
            if hub.form == "wikitext":
                texts = _articles(line or " \n" for line in texts)  # a row is a line, and the hub empties the empty ones
            if hub.form != "lines":
                texts = _not_blank(texts)
            if split == "train":
                yield from _split(texts, given=set(splits))
            else:
                yield from ((split, text) for text in texts)

    facts = {"kind": "hub", "path": hub.path, "name": hub.name, "revision": hub.revision}
    return Source(facts, documents)


# --- splits -----------------------------------------------------------------------------------------------------------


def _not_blank(texts: Iterable[str]) -> Iterator[str]:
    """Texts without the blank ones, which a separator at the end of a file leaves behind."""
    return (text for text in texts if text.strip())


def _split(texts: Iterable[str], given: set[str]) -> Iterator[tuple[str, str]]:
    """Documents of the train split; those go elsewhere whose hash says a split that is not given."""
    for text in texts:
        split = split_by_hash(text) if len(given) < len(SPLITS) else "train"
        yield ("train" if split in given else split), text


def _split_or_cut(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Documents split by hash, or a single document cut at line ends; that one is held in memory whole."""
    stream = iter(texts)
    first, second = next(stream, None), next(stream, None)
    if first is None:
        return
    if second is None:
        train = first.find("\n", int(0.90 * len(first))) + 1
        valid = first.find("\n", max(train, int(0.95 * len(first)))) + 1
        pieces = zip(SPLITS, (first[:train], first[train:valid], first[valid:]), strict=True)
        yield from ((split, piece) for split, piece in pieces if piece.strip())
        return
    yield from _split((text for some in ((first, second), stream) for text in some), given={"train"})
