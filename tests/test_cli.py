"""The command line as a user meets it: real processes, exit statuses and messages."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml


def wavestack(*arguments, **options):
    command = [Path(sys.executable).parent / "wavestack", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_check_passes_what_is_right():
    done = wavestack("check", "params/smoke.yaml")
    assert (done.returncode, done.stdout) == (0, "params/smoke.yaml: 4 runs, no errors\n")


def test_check_tells_all_errors_and_no_traceback(tmp_path):
    profile = yaml.safe_load(Path("params/smoke.yaml").read_text())
    profile["training"]["batch"] = 0
    profile["tokenizr"] = {}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(profile))
    done = wavestack("check", str(tmp_path / "wrong.yaml"))
    assert done.returncode == 1
    assert "2 errors in the parameters" in done.stderr
    assert "tokenizr: unknown key; did you mean 'tokenizer'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_tells_budgets_that_cannot_be_met():
    done = wavestack("check", "params/smoke.yaml", "--set", "budgets.tiny.parameters=500")
    assert done.returncode == 1
    assert "the budget of 500 non-embedding parameters cannot be met" in done.stderr
    assert "budgets.tiny: transformer, base, on pydocs" in done.stderr


def test_a_lane_that_does_not_fit_the_context_is_told_before_anything_starts():
    done = wavestack("check", "params/smoke.yaml", "--set", "budgets.tiny.context=12")
    assert done.returncode == 1
    assert "12" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "pydocs/wavestack/tiny/base/seed0", "--fingerprint", "0"], "code or parameters changed after the workflow was started"),
        (["train", "pydocs/wavestak/tiny/base/seed0"], "unknown spec 'wavestak'; did you mean 'wavestack'?"),
        (["train", "pydocs/wavestack/tiny/base/seed0"], "manifest.json does not exist"),
        (["evaluate", "pydocs/wavestack/tiny/base/seed0"], "training.json does not exist"),
    ],
)
def test_what_a_user_can_cause_is_one_message(tmp_path, arguments, message):
    folders = ["--tokens", tmp_path / "tokens", "--data", tmp_path / "data", "--reports", tmp_path / "reports"]
    done = wavestack(*arguments, *folders, "--params", "params/smoke.yaml")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "reports" / "train.provenance.json").exists()


def test_unknown_corpus_and_study(tmp_path):
    done = wavestack("corpus", "pydoc", "--data", tmp_path, "--reports", tmp_path, "--params", "params/smoke.yaml")
    assert (done.returncode, "did you mean 'pydocs'" in done.stderr) == (1, True)
    done = wavestack("study", "ablations", "--reports", tmp_path, "--params", "params/smoke.yaml")
    assert (done.returncode, "known: comparison, ablation, lengths" in done.stderr) == (1, True)


def test_a_broken_contract_is_told_with_check_position_and_size(tmp_path):
    """A user's model that looks ahead is registered by a few lines of their own, and refused."""
    script = (
        "import torch, wavestack.lanes.fourier as f\n"
        "honest = f.Fourier.forward\n"
        "f.Fourier.forward = lambda self, x, state=None: (honest(self, x.flip(1), state)[0].flip(1), None)\n"
        "import sys; sys.argv = ['wavestack', 'contract', 'wavestack', '--budget', 'tiny', '--reports', sys.argv[1],"
        " '--params', 'params/smoke.yaml']\n"
        "from wavestack.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "wavestack/tiny/base: causality by perturbation (float32) BROKEN, position 0, largest relative difference" in done.stderr
    assert list(tmp_path.iterdir()) == []
