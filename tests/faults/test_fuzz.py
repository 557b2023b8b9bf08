"""Parameter files, token files and checkpoints with anything in them: a ValueError, or what they say. 300 cases, nightly 10,000."""

import json
import shutil

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from victim import ROOT

from wavestack.artifacts import sha256
from wavestack.corpora.tokens import TokenFile
from wavestack.reading import load as load_parameters
from wavestack.training.checkpoint import Checkpoints, facts_sha256, load, save

SMOKE = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["pydocs", "wavestack", "tiny", "-1"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)
OFTEN = pytest.mark.parametrize("cases", [pytest.param(100, id="100"), pytest.param(3400, id="3400", marks=pytest.mark.nightly)])


def many(cases: int):
    return settings(max_examples=cases, deadline=None, suppress_health_check=list(HealthCheck), database=None)


def places(content, path=()):
    """Every place in a nested mapping or list."""
    yield path
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def put(content, path, value):
    """The content with another value at a place."""
    if not path:
        return value
    changed = dict(content) if isinstance(content, dict) else list(content)
    changed[path[0]] = put(content[path[0]], path[1:], value)
    return changed


@OFTEN
def test_parameter_files(tmp_path, outcomes, cases):
    for name in ("models.yaml", "corpora.yaml"):
        shutil.copy(ROOT / "params" / name, tmp_path)
    path = tmp_path / "mine.yaml"

    @many(cases)
    @given(st.lists(st.tuples(st.sampled_from(sorted(places(SMOKE), key=str)), VALUES), min_size=1, max_size=3))
    def check(changes):
        content = SMOKE
        for place, value in changes:
            if place in set(places(content)):
                content = put(content, place, value)
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        try:
            assert load_parameters(path).runs()
        except ValueError as error:
            told = str(error)
        else:
            told = "mine.yaml"
        assert "mine.yaml" in told

    check()
    outcomes["parameter files with anything in them", "a ValueError, or what they say"] += cases


@OFTEN
def test_token_files(tokens, tmp_path, outcomes, cases):
    """Any file of the folder cut, changed or replaced: told, or read as what its manifest tells."""
    honest = {path.name: path.read_bytes() for path in tokens.iterdir() if path.is_file()}
    manifest = json.loads(honest["manifest.json"])

    @many(cases)
    @given(st.data())
    def check(data):
        for name, content in honest.items():
            (tmp_path / name).write_bytes(content)
        name = data.draw(st.sampled_from(["manifest.json", "train.tokens", "train.documents.parquet"]))
        if name == "manifest.json" and data.draw(st.booleans()):
            changed = put(manifest, data.draw(st.sampled_from(sorted(places(manifest), key=str))), data.draw(VALUES))
            (tmp_path / name).write_text(json.dumps(changed))
        else:
            (tmp_path / name).write_bytes(damaged(data, honest[name]))
        try:
            file = TokenFile.open(tmp_path, "train")
        except ValueError:
            return
        assert file.stream.tobytes() == honest["train.tokens"]

    check()
    outcomes["token files with anything in them", "a ValueError, or what they say"] += cases


@OFTEN
def test_checkpoints(tmp_path, outcomes, cases):
    """Damaged, a checkpoint is never taken for whole; damaged with hashes that fit, it may be, but nothing else happens."""
    save(tmp_path / "honest", {"x": torch.arange(8.0), "y": torch.zeros(2, 3)}, {"step": 3, "fingerprint": "mark"})
    honest = load(tmp_path / "honest")[1]
    weights, marker = ((tmp_path / f"honest.{kind}").read_bytes() for kind in ("safetensors", "json"))
    folder = tmp_path / "checkpoints"
    folder.mkdir()

    @many(cases)
    @given(st.data())
    def check(data):
        path = folder / "step00000003"
        kind = data.draw(st.sampled_from(["weights", "marker", "both", "weights that fit"]))
        path.with_suffix(".safetensors").write_bytes(damaged(data, weights) if "weights" in kind or kind == "both" else weights)
        path.with_suffix(".json").write_bytes(damaged(data, marker) if kind in ("marker", "both") else marker)
        if kind == "weights that fit":
            facts = {**honest, "sha256": sha256(path.with_suffix(".safetensors"))}
            path.with_suffix(".json").write_text(json.dumps({**facts, "facts_sha256": facts_sha256(facts)}))
        changed = path.with_suffix(".safetensors").read_bytes() != weights
        try:
            tensors, facts = load(path)
        except ValueError as error:
            told = str(error)
        else:
            told = str(path)
            assert kind == "weights that fit" or (not changed and facts == honest)
            assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
        assert "step00000003" in told
        Checkpoints(folder, "mark").newest()

    check()
    outcomes["checkpoints with anything in them", "a ValueError, or what they say"] += cases


def damaged(data, content: bytes) -> bytes:
    """Cut, changed at some places, or anything else."""
    how = data.draw(st.sampled_from(["cut", "changed", "other"]))
    if how == "other":
        return data.draw(st.binary(max_size=64))
    if how == "cut":
        return content[: data.draw(st.integers(0, max(0, len(content) - 1)))]
    changed = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), min_size=1, max_size=4)):
        changed[place] ^= data.draw(st.integers(1, 255))
    return bytes(changed)
