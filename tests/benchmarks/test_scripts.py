"""Every benchmark runs as its docstring says, at sizes that take no time, and leaves what the report reads."""

import subprocess
import sys
from pathlib import Path

import lanes
import linear
import memory
import pandas
import pytest
import step
import torch
from block import equal_stack, specs_of, transformer_stack
from decoding import lengthened, prefilled, size
from measure import Case

from wavestack import registry
from wavestack.artifacts import read_json
from wavestack.lanes.chebyshev import Chebyshev
from wavestack.lanes.fourier import Fourier
from wavestack.params import ModelSpec
from wavestack.report.sections import speed

ROOT = Path(__file__).parents[2]
QUICK, SMOKE = ROOT / "params/quick.yaml", ROOT / "params/smoke.yaml"
TINY = {
    "lanes": ["--lengths", "128", "--tokens", "256", "--hidden", "8", "--threads", "1"],
    "linear": ["fourier", "wavelet", "attention", "--short", "128", "--long", "256", "--hidden", "32", "--threads", "1"],
    "block": ["--lengths", "256", "--tokens", "256", "--hidden", "64", "--threads", "1"],
    "memory": ["--length", "256", "--hidden", "64", "--threads", "1"],
    "decoding": ["--near", "16", "--far", "64", "--hidden", "64", "--blocks", "1", "--threads", "1"],
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.nightly) if name == "memory" else name for name in TINY])
def test_a_script_writes_rows_whose_ratios_are_those_of_its_medians(name, tmp_path):
    if name == "memory" and sys.platform != "linux":
        pytest.skip("there is no high-water mark to reset")
    command = [sys.executable, f"benchmarks/{name}.py", *TINY[name], "--repeats", "2", "--reports", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    frame = pandas.read_csv(tmp_path / f"{name}.csv")
    assert (frame["benchmark"] == name).all()
    assert ((frame["low"] <= frame["median"]) & (frame["median"] <= frame["high"])).all()
    compared = frame.dropna(subset=["against"])
    assert len(compared)
    for row in compared.to_dict("records"):
        ours, theirs = row["median"], row["against_median"]
        assert row["ratio"] == pytest.approx(theirs / ours if row["ratio_of"] == "speed" else ours / theirs)
        assert theirs in set(frame[(frame["case"] == row["case"]) & (frame["contender"] == row["against"])]["median"])
    made = read_json(tmp_path / f"{name}.provenance.json")
    assert made["command"].startswith(f"python benchmarks/{name}.py")
    assert {f"benchmarks/{name}.py", "benchmarks/measure.py"} <= set(made["inputs"])
    assert made["settings"]["about"].endswith(".")
    assert len(speed.table(frame.astype("object").where(frame.notna(), None).to_dict("records")).rows) == len(compared)


@pytest.mark.parametrize("order", [1, 4, 64])
def test_the_published_sums_are_what_the_lanes_give(order):
    torch.manual_seed(0)
    lane, fourier = Chebyshev(8, 96, order=order), Fourier(8, 96, frequencies=min(order, 49))
    for known, bases in ((lane, (lanes.polynomials(96, order),)), (fourier, lanes.waves(96, min(order, 49)))):
        case = Case("lanes", "x")
        assert len(lanes.measured(case, known, bases, tokens=192, repeats=2)) == 4  # raises where they disagree


def test_what_disagrees_is_not_timed():
    with pytest.raises(ValueError, match="differ by"):
        lanes.measured(Case("lanes", "x"), Chebyshev(8, 96, order=4), (1.01 * lanes.polynomials(96, 4),), tokens=96, repeats=2)


def test_blocks_have_equal_parameters():
    theirs, budget = transformer_stack(128, 1, 256, 2)
    spec = specs_of(QUICK, ["wavestack"])["wavestack"]
    counts = [model.parameter_counts()[1] for model in (theirs, equal_stack(spec, budget, 2))]
    assert counts[1] == pytest.approx(counts[0], rel=0.005)


def test_unknown_specs_are_named():
    with pytest.raises(ValueError, match=r"'wavestck' is no model spec of .*known: .*wavestack"):
        specs_of(QUICK, ["wavestck"])


def test_all_lanes_are_measured_with_their_attention_windowed():
    assert set(linear.KNOBS) <= set(registry.LANES)
    assert linear.KNOBS["attention"]["window"]


def test_a_lengthened_cache_is_as_large_as_a_filled_one():
    model, _ = transformer_stack(64, 2, 64, 4096)
    with torch.inference_mode():
        far = lengthened(prefilled(model, 8), 40)
        assert size(far) == size(prefilled(model, 40)) == model.state_bytes(40)
        assert model.advance(torch.zeros(1, 1, dtype=torch.long), far)[1][0][1].position == 41


def test_storages_saved_for_backward_count_once():
    class Twice(torch.nn.Module):
        def forward(self, x):
            y = x.exp()  # saves its result, 4 x 8 x 16 bytes
            return y * y[:, :], None  # saves it twice more, the second time as a view

    assert memory.saved(Twice(), hidden=16, length=8) == 4 * 8 * 16


def test_a_model_without_blocks_is_refused():
    _, budget = transformer_stack(64, 1, 64, 2)
    with pytest.raises(ValueError, match="has no blocks"):
        equal_stack(ModelSpec("reference", {}), budget, 101)


@pytest.fixture
def threads():
    """As many as before, after a script that sets them for its process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_step_is_taken_apart(tmp_path, monkeypatch):
    options = ["--params", str(SMOKE), "--rows", "2", "--length", "32", "--repeats", "3", "--reports", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["step.py", *options])
    step.main()
    for spec, kernel in (("wavestack", "_RecallBackward"), ("transformer", "aten::_scaled_dot_product_flash_attention_for_cpu_backward")):
        found = read_json(tmp_path / f"{spec}.json")
        assert len(found["seconds"]) == 3
        assert found["share_of_peak"] == pytest.approx(found["flops"] / sorted(found["seconds"])[1] / found["matrix_peak"])
        times = {row["name"]: row["milliseconds"] for row in found["kernels"]}
        assert sum(times.values()) == pytest.approx(1000 * found["kernel_seconds"])
        assert {"aten::mm", kernel} <= set(times)
        assert sum(row["launches"] for row in found["kernels"]) == found["launches"] >= len(times)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test is without")
def test_a_step_says_what_it_cannot_take_apart(monkeypatch):
    for options, said in (
        (["--params", str(ROOT / "params/gpu.yaml")], "the parameters ask for device cuda, and this machine has no CUDA device"),
        (["wavestak"], r"'wavestak' is no model spec of gpu; known: wavestack, "),
        (["--params", str(SMOKE), "--length", "8"], "8"),  # too short for a lane, which only the model knows
    ):
        monkeypatch.setattr("sys.argv", ["step.py", *options])
        with pytest.raises(ValueError, match=said):
            step.main()
