"""The committed studies of trained models, made again from the committed losses of each document: no training, the same bytes."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wavestack.artifacts import read_json

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("study", ["comparison", "complementarity"])
def test_a_study_follows_from_the_losses_of_its_documents(study, tmp_path):
    shutil.copytree(ROOT / "params", tmp_path / "params")
    reports = Path(shutil.copytree(ROOT / "reports/findings-cpu", tmp_path / "reports/findings-cpu"))
    (tmp_path / "data/findings-cpu").mkdir(parents=True)
    (reports / "measures").rename(tmp_path / "data/findings-cpu/measures")
    committed = {path: path.read_bytes() for path in (reports / "studies").glob(f"{study}.*") if path.suffixes in ([".json"], [".csv"])}
    assert len(committed) == 2
    command = shlex.split(read_json(reports / f"studies/{study}.provenance.json")["command"])
    for path in committed:
        path.unlink()
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in committed} == committed
