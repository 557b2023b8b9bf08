"""The committed studies, made again from the committed losses of each document and times of each length, and findings, made again from
these: no training, the same bytes.

Exponents are fitted by LAPACK, whose last digit depends on the processor; they are the same but for that.
"""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from wavestack.artifacts import read_json
from wavestack.reading import load
from wavestack.studies.findings import write_findings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("profile", "study"),
    [
        ("findings-cpu", "comparison"),
        ("findings-cpu", "test"),
        ("findings-cpu", "ablation"),
        ("findings-cpu", "complementarity"),
        ("findings-cpu", "sizes"),
        ("findings-cpu", "audit"),
        pytest.param("hybrids-cpu", "comparison", marks=pytest.mark.nightly),
        pytest.param("baseline-cpu", "comparison", marks=pytest.mark.nightly),
        ("controls-cpu", "sizes"),
        pytest.param("gpu", "audit", marks=pytest.mark.nightly),
        ("findings-cpu", "lengths"),
        pytest.param("gpu", "lengths", marks=pytest.mark.nightly),
    ],
)
def test_a_study_follows_from_what_was_measured(profile, study, tmp_path, command):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    # thousands of files, of which none is written: a result takes the place of what has its name
    reports = Path(shutil.copytree(ROOT / "reports" / profile, tmp_path / "reports" / profile, copy_function=os.symlink))
    (tmp_path / "data" / profile).mkdir(parents=True)
    (reports / "measures").rename(tmp_path / "data" / profile / "measures")
    committed = {path: path.read_bytes() for path in (reports / "studies").glob(f"{study}.*") if path.suffixes in ([".json"], [".csv"])}
    assert len(committed) == 2
    told = read_json(reports / f"studies/{study}.provenance.json")["command"]
    _, *arguments = shlex.split(told.partition(" --fingerprint ")[0])  # the workflow's own: of the code of then
    for path in committed:
        path.unlink()
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if study == "lengths":
        assert {path: digits(path.read_bytes()) for path in committed} == {path: digits(content) for path, content in committed.items()}
    else:
        assert {path: path.read_bytes() for path in committed} == committed


@pytest.mark.parametrize("profile", sorted(path.parent.name for path in (ROOT / "reports").glob("*/findings.json")))
def test_findings_are_those_of_today_s_code(profile, tmp_path):
    for name in (profile, "benchmarks"):
        shutil.copytree(ROOT / "reports" / name, tmp_path / "reports" / name, copy_function=os.symlink)
    files = [tmp_path / "reports" / profile / name for name in ("findings.json", "findings.md")]
    committed = [digits(path.read_bytes()) for path in files]
    for path in files:
        path.unlink()
    write_findings(load(ROOT / "params" / f"{profile}.yaml"), tmp_path / "reports" / profile)
    assert [digits(path.read_bytes()) for path in files] == committed


def digits(content: bytes) -> str:
    """With twelve digits of every number."""
    return re.sub(r"-?\d+\.\d+(?:e[+-]?\d+)?", lambda found: f"{float(found[0]):.11e}", content.decode())
