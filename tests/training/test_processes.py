"""Several processes on gloo against one: the same losses, random states and weights."""

import os
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import torch

from wavestack.schema import Training
from wavestack.training.checkpoint import load
from wavestack.training.processes import Processes, joined

WORKER = Path(__file__).with_name("train_together.py")


def train_together(folder: Path, tokens: Path, processes: int, spec: str, *options: str, nodes: int = 1) -> dict:
    """A training of 20 steps of 7 sequences; what its process 0 left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [
        subprocess.Popen(
            [
                *(Path(sys.executable).parent / "torchrun", "--nnodes", str(nodes), "--nproc-per-node", str(processes // nodes)),
                *("--node-rank", str(node), "--master-addr", "127.0.0.1", "--master-port", str(port)),
                *(WORKER, folder, tokens, spec, *options),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for node in range(nodes)
    ]
    for process in started:
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0, told
    tensors, facts = load(folder / "trained")
    return {"tensors": tensors, **facts}


@pytest.fixture(scope="module")
def in_one_process(tokens, tmp_path_factory):
    return cache(lambda spec: train_together(tmp_path_factory.mktemp("one"), tokens, 1, spec))


@pytest.mark.parametrize(
    ("spec", "sharded"),
    [
        ("wavestack", ["--sharded"]),
        pytest.param("wavestack", [], marks=pytest.mark.nightly),
        pytest.param("transformer", [], marks=pytest.mark.nightly),
        pytest.param("transformer", ["--sharded"], marks=pytest.mark.nightly),
    ],
)
def test_two_processes_agree_with_one_though_their_rows_are_not_equally_many(spec, sharded, in_one_process, tokens, tmp_path):
    one = in_one_process(spec)
    two = train_together(tmp_path / "two", tokens, 2, spec, *sharded)
    weights = sum(tensor.numel() for tensor in one["tensors"].values())
    assert one["held"] == weights
    assert two["held"] == (pytest.approx(weights / 2, rel=0.02) if sharded else weights)  # the first has a row more of an odd matrix
    assert len(one["curve"]) == len(two["curve"]) == 21
    for alone, together in zip(one["curve"], two["curve"], strict=True):
        for loss in ("train_nats", "valid_nats"):
            if alone[loss] is not None:
                assert together[loss] == pytest.approx(alone[loss], abs=1e-6), alone["step"]
    for name, tensor in one["tensors"].items():
        assert torch.allclose(two["tensors"][name], tensor, atol=1e-4), name


@pytest.mark.nightly
def test_a_sharded_training_that_stops_on_the_way_gives_the_same_bits(tokens, tmp_path):
    """Weights and moments are put together for the checkpoint, and shared out again."""
    whole = train_together(tmp_path / "whole", tokens, 2, "wavestack", "--sharded", "--dropout", "0.1")
    stopped = train_together(tmp_path / "stopped", tokens, 2, "wavestack", "--sharded", "--dropout", "0.1", "--stop", "11")
    assert whole["curve"] == stopped["curve"]
    for name, tensor in whole["tensors"].items():
        assert torch.equal(stopped["tensors"][name], tensor), name


@pytest.mark.nightly
def test_two_nodes_and_a_stop_on_the_way_give_the_same_bits(tokens, tmp_path):
    """Dropout draws from the random state of each process, which comes back with the checkpoint."""
    whole = train_together(tmp_path / "whole", tokens, 2, "wavestack", "--dropout", "0.1")
    nodes = train_together(tmp_path / "nodes", tokens, 2, "wavestack", "--dropout", "0.1", nodes=2)
    stopped = train_together(tmp_path / "stopped", tokens, 2, "wavestack", "--dropout", "0.1", "--stop", "5")
    assert whole["curve"] == nodes["curve"] == stopped["curve"]
    for name, tensor in whole["tensors"].items():
        assert torch.equal(stopped["tensors"][name], tensor), name


def test_as_many_processes_as_the_parameters_say(monkeypatch):
    with pytest.raises(ValueError, match=r"ask for training\.processes: 2, and 1 were started"), joined("cpu", 2):
        pass
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match=r"ask for training\.processes: 1, and 3 were started"), joined("cpu", 1):
        pass


def test_every_row_is_in_one_process():
    rows = torch.arange(7)
    parts = [Processes("cpu", rank, 3).rows(rows) for rank in range(3)]
    assert [len(part) for part in parts] == [3, 2, 2]
    assert torch.equal(torch.cat(parts), rows)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"batch": 2, "processes": 3}, "at most as many processes as batch has sequences"),
        ({"batch": 8, "processes": 4, "accumulation": 4}, "an accumulation that, times processes, divides batch"),
        ({"batch": 8, "sharded": True}, "several processes to hold a sharded model"),
    ],
)
def test_batches_that_cannot_be_shared_are_refused(settings, reason):
    with pytest.raises(ValueError, match=reason):
        Training(**settings)
