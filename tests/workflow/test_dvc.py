"""The real DVC and git around the real Snakemake: what is stored comes back, what is stale is made again, what is broken is named."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from project import ROOT, commit, environment, metrics, planned, under_git

KNOB = ("fourier: {frequencies: 16}", "fourier: {frequencies: 12}")


def run(project: Path, *command: str) -> subprocess.CompletedProcess:
    """A command as a user types it, in an environment that is activated."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(project / "src"), "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def done(project: Path, *command: str) -> str:
    ended = run(project, *command)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def jobs(told: str) -> dict[str, int]:
    """How many jobs of each rule Snakemake was to run, all stages together."""
    counts: dict[str, int] = {}
    for table in re.findall(r"^job +count\n[- ]+\n((?:\w+ +\d+\n)+)", told, re.MULTILINE):
        for rule, count in re.findall(r"(\w+) +(\d+)", table):
            counts[rule] = counts.get(rule, 0) + int(count)
    return counts


@pytest.fixture(scope="session")
def stored(once, pristine) -> Path:
    """The finished project under git and DVC, its results in a remote: a folder beside it."""
    return once("stored", lambda folder: store(shutil.copytree(pristine, folder / "project"))) / "project"


def store(project: Path) -> None:
    stages = (ROOT / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(stages.replace("[smoke, quick]", "[tiny]"))
    shutil.copytree(ROOT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    shutil.copy(ROOT / ".dvcignore", project)
    (project / "reports" / "benchmarks").mkdir()
    (project / "reports" / "benchmarks" / "README.md").write_text("none\n")
    under_git(project)
    assert not jobs(done(project, "dvc", "repro"))
    done(project, "dvc", "push")
    commit(project)


@pytest.fixture
def clone(stored, tmp_path) -> Path:
    """A fresh clone, without heavy results; the remote is where its configuration says, beside the checkout."""
    done(stored, "git", "clone", "-q", str(stored), str(tmp_path / "clone"))
    (tmp_path / "wavestack-store").symlink_to(stored.parent / "wavestack-store")
    return tmp_path / "clone"


def restore(project: Path) -> subprocess.CompletedProcess:
    """In an environment that is not activated."""
    command = [Path(sys.executable).parent / "wavestack", "restore", "--params", "params/tiny.yaml"]
    return subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, check=False)


def edit(project: Path, file: str, old: str, new: str) -> None:
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))


@pytest.mark.nightly
def test_a_second_repro_does_nothing(stored):
    assert "Data and pipelines are up to date" in done(stored, "dvc", "repro")
    assert done(stored, "git", "status", "--porcelain") == ""


@pytest.mark.nightly
def test_a_clone_knows_that_results_are_current_before_they_are_there(clone):
    told = done(clone, "dvc", "repro", "--dry", "--allow-missing")
    assert "Running stage" not in told
    edit(clone, "params/models.yaml", *KNOB)
    stale = run(clone, "dvc", "repro", "--dry", "--allow-missing")  # DVC 3.67 fails, since it cannot look at what is missing
    assert (stale.returncode != 0, "train@tiny" in stale.stderr) == (True, True)
    assert "Stage 'corpora@tiny' didn't change" in stale.stdout + stale.stderr


@pytest.mark.nightly
def test_a_clone_is_restored_and_has_nothing_to_do(stored, clone):
    restored = restore(clone)
    assert restored.returncode == 0, restored.stderr
    assert "every stored file is what it was, and nothing is left to make" in restored.stdout
    assert planned(clone) == {}
    assert "up to date" in done(clone, "dvc", "status")
    assert done(clone, "git", "status", "--porcelain") == ""
    assert metrics(clone) == metrics(stored)


@pytest.mark.nightly
def test_restored_results_of_another_knob_are_made_again_and_the_others_are_not(clone):
    edit(clone, "params/models.yaml", *KNOB)
    restored = restore(clone)
    assert restored.returncode == 0, restored.stderr
    assert "will be made again: reports/tiny/runs/pydocs/wavestack/tiny/base/seed0/training.json is of other code" in restored.stdout
    assert planned(clone)["train"] == {"pydocs/wavestack/tiny/base/seed0"}


@pytest.mark.nightly
def test_a_changed_knob_in_a_restored_clone_reruns_what_it_touches_and_the_metrics_say_so(stored, clone):
    assert restore(clone).returncode == 0
    edit(clone, "params/models.yaml", *KNOB)
    counts = jobs(done(clone, "dvc", "repro"))
    assert (counts["train"], counts["evaluate"], counts["contract"]) == (1, 1, 1)
    assert "corpus" not in counts
    changed = json.loads(done(clone, "dvc", "metrics", "diff", "--json", "HEAD"))["reports/tiny/metrics.json"]
    assert {key.split(".")[1] for key in changed} == {"wavestack"}
    told = json.loads(done(clone, "dvc", "params", "diff", "--json"))["params/models.yaml"]
    knob = told["wavestack.lanes.fourier.frequencies"]
    assert (knob["old"], knob["new"]) == (16, 12)
    gate = run(clone, "wavestack", "gate", "HEAD", "--reports", "reports/tiny")
    assert (gate.returncode, "fewer than two documents" in gate.stdout) == (2, True)
    assert "Data and pipelines are up to date" in done(clone, "dvc", "repro")


