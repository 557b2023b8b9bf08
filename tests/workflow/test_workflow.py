"""The real Snakemake on a copy of the project, run once from nothing to the report; then what must rerun what, and what must not."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml
from project import ROOT, SNAKEMAKE, commit, copy_of_the_project, environment, metrics, planned, snakemake, under_git

RUNS = ["transformer/tiny/base", "wavestack/tiny/base", "wavestack/tiny/lanes=none", "wavestack/tiny/lanes=wavelet"]


@pytest.fixture(scope="module")
def finished(pristine, tmp_path_factory) -> Path:
    """The finished project, which tests may change."""
    return shutil.copytree(pristine, tmp_path_factory.mktemp("finished") / "project")


@pytest.fixture
def restored(finished):
    """The finished project, its sources put back after a test has edited them."""
    yield finished
    shutil.rmtree(finished / "src")
    shutil.copytree(ROOT / "src", finished / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))


def test_from_nothing_to_the_report(finished):
    reports = finished / "reports" / "tiny"
    page = (reports / "index.html").read_text()
    row = json.loads((reports / "studies" / "comparison.json").read_text())["rows"][0]
    assert f"{row['nats_per_token']:.4f}" in page
    of_runs = {f"reports/tiny/runs/pydocs/{run}/seed0/metrics.json" for run in RUNS}
    assert set(metrics(finished)) == {*of_runs, "reports/tiny/metrics.json"}
    assert set(json.loads((reports / "metrics.json").read_text())["pydocs"]) == {
        "wavestack",
        "transformer",
        "wavestack lanes=none",
        "wavestack lanes=wavelet",
    }
    for run in RUNS:
        folder = reports / "runs" / "pydocs" / run / "seed0"
        assert json.loads((folder / "train.provenance.json").read_text())["command"].startswith("wavestack train pydocs/")
        assert str(finished) not in (folder / "train.provenance.json").read_text()
        assert not (finished / "data" / "tiny" / "runs" / "pydocs" / run / "seed0" / "checkpoints").exists()
    assert not list(finished.rglob("*.tmp"))


def test_a_length_is_measured_while_nothing_else_runs(pristine):
    """Other jobs of two cores were queued, and waited: so a ratio of times does not depend on what else was asked for."""
    told = (pristine.parent / "told.txt").read_text()
    running: dict[str, str] = {}
    seen = set()
    for started, what, finished in re.findall(r"^Job (\d+): (.*)$|^Finished jobid: (\d+) ", told, re.MULTILINE):
        if started:
            running[started] = what
        else:
            running.pop(finished, None)  # jobs that Snakemake runs by itself start without a message
        seen.add((len(running), any(job.startswith("time and memory") for job in running.values())))
    assert {(1, True), (2, False)} <= seen
    assert (2, True) not in seen


@pytest.mark.nightly
def test_what_was_made_of_files_that_are_not_found_is_kept(finished, tmp_path, monkeypatch):
    """Somebody forgets to set WAVESTACK_DATA: nothing is deleted, nothing is taken from elsewhere, and the files are named."""
    project = tmp_path / "project"
    shutil.copytree(finished, project)
    texts = tmp_path / "texts" / "letters"
    texts.mkdir(parents=True)
    (texts / "letters.txt").write_text("".join(f"letter {number}\n-----\n" for number in range(200)))
    with (project / "params" / "corpora.yaml").open("a") as file:
        file.write('\nletters: {licence: private, files: {form: text, train: letters.txt, separator: "-----"}}\n')
    profile = project / "params" / "tiny.yaml"
    profile.write_text(profile.read_text().replace("corpora:\n", "corpora:\n  letters: {}\n", 1))
    train = "data/tiny/corpora/letters/train.parquet"
    monkeypatch.setenv("WAVESTACK_DATA", str(texts.parent))
    done = snakemake(project, "--cores", "1", train)
    assert done.returncode == 0, done.stderr
    monkeypatch.delenv("WAVESTACK_DATA")
    forgotten = snakemake(project, "--cores", "1", train)
    assert forgotten.returncode == 1
    assert f"corpus 'letters' was made of {texts}/letters.txt, and its files are not found now" in forgotten.stderr
    assert (project / train).is_file()
    monkeypatch.setenv("WAVESTACK_DATA", str(texts.parent))
    assert "Nothing to be done" in snakemake(project, "--cores", "1", train).stderr


@pytest.mark.nightly
def test_test_splits_are_opened_by_name_alone_and_the_findings_follow(finished, tmp_path):
    """Everything else is there already; nothing that is asked for without its name opens them, even where they were opened before.

    They stay closed to code that is in no commit.
    """
    project = tmp_path / "opened"
    shutil.copytree(finished, project)
    jobs = planned(project, "test")
    assert jobs["open"] == {f"the test split to pydocs/{spec}/tiny/base/seed0" for spec in ("wavestack", "transformer")}
    assert "train" not in jobs
    done = snakemake(project, "--cores", "2", "test")
    assert done.returncode != 0
    told = [log.read_text() for log in (project / "logs/tiny/open_test").rglob("*.log")]
    assert told
    assert all("git does not say here whether its code is committed" in text for text in told)
    assert not (project / "reports" / "openings.csv").exists()
    under_git(project)
    commit(project)
    done = snakemake(project, "--cores", "2", "test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((project / "reports" / "openings.csv").read_text().splitlines()) == 1 + 2
    tested = json.loads((project / "reports/tiny/studies/test.json").read_text())
    assert {row["spec"] for row in tested["rows"]} == {"wavestack", "transformer"}
    assert set(planned(project)) >= {"findings", "report"}
    edit(project, "lanes/wavelet.py", "numpy.array(filters.dec_hi) / 2**0.5", "numpy.array(filters.dec_hi) / 3**0.5")
    changed = planned(project)
    assert "train" in changed
    assert "open" not in changed


@pytest.mark.parametrize(
    "option", [["--rulegraph"], *(pytest.param([name], marks=pytest.mark.nightly) for name in ("--dag", "--summary", "--lint"))]
)
def test_questions_about_the_workflow_are_answered(finished, option):
    done = snakemake(finished, *option)
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout or "good condition" in done.stdout + done.stderr


@pytest.mark.nightly
def test_snakemake_s_own_report_needs_no_network(finished):
    done = snakemake(finished, "--report", "overview.html")
    assert done.returncode == 0, done.stderr
    assert (finished / "overview.html").stat().st_size > 100_000


def edit(project: Path, module: str, old: str, new: str) -> None:
    path = project / "src" / "wavestack" / module
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_comment_and_a_new_unused_lane_rerun_nothing(restored):
    edit(restored, "lanes/wavelet.py", "        return causal_filter", "        # a remark\n        return causal_filter")
    (restored / "src/wavestack/lanes/new.py").write_text("class New: ...\n")
    edit(restored, "registry.py", "LANES = {", 'LANES = {\n    "new": "wavestack.lanes.new:New",')
    done = snakemake(restored, "--cores", "-n")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_a_changed_formula_reruns_exactly_the_runs_that_use_it(restored):
    edit(restored, "lanes/wavelet.py", "numpy.array(filters.dec_hi) / 2**0.5", "numpy.array(filters.dec_hi) / 3**0.5")
    jobs = planned(restored)
    assert jobs["train"] == {"pydocs/wavestack/tiny/base/seed0", "pydocs/wavestack/tiny/lanes=wavelet/seed0"}
    assert jobs["evaluate"] == jobs["train"]
    assert not {"corpus", "tokens"} & set(jobs)


def test_a_changed_parameter_reruns_what_reads_it(finished):
    jobs = planned(finished, "--config", "training={learning_rate: 0.01}")
    assert len(jobs["train"]) == 4
    assert not {"corpus", "tokens", "contract", "ledger", "time"} & set(jobs)
    done = snakemake(finished, "--cores", "-n", "--config", "studies={comparison: {corpora: [pydocs]}}")
    assert "Nothing to be done" in done.stdout + done.stderr


@pytest.mark.nightly
def test_more_gpus_than_a_step_is_allowed_are_told_and_not_cut(finished):
    asked = ("--cores", "2", "-n", "--config", "training={device: cuda, processes: 2}", "--resources")
    done = snakemake(finished, *asked, "gpu=1")
    assert done.returncode != 0
    assert "training.processes: 2 need a GPU each, and Snakemake is allowed 1" in done.stdout + done.stderr
    assert snakemake(finished, *asked, "gpu=2").returncode == 0


def test_values_given_by_config_pass_the_same_schema_and_nothing_starts(finished):
    before = metrics(finished)
    done = snakemake(finished, "--cores", "2", "--config", "training={learning_rat: 1, batch: 0}")
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "training.learning_rat: unknown key; did you mean 'learning_rate'?" in told
    assert "training.batch: expected greater than or equal to 1" in told
    assert "Finished job" not in told
    assert metrics(finished) == before


def test_a_wrong_profile_stops_before_anything_starts(finished, tmp_path):
    profile = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text())
    profile["studies"]["comparison"]["specs"] = ["transfomer"]
    profile["budgets"]["tiny"]["hidden"] = 0
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(profile))
    done = snakemake(finished, "--cores", "2", params=str(tmp_path / "wrong.yaml"))
    told = done.stdout + done.stderr
    assert done.returncode != 0
    assert "did you mean 'transformer'?" in told
    assert "budgets.tiny.hidden" in told
    assert not (finished / "reports" / "wrong").exists()


def test_heavy_results_that_are_missing_are_made_again(finished):
    """The light ones may come from git: a fresh clone must not take them for its own."""
    shutil.move(finished / "data" / "tiny", finished / "aside")
    try:
        jobs = planned(finished)
        assert len(jobs["train"]) == 4
        assert "time" in jobs  # and memory at length 64
    finally:
        shutil.move(finished / "aside", finished / "data" / "tiny")


@pytest.mark.nightly
def test_one_core_and_a_killed_training_give_the_same_metrics_as_two(finished, tmp_path):
    """One core, a training SIGKILLed in the middle: the workflow fails, is called again, resumes it, and ends with the same bytes."""
    project = copy_of_the_project(tmp_path / "one-core")
    command = [SNAKEMAKE, "--cores", "1", "--configfile", "params/tiny.yaml"]
    workflow = subprocess.Popen(command, cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    log = project / "logs/tiny/train/pydocs/wavestack/tiny/base/seed0.log"
    while workflow.poll() is None and not (log.exists() and "step 45 of" in log.read_text()):
        time.sleep(0.002)
    for process in psutil.Process(workflow.pid).children(recursive=True):
        if "train" in process.cmdline() and "pydocs/wavestack/tiny/base/seed0" in process.cmdline():
            process.kill()
    told, _ = workflow.communicate()
    assert workflow.returncode != 0, told
    assert not (project / "reports/tiny/runs/pydocs/wavestack/tiny/base/seed0/training.json").exists()
    done = snakemake(project, "--cores", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumed at step" in log.read_text()
    assert metrics(project) == metrics(finished)


def test_light_results_of_other_code_do_not_pass_for_current(finished, tmp_path):
    """A clone has the light results in git and no memory of how they were made: the contract is checked again before anything trains."""
    clone = copy_of_the_project(tmp_path / "clone")
    shutil.copytree(finished / "reports", clone / "reports")
    jobs = planned(clone)
    assert len(jobs["train"]) == 4
    assert len(jobs["contract"]) == 4
    assert {"corpus", "tokens", "ledger", "time", "report"} <= set(jobs)


def test_changed_text_is_noticed(finished):
    """Local files are inputs of the corpus."""
    letters = "-----\n".join(f"letter {i} with a few words of its own\n" * 20 for i in range(60))
    (finished / "data/raw/tinyshakespeare").mkdir(parents=True)
    file = finished / "data/raw/tinyshakespeare/input.txt"
    file.write_text(letters)
    arguments = ["--config", "corpora={tinyshakespeare: {}}"]
    target = "reports/tiny/corpora/tinyshakespeare/manifest.json"
    assert snakemake(finished, target, "--cores", "1", *arguments).returncode == 0
    assert "Nothing to be done" in (done := snakemake(finished, target, "--cores", "-n", *arguments)).stdout + done.stderr
    time.sleep(1.1)
    file.write_text(letters.replace("few", "lot of"))
    assert "corpus" in planned(finished, target, *arguments)
    shutil.rmtree(finished / "data/raw")
