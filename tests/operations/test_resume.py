"""Which trainings stand, though Snakemake has not seen their ends."""

import pytest

from wavestack.artifacts import sha256, write_json
from wavestack.operations.inventory import Result
from wavestack.operations.resume import current_trainings, runs
from wavestack.steps import Step


@pytest.fixture
def result(tmp_path):
    """A training of today's code, and of one input."""
    (tmp_path / "tokens.json").write_text("text as it was")
    (tmp_path / "training.json").write_text("{}")
    inputs = {str(tmp_path / "tokens.json"): sha256(tmp_path / "tokens.json")}
    write_json(tmp_path / "train.provenance.json", {"fingerprint": "today", "inputs": inputs})
    return Result("train", tmp_path / "training.json", tmp_path / "train.provenance.json", Step({}, "today"))


def test_it_stands_with_its_code_and_its_inputs(result):
    assert list(current_trainings([result])) == [result]


@pytest.mark.parametrize("change", ["other text", "no text", "other code", "no result"])
def test_it_does_not_without_them(result, tmp_path, change):
    """The text, since the fingerprint covers code and parameters alone."""
    match change:
        case "other text":
            (tmp_path / "tokens.json").write_text("text as it is")
        case "no text":
            (tmp_path / "tokens.json").unlink()
        case "other code":
            write_json(tmp_path / "train.provenance.json", {"fingerprint": "yesterday", "inputs": {}})
        case "no result":
            result.output.unlink()
    assert list(current_trainings([result])) == []


@pytest.mark.parametrize(
    ("command", "does"),
    [
        ("snakemake --cores", True),
        ("/a/bin/python3.11 /a/bin/snakemake -n", True),
        ("python -m snakemake", True),
        ("grep -rn snakemake .", False),
        ("vim snakemake", False),
        ("", False),
    ],
)
def test_a_command_that_names_a_program_need_not_run_it(command, does):
    assert runs(command.split(), "snakemake") is does
