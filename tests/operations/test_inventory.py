"""Which results are of today's code and parameters."""

import subprocess
import sys
from pathlib import Path

from wavestack.operations.inventory import met
from wavestack.reading import load

SMOKE = "params/smoke.yaml"


def test_a_ledger_says_that_budgets_are_met_for_its_own_code_and_parameters_alone(tmp_path):
    assert not met(load(SMOKE), tmp_path)
    command = [Path(sys.executable).parent / "wavestack", "budget", "--params", SMOKE, "--reports", tmp_path / "budget"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert met(load(SMOKE), tmp_path)
    for other in ("budgets.tiny.parameters=41000", "tokenizer.vocabulary=600", "studies.lengths.vocabulary=600"):
        assert not met(load(SMOKE, [other]), tmp_path), other
    (tmp_path / "budget" / "ledger.json").unlink()
    assert not met(load(SMOKE), tmp_path)
