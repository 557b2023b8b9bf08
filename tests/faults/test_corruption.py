"""Checkpoints that are not what was written: the one before is used, the fault is named, and the end is the same."""

import pickle
import shutil

import pytest


def truncated(share: float):
    def damage(path):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return damage


def without_last_byte(path):
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def digit_flipped(path):
    """In the best loss so far: still JSON, and a number."""
    before, nats, after = path.read_text().partition('"best_nats": ')
    assert nats
    path.write_text(f"{before}{nats}{int(after[0]) ^ 1}{after[1:]}")


def gone(path):
    path.unlink()


def replaced(content: bytes):
    return lambda path: path.write_bytes(content)


class Payload:
    """Unpickled, it would leave a file behind."""

    def __reduce__(self):
        return (open, ("executed", "w"))


FAULTS = {
    "header cut": (truncated(0.0005), "safetensors", "is not what was written"),
    "middle cut": (truncated(0.5), "safetensors", "is not what was written"),
    "last byte cut": (without_last_byte, "safetensors", "is not what was written"),
    "bit flipped": (flipped, "safetensors", "is not what was written"),
    "no weights": (gone, "safetensors", "does not exist, though its JSON does"),
    "a pickle": (replaced(pickle.dumps(Payload())), "safetensors", "is not what was written"),
    "no marker": (gone, "json", "does not exist"),
    "marker, a digit flipped": (digit_flipped, "json", "is not what was written"),
    "marker cut": (truncated(0.5), "json", "is not JSON"),
    "marker empty": (replaced(b""), "json", "is not JSON"),
    "marker a list": (replaced(b"[]"), "json", "is not what was written"),
    "marker nested deeply": (replaced(b"[" * 100_000), "json", "is not JSON"),
}

OFTEN = ("middle cut", "marker, a digit flipped")


@pytest.fixture(scope="session")
def stopped(whole, sources, once):
    """A training that was stopped on the way, with two checkpoints."""

    def make(folder):
        project = type(whole)(shutil.copytree(sources, folder / "project", symlinks=True))
        shutil.copytree(whole.data / "tokens", project.data / "tokens")
        fault = {"FAULT": "computing 55 training", "FAULT_DONE": str(project.folder / "killed")}
        status, told = project.run(*project.training(), **fault)
        assert status == -9, told

    return type(whole)(once("stopped", make) / "project")


@pytest.mark.parametrize("fault", [fault if fault in OFTEN else pytest.param(fault, marks=pytest.mark.nightly) for fault in FAULTS])
def test_the_checkpoint_before_is_used_and_the_fault_named(whole, stopped, tmp_path, outcomes, fault):
    damage, kind, named = FAULTS[fault]
    shutil.copytree(stopped.folder / "alone", stopped.folder / fault)
    newest, before = sorted((stopped.folder / fault / "data/checkpoints").glob("step*.json"), reverse=True)
    assert (newest.stem, before.stem) == ("step00000050", "step00000040")
    damage(newest.with_suffix(f".{kind}"))
    status, told = stopped.run(*stopped.training(fault))
    assert status == 0, told
    assert "resumed at step 40" in told
    assert f"checkpoint passed over: {fault}/data/checkpoints/step00000050.{kind} {named}" in told, told
    for name in ("best.safetensors", "last.safetensors"):
        ours = next(path for path in whole.data.rglob(name))
        assert (stopped.folder / fault / "data" / name).read_bytes() == ours.read_bytes()
    assert not (stopped.folder / "executed").exists()
    outcomes[f"checkpoint, {fault}", "the one before is used, the same bytes"] += 1
