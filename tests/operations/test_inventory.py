"""Which results are of today's code and parameters."""

from wavestack.artifacts import sha256, write_json
from wavestack.operations.inventory import Result, met
from wavestack.reading import load
from wavestack.steps import Step

SMOKE = "params/smoke.yaml"


def test_a_ledger_says_that_budgets_are_met_for_its_own_code_and_parameters_alone(command, tmp_path):
    assert not met(load(SMOKE), tmp_path)
    done = command("budget", "--params", SMOKE, "--reports", tmp_path / "budget")
    assert done.returncode == 0, done.stderr
    assert met(load(SMOKE), tmp_path)
    for other in ("budgets.tiny.parameters=41000", "tokenizer.vocabulary=600", "studies.lengths.vocabulary=600"):
        assert not met(load(SMOKE, [other]), tmp_path), other
    (tmp_path / "budget" / "ledger.json").unlink()
    assert not met(load(SMOKE), tmp_path)


def test_a_checkpoint_that_was_not_made_with_its_light_result_is_told(tmp_path):
    """As where a clone has the light result of one training, by git, and the checkpoint of another, by DVC."""
    light, checkpoint, record = (tmp_path / name for name in ("training.json", "best.json", "train.provenance.json"))
    result = Result("train", light, record, Step({}, "mark"))
    light.touch()
    checkpoint.write_text("of this training")
    write_json(record, {"fingerprint": "mark", "inputs": {}, "outputs": {str(checkpoint): sha256(checkpoint)}})
    assert result.problem() is None
    checkpoint.write_text("of another one")
    assert result.problem() == f"{checkpoint} is not what was made with {light}"
    checkpoint.unlink()  # it is made again, or fetched
    assert result.problem() is None
