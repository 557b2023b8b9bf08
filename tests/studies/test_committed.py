"""The committed studies, made again from the committed losses of each document and times of each length: no training, the same bytes.

Exponents are fitted by LAPACK, whose last digit depends on the processor; they are the same but for that.
"""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from wavestack.artifacts import read_json
from wavestack.cli import main

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
        pytest.param("gpu", "audit", marks=pytest.mark.nightly),
        ("gpu", "lengths"),
    ],
)
def test_a_study_follows_from_what_was_measured(profile, study, tmp_path, monkeypatch):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    reports = Path(shutil.copytree(ROOT / "reports" / profile, tmp_path / "reports" / profile))
    (tmp_path / "data" / profile).mkdir(parents=True)
    (reports / "measures").rename(tmp_path / "data" / profile / "measures")
    committed = {path: path.read_bytes() for path in (reports / "studies").glob(f"{study}.*") if path.suffixes in ([".json"], [".csv"])}
    assert len(committed) == 2
    told = read_json(reports / f"studies/{study}.provenance.json")["command"]
    command = shlex.split(told.partition(" --fingerprint ")[0])  # the workflow's own: of the code of then
    for path in committed:
        path.unlink()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    if study == "lengths":
        assert {path: digits(path.read_bytes()) for path in committed} == {path: digits(content) for path, content in committed.items()}
    else:
        assert {path: path.read_bytes() for path in committed} == committed


def digits(content: bytes) -> str:
    """With twelve digits of every number."""
    return re.sub(r"-?\d+\.\d+(?:e[+-]?\d+)?", lambda found: f"{float(found[0]):.11e}", content.decode())
