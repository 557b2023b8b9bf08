"""What can be wrong before anything is fetched; tests of the whole stand in `workflow/test_dvc.py`."""

import pytest

from wavestack.operations.restore import restore
from wavestack.reading import load

NO_HASH = "stages:\n  corpora@smoke:\n    outs: [{path: data/a}]\n"


@pytest.mark.parametrize("lock", ["", "[]", "stages:\n", "stages:\n<<<<<<< HEAD\n", "schema: '2.0'\n", NO_HASH])
def test_a_broken_lock_file_is_named_with_what_helps(tmp_path, monkeypatch, lock):
    parameters, profile = load("params/smoke.yaml"), tmp_path / "smoke.yaml"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.lock").write_text(lock)
    with pytest.raises(ValueError, match=r"dvc.lock cannot be read .*; take the one of a commit: git checkout HEAD -- dvc.lock"):
        restore(parameters, profile, tmp_path / "reports", None)
