"""Files that someone else made: refused with a message, nothing executed, nothing written outside."""

import json
import pickle
import subprocess

import pytest
import yaml
from test_corruption import Payload
from victim import BIN, ROOT

from wavestack.artifacts import sha256
from wavestack.reading import load as load_parameters
from wavestack.training.checkpoint import facts_sha256, load_model

SMOKE = ROOT / "params/smoke.yaml"


def profile(folder, **changes):
    """A profile of the project's, changed, with the other files beside it."""
    folder.mkdir(exist_ok=True)
    for name in ("models.yaml", "corpora.yaml"):
        (folder / name).write_text((ROOT / "params" / name).read_text())
    catalogues = {"models": str(folder / "models.yaml"), "catalogue": str(folder / "corpora.yaml")}
    content = yaml.safe_load(SMOKE.read_text()) | catalogues | changes
    (folder / "mine.yaml").write_text(yaml.safe_dump(content))
    return folder / "mine.yaml"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 7,
        (2**63).to_bytes(8, "little") + b"{}",
        (10).to_bytes(8, "little") + b"{not json}",
        pickle.dumps(Payload()),
        b"PK\3\4" * 99,
    ],
    ids=["empty", "short", "a header of exabytes", "a header that is no JSON", "a pickle", "a zip"],
)
def test_weights_that_are_no_safetensors_though_their_hash_is_right(tmp_path, monkeypatch, outcomes, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.safetensors").write_bytes(content)
    facts = {"sha256": sha256(tmp_path / "best.safetensors"), "architecture": {}}
    (tmp_path / "best.json").write_text(json.dumps({**facts, "facts_sha256": facts_sha256(facts)}))
    with pytest.raises(ValueError, match="is no safetensors file"):
        load_model(tmp_path / "best")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.json", "best.safetensors"]
    outcomes["hostile weights, their hash right", "refused, nothing executed or written"] += 1


@pytest.mark.parametrize(
    "text",
    [
        "corpora: !!python/object/apply:os.system ['touch executed']",
        "corpora: !!python/object/new:subprocess.check_call [['touch', 'executed']]",
        "corpora: !unknown {}",
        "[" * 100_000,
        "corpora: {a: &a {b: *a}}",
        "\x00",
        "? {a: b}\n: c",
    ],
    ids=["a call", "an object", "an unknown tag", "nested deeply", "itself inside", "no text", "a mapping as key"],
)
def test_parameters_that_are_no_parameters(tmp_path, monkeypatch, outcomes, text):
    monkeypatch.chdir(tmp_path)
    path = profile(tmp_path)
    path.write_text(text)
    with pytest.raises(ValueError, match=r"mine\.yaml"):
        load_parameters(path)
    assert not (tmp_path / "executed").exists()
    outcomes["hostile parameter file", "refused, nothing executed"] += 1


@pytest.mark.parametrize("name", ["../evil", "a/../../b", "/etc", "..", "a b", "-rf", "a\nb", "", "~"])
def test_names_that_would_be_paths(tmp_path, outcomes, name):
    for changes in (
        {"corpora": {name: {}}},
        {"budgets": {name: {"hidden": 32, "blocks": 1, "context": 32, "parameters": 24_000, "tokens": 9999}}},
    ):
        with pytest.raises(ValueError, match=r"mine\.yaml"):
            load_parameters(profile(tmp_path, **changes))
    path = profile(tmp_path)
    models = yaml.safe_load((tmp_path / "models.yaml").read_text()) | {name: {"model": "transformer"}}
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    with pytest.raises(ValueError, match=r"models\.yaml"):
        load_parameters(path)
    outcomes["a name that would be a path", "refused"] += 1


@pytest.mark.parametrize("run", ["../../etc/passwd", "pydocs/../x/tiny/base/seed0", "pydocs/wavestack/tiny/base/seed../0"])
def test_runs_that_would_be_paths(tmp_path, outcomes, run):
    told = subprocess.run(
        [BIN / "wavestack", "train", run, "--tokens", "t", "--data", "d", "--reports", "r", "--params", profile(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr.startswith("wavestack: ")
    assert not (tmp_path / "d").exists()
    outcomes["a run that would be a path", "refused, nothing written"] += 1


@pytest.mark.nightly
def test_a_line_of_a_hundred_megabytes_is_a_document(tmp_path):
    """It is one of three, takes memory in proportion, and neither hangs nor breaks the step."""
    raw = tmp_path / "data/raw/long"
    raw.mkdir(parents=True)
    for split in ("train", "valid", "test"):
        lines = ["a short line", "word " * 20_000_000 if split == "train" else "another"]
        (raw / f"{split}.txt").write_text("\n".join(lines))
    path = profile(tmp_path, corpora={"long": {}})
    corpora = {"long": {"licence": "none", "files": {"form": "lines", "train": "train.txt", "valid": "valid.txt", "test": "test.txt"}}}
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump(corpora))
    smoke = yaml.safe_load(path.read_text())
    smoke |= {
        "corpora": {"long": {}},
        "tokenizer": {"kind": "bytes"},
        "studies": {"comparison": {**smoke["studies"]["comparison"], "corpora": ["long"]}},
    }
    path.write_text(yaml.safe_dump(smoke))
    for command in (
        ["corpus", "long", "--data", "c", "--reports", "r"],
        ["tokens", "long", "--corpus", "c", "--data", "t", "--reports", "r"],
    ):
        told = subprocess.run(
            [BIN / "wavestack", *command, "--params", path], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
        )
        assert told.returncode == 0, told.stderr
    manifest = json.loads((tmp_path / "t/manifest.json").read_text())
    assert manifest["splits"]["train"]["tokens"] > 100_000_000
