import json
import shutil
import subprocess
from pathlib import Path

import pytest

from wavestack import artifacts, provenance, steps
from wavestack.params import Run
from wavestack.provenance import code_fingerprint, fingerprint
from wavestack.reading import load

RUN = "wavestack.training.run"
CHEBYSHEV, FOURIER = "wavestack.lanes.chebyshev:Chebyshev", "wavestack.lanes.fourier:Fourier"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that a test may edit."""
    shutil.copytree(provenance.PACKAGE, tmp_path / "wavestack", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "wavestack")
    provenance._module.cache_clear()
    yield tmp_path / "wavestack"
    provenance._module.cache_clear()


def edit(package: Path, module: str, old: str, new: str) -> None:
    path = package / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    provenance._module.cache_clear()


def test_comments_docstrings_and_layout_change_nothing(package):
    before = code_fingerprint([RUN, CHEBYSHEV])
    edit(package, "lanes/chebyshev.py", "    z = torch", "    # a comment\n\n    z = torch")
    edit(package, "lanes/projection.py", "The one operation", "The single operation")
    edit(package, "lanes/chebyshev.py", '"""Prefix kernel average', '"""Another docstring')
    assert code_fingerprint([RUN, CHEBYSHEV]) == before


def test_a_formula_changes_those_that_use_it_and_no_other(package):
    before = [code_fingerprint([RUN, CHEBYSHEV]), code_fingerprint([RUN, FOURIER])]
    edit(package, "lanes/chebyshev.py", "linspace(-1, 1", "linspace(-1, 0.5")
    after = [code_fingerprint([RUN, CHEBYSHEV]), code_fingerprint([RUN, FOURIER])]
    assert before[0] != after[0]
    assert before[1] == after[1]


def test_what_is_imported_counts(package):
    """The projection is not named by anyone; the lanes import it, and the wavelet does not."""
    wavelet = "wavestack.lanes.wavelet:Wavelet"
    before = {entry: code_fingerprint([entry]) for entry in (CHEBYSHEV, FOURIER, wavelet)}
    edit(package, "lanes/projection.py", "(queries @ keys.mT).tril_()", "torch.tril(queries @ keys.mT, -1)")
    changed = {entry for entry, mark in before.items() if code_fingerprint([entry]) != mark}
    assert changed == {CHEBYSHEV, FOURIER}


def test_a_new_unused_lane_and_plumbing_change_nothing(package):
    before = code_fingerprint([RUN, CHEBYSHEV])
    (package / "lanes" / "new.py").write_text("class New: ...\n")
    edit(package, "registry.py", "LANES = {", 'LANES = {\n    "new": "wavestack.lanes.new:New",')
    edit(package, "cli.py", "import logging", "import logging\nimport queue")
    assert code_fingerprint([RUN, CHEBYSHEV]) == before


def test_settings_count():
    assert fingerprint({"a": 1}, [CHEBYSHEV]) != fingerprint({"a": 2}, [CHEBYSHEV])
    assert fingerprint({"a": 1, "b": 2}, [CHEBYSHEV]) == fingerprint({"b": 2, "a": 1}, [CHEBYSHEV])


def test_a_step_s_fingerprint_is_of_what_it_reads():
    plain = load("params/smoke.yaml")
    run = Run("pydocs", "wavestack", "tiny", "base", 0)

    def moved(*overrides):
        other = load("params/smoke.yaml", overrides)
        pairs = {
            "corpus": [steps.corpus(p, "pydocs") for p in (plain, other)],
            "tokens": [steps.tokens(p, "pydocs") for p in (plain, other)],
            "train": [steps.train(p, run) for p in (plain, other)],
            "evaluate": [steps.evaluate(p, run) for p in (plain, other)],
            "length": [steps.length(p, "training-cpu-float32-tokens256", 64) for p in (plain, other)],
        }
        return {name for name, (a, b) in pairs.items() if a.fingerprint != b.fingerprint}

    assert moved() == set()
    assert moved("training.learning_rate=0.1") == {"train"}
    assert moved("corpora.pydocs.limit=1MB") == {"corpus"}
    assert moved("tokenizer.vocabulary=600") == {"tokens", "train"}
    assert moved("budgets.tiny.hidden=48") == {"train", "length"}
    assert moved("studies.lengths.threads=1") == {"length"}
    assert moved("training.threads=2") == {"train", "evaluate"}
    assert moved("studies.comparison.seeds=[0, 1]") == set()


def test_a_record_says_what_made_a_result(tmp_path):
    (tmp_path / "in.json").write_text("{}")
    with provenance.recorded(tmp_path, "step", {"a": 1}, "mark", [tmp_path / "in.json"]) as timing:
        timing["training"] = {"seconds": 1.5}
    record = json.loads((tmp_path / "step.provenance.json").read_text())
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert record["commit"] == head
    assert record["settings"] == {"a": 1}
    assert record["fingerprint"] == "mark"
    assert record["inputs"] == {str(tmp_path / "in.json"): artifacts.sha256(tmp_path / "in.json")}
    assert set(record["versions"]) >= {"python", "torch", "snakemake"}
    timing = json.loads((tmp_path / "step.timing.json").read_text())
    assert timing["training"] == {"seconds": 1.5}
    assert timing["peak_memory_bytes"] > 1e7


def test_a_step_that_fails_leaves_no_record(tmp_path):
    with pytest.raises(RuntimeError), provenance.recorded(tmp_path, "step", {}, "mark", []):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


# --- a module of a user's own ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A working directory with a user's lanes: a module, and a package that imports its own parts in all ways."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import math\nfrom wavestack.lanes.lane import Lane\nfrom rooted import SCALE\n\nA = SCALE * math.pi\n"
    )
    (tmp_path / "rooted.py").write_text("SCALE = 2\n")
    package = tmp_path / "lanes_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("from .wave import A\n")
    (package / "wave.py").write_text("from . import inner\nfrom .deeper.table import B\n\nA = inner.C + B\n")
    (package / "inner.py").write_text("C = 1\n")
    (package / "deeper").mkdir()
    (package / "deeper" / "table.py").write_text("from ..last import B\n")
    (package / "last.py").write_text("B = 2\n")
    provenance._module.cache_clear()
    yield tmp_path
    provenance._module.cache_clear()


@pytest.mark.parametrize(
    ("entry", "file"),
    [
        ("mine:Mean", "mine.py"),
        ("mine:Mean", "rooted.py"),
        *(("lanes_of_mine.wave:Mean", f"lanes_of_mine/{name}.py") for name in ("wave", "inner", "deeper/table", "last")),
        *(("lanes_of_mine:Mean", f"lanes_of_mine/{name}.py") for name in ("__init__", "wave", "last")),
    ],
)
def test_a_formula_of_a_user_s_own_counts_and_a_comment_does_not(own, entry, file):
    before = code_fingerprint([RUN, entry])
    text = (own / file).read_text()
    (own / file).write_text(f"# a comment\n{text}")
    provenance._module.cache_clear()
    assert code_fingerprint([RUN, entry]) == before
    (own / file).write_text(f"{text}\nD = 3\n")
    provenance._module.cache_clear()
    assert code_fingerprint([RUN, entry]) != before


def test_what_is_not_imported_and_what_has_no_source(own):
    before = code_fingerprint([RUN, "mine:Mean"])
    (own / "another.py").write_text("E = 4\n")
    assert code_fingerprint([RUN, "mine:Mean"]) == before
    with pytest.raises(ValueError, match="module 'nowhere' has no Python source"):
        code_fingerprint([RUN, "nowhere:Mean"])


def test_a_record_is_of_when_a_step_began(tmp_path, monkeypatch):
    """Meanwhile somebody edits the code, commits, and makes the input again."""
    monkeypatch.chdir(tmp_path)
    run = lambda *command: subprocess.run(command, check=True, capture_output=True)  # noqa: E731
    commit = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "--quiet", "--allow-empty", "-m", "m")
    run("git", "init", "--quiet")
    run(*commit)
    began = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    given = tmp_path / "in.json"
    given.write_text("{}")
    mark = artifacts.sha256(given)
    with provenance.recorded(tmp_path, "step", {}, "mark", [given]):
        run(*commit)
        given.write_text('{"other": 1}')
        (tmp_path / "mine.py").write_text("A = 1\n")
    record = json.loads((tmp_path / "step.provenance.json").read_text())
    assert (record["commit"], record["dirty"], record["inputs"]) == (began, False, {str(given): mark})
    assert provenance.commit()["dirty"]  # a module beside the Snakefile that is in no commit
    (tmp_path / "mine.py").unlink()
    for folder, counts in (("tests", False), ("benchmarks", False), ("lanes/own", True)):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mean.py").write_text("A = 1\n")
        assert provenance.commit()["dirty"] == counts, folder
