"""A small real corpus as token files, and parameters to train on it, for the tests of all rooms."""

import contextlib
import io
import os
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from unittest import mock

import pyarrow
import pyarrow.parquet
import pytest
import torch
from filelock import FileLock

from wavestack.cli import main
from wavestack.corpora.tokens import write_tokens
from wavestack.params import ModelSpec
from wavestack.schema import Budget, Corpus, Tokenizer

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "and", "then", "it", "saw", "one", "two", "three"]
LANES = {"chebyshev": {"order": 4}, "fourier": {"frequencies": 5}, "wavelet": {"wavelet": "db2", "levels": 2}}


FAULTS: Counter[tuple[str, str]] = Counter()  # and what came of them, from all processes of a test run


def pytest_runtest_logreport(report):
    if report.when == "teardown":
        FAULTS.update({(fault, outcome): count for kind, (fault, outcome, count) in report.user_properties if kind == "fault"})


def pytest_terminal_summary(terminalreporter):
    if FAULTS:
        terminalreporter.section("faults, how often, and what came of them")
        width = max(len(fault) for fault, _ in FAULTS)
        for (fault, outcome), count in sorted(FAULTS.items()):
            terminalreporter.line(f"{fault:<{width}}  {count:>4}  {outcome}")


@pytest.fixture(autouse=True)
def _one_thread_and_plain_algorithms():
    """Trainings set these for the whole process; a test leaves them as it found them."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture
def command(monkeypatch) -> Callable[..., CompletedProcess]:
    """`wavestack` with these arguments, without the seconds that a process of its own takes to load PyTorch."""

    def call(*arguments: object, cwd: Path | None = None) -> CompletedProcess:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        line = ["wavestack", *map(str, arguments)]
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
            with mock.patch.object(sys, "argv", line), mock.patch.dict(os.environ), pytest.raises(SystemExit) as left:
                main()
            message = left.value.code if isinstance(left.value.code, str) else ""  # the interpreter prints it, and leaves with 1
        status = 1 if message else left.value.code or 0
        return CompletedProcess(line, status, out.getvalue(), error.getvalue() + message + "\n" * bool(message))

    return call


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder that all processes of a test run share: the first one that asks makes it, the others wait for it."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, complete = shared / name, shared / f"{name}.complete"
        with FileLock(shared / f"{name}.lock"):
            if not complete.exists():
                folder.mkdir()
                make(folder)
                complete.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def texts() -> dict[str, list[str]]:
    """Documents of very different lengths, one of a single byte among them."""
    draw = random.Random(7)
    documents = [" ".join(draw.choices(WORDS, k=draw.randint(1, 60))) for _ in range(120)]
    return {"train": documents[:100], "valid": ["x", *documents[100:112]], "test": documents[112:]}


@pytest.fixture(scope="session")
def tokens(texts, tmp_path_factory) -> Path:
    """The corpus in bytes: vocabulary 257, so every token can be checked by eye."""
    folder = tmp_path_factory.mktemp("corpus")
    for split, documents in texts.items():
        pyarrow.parquet.write_table(pyarrow.table({"text": documents}), folder / f"{split}.parquet")
    corpus = Corpus(licence="none", python="docs")
    write_tokens("words", corpus, Tokenizer(kind="bytes"), folder, folder / "tokens", folder / "reports")
    return folder / "tokens"


@pytest.fixture
def budget() -> Budget:
    return Budget(hidden=16, blocks=2, context=32, parameters=14_000, tokens=16 * 32 * 4)


@pytest.fixture
def wavestack() -> ModelSpec:
    return ModelSpec("wavestack", {"lanes": LANES, "mixer": "gated", "convolution": 3})


@pytest.fixture
def transformer() -> ModelSpec:
    return ModelSpec("transformer", {"head_width": 8})