@pytest.mark.nightly
def test_what_was_pulled_and_not_restored_is_not_taken_for_current(stored, clone):
    """Snakemake has no records there, and left to itself it says that nothing is to be done."""
    done(clone, "dvc", "pull")
    edit(clone, "params/models.yaml", *KNOB)
    told = done(clone, "dvc", "repro")
    assert jobs(told)["train"] >= 1
    made = "reports/tiny/runs/pydocs/wavestack/tiny/base/seed0/training.json"
    assert (clone / made).read_bytes() != (stored / made).read_bytes()


@pytest.mark.nightly
def test_an_experiment_with_another_value(stored, tmp_path):
    project = shutil.copytree(stored, tmp_path / "project")
    done(project, "dvc", "exp", "run", "-S", "params/models.yaml:wavestack.lanes.fourier.frequencies=12")
    shown = json.loads(done(project, "dvc", "exp", "show", "--json"))
    assert any(experiment["experiments"] for experiment in shown)


@pytest.mark.nightly
def test_a_flipped_byte_is_named(clone):
    assert restore(clone).returncode == 0
    checkpoint = next((clone / "data/tiny/runs/pydocs/wavestack/tiny/base/seed0").glob("best.safetensors"))
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    objects = (path for path in (clone / ".dvc/cache/files/md5").rglob("*") if path.is_file())
    cached = next(path for path in objects if path.read_bytes() == checkpoint.read_bytes())
    cached.chmod(0o644)
    cached.write_bytes(content)
    cached.chmod(0o444)  # as DVC leaves it, which trusts it then
    shutil.rmtree(clone / "data/tiny/runs")
    restored = restore(clone)
    assert restored.returncode == 1
    assert "1 files are not what was stored" in restored.stderr
    assert str(checkpoint.relative_to(clone)) in restored.stderr
    remedy = restored.stderr.strip().splitlines()[-1]
    assert remedy.startswith("rm -f ")
    done(clone, *remedy.split())
    assert restore(clone).returncode == 0


@pytest.mark.nightly
def test_a_remote_that_is_not_there_or_not_named_is_one_message(clone):
    (clone.parent / "wavestack-store").unlink()
    restored = restore(clone)
    assert restored.returncode == 1
    assert "dvc push, where it was made" in restored.stderr
    edit(clone, ".dvc/config", "remote = local", "")
    restored = restore(clone)
    assert restored.returncode == 1
    assert "dvc remote add --default" in restored.stderr
    assert "Traceback" not in restored.stderr


@pytest.mark.nightly
def test_another_dvc_at_work_is_told(clone):
    (clone / ".dvc/tmp").mkdir(parents=True)
    with (clone / ".dvc/tmp/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # as DVC itself holds it
        restored = restore(clone)
    assert restored.returncode == 1
    assert "Unable to acquire lock" in restored.stderr
    assert restored.stderr.strip().splitlines()[-1].endswith("rm -f .dvc/tmp/lock .dvc/tmp/rwlock")
    assert restore(clone).returncode == 0


@pytest.mark.nightly
def test_results_that_were_made_here_and_are_stored_nowhere_are_kept(clone):
    assert restore(clone).returncode == 0
    own = clone / "data/tiny/measures/pydocs/wavestack/tiny/base/seed0/documents.parquet"
    own.write_bytes(b"made here")
    restored = restore(clone)
    assert restored.returncode == 1
    assert "keep them with dvc commit, or delete them and restore again" in restored.stderr
    assert own.read_bytes() == b"made here"


def test_what_dvc_plots_is_there():
    drawn = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    assert {figure.split("/")[3].split("-")[0] for figure in drawn} == {"curves", "lengths", "ablation"}
    assert [figure for figure in drawn if not (ROOT / figure).is_file()] == []


@pytest.mark.nightly
def test_a_profile_that_is_not_stored_says_so(clone):
    restored = run(clone, "wavestack", "restore", "--params", "params/quick.yaml")
    assert restored.returncode == 1
    assert "dvc.lock has no corpora@quick" in restored.stderr


@pytest.mark.nightly
def test_an_unknown_stage_is_told(clone):
    ended = run(clone, "wavestack", "reproduce", "trian", "--params", "params/tiny.yaml")
    assert ended.returncode == 1
    assert "'trian' is no stage of dvc.yaml; these are: corpora, train, measure, report" in ended.stderr
