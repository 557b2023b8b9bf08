"""The command line as a user meets it: exit statuses and messages, of real processes where more than a message is looked at."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch
import yaml

from wavestack.corpora.documents import DocumentWriter
from wavestack.corpora.tokenizer import train_tokenizer
from wavestack.corpora.tokens import TokenFile
from wavestack.params import ModelSpec, Run
from wavestack.schema import Budget, Tokenizer, Training
from wavestack.training.checkpoint import Architecture, Checkpoints, save
from wavestack.training.interruption import Interruption
from wavestack.training.loop import train
from wavestack.training.processes import Processes


def wavestack(*arguments, **options):
    command = [Path(sys.executable).parent / "wavestack", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_check_passes_what_is_right(command):
    done = command("check", "params/smoke.yaml")
    assert (done.returncode, done.stdout) == (0, "params/smoke.yaml: 14 runs, no errors\n")


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


def test_check_tells_budgets_that_cannot_be_met(command):
    done = command("check", "params/smoke.yaml", "--set", "budgets.tiny.parameters=500")
    assert done.returncode == 1
    assert "the budget of 500 non-embedding parameters cannot be met" in done.stderr
    assert "budgets.tiny: transformer, base, on pydocs" in done.stderr


def test_a_lane_that_does_not_fit_the_context_is_told_before_anything_starts(command):
    done = command("check", "params/smoke.yaml", "--set", "budgets.tiny.context=12")
    assert done.returncode == 1
    assert "12" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "pydocs/wavestack/tiny/base/seed0", "--fingerprint", "0"], "code or parameters changed after the workflow was started"),
        (["train", "pydocs/wavestak/tiny/base/seed0"], "unknown spec 'wavestak'; did you mean 'wavestack'?"),
        (["train", "pydocs/wavestack/tiny/base/seed0"], "manifest.json does not exist"),
        (["evaluate", "pydocs/wavestack/tiny/base/seed0", "--trained", "nowhere"], "manifest.json does not exist"),
        (["complementarity", "pydocs/wavestack/tiny/base/seed0", "--trained", "nowhere"], "best.json does not exist"),
    ],
)
def test_what_a_user_can_cause_is_one_message(command, tmp_path, arguments, message):
    folders = ["--tokens", tmp_path / "tokens", "--data", tmp_path / "data", "--reports", tmp_path / "reports"]
    done = command(*arguments, *folders, "--params", "params/smoke.yaml")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "reports" / "train.provenance.json").exists()


def test_unknown_corpus_and_study(command, tmp_path):
    done = command("corpus", "pydoc", "--data", tmp_path, "--reports", tmp_path, "--params", "params/smoke.yaml")
    assert (done.returncode, "did you mean 'pydocs'" in done.stderr) == (1, True)
    done = command("study", "ablations", "--data", tmp_path, "--reports", tmp_path, "--params", "params/smoke.yaml")
    assert (done.returncode, "known: comparison, ablation, complementarity, sizes, lengths, test" in done.stderr) == (1, True)


# --- contract ----------------------------------------------------------------------------------------------------------------------

OWN_LANES = """
import torch
from wavestack.lanes.lane import Lane

class Honest(Lane):
    ahead = 0

    def forward(self, x, state=None):
        return x.roll(-self.ahead, 1), None

    def state_bytes(self, positions):
        return 0

    def flops(self, length):
        return 0

class Ahead(Honest):
    ahead = 1
"""


@pytest.fixture
def project(tmp_path):
    """A user's folder: two lanes of their own, and a profile with a model of each."""
    profile = yaml.safe_load(Path("params/smoke.yaml").read_text()) | {
        "models": "models.yaml",
        "catalogue": str(Path("params/corpora.yaml").resolve()),
    }
    profile["studies"] = {"comparison": profile["studies"]["comparison"] | {"specs": ["right", "wrong"]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile))
    models = {
        name: {"model": "wavestack", "lanes": {"own": {"lane": f"lanes_of_mine:{lane}"}}}
        for name, lane in (("right", "Honest"), ("wrong", "Ahead"))
    }
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
    (tmp_path / "lanes_of_mine.py").write_text(OWN_LANES)
    return tmp_path


def test_a_contract_that_holds_is_a_table_and_a_file(project):
    done = wavestack("contract", "right", "--reports", project / "found", "--params", "mine.yaml", cwd=project)
    assert (done.returncode, done.stderr) == (0, "")
    head, single, half, legend = done.stdout.splitlines()
    assert head.split() == [str(n) for n in range(1, 9)]
    assert single.split()[:2] == ["right/tiny/base", "float32"]
    assert half.split()[:2] == ["right/tiny/base", "bfloat16"]
    assert "!" not in single + half
    assert "8 parameter count" in legend
    found = json.loads((project / "found" / "base.json").read_text())
    assert (found["spec"], found["budget"], found["variant"], found["device"]) == ("right", "tiny", "base", "cpu")
    assert len(found["findings"]) == 14
    assert all(finding["passed"] for finding in found["findings"])


def test_a_lane_of_ones_own_that_looks_ahead_is_named_and_nothing_is_left(project):
    done = wavestack("contract", "wrong", "--reports", project / "found", "--params", "mine.yaml", cwd=project)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == "wavestack: the contract is broken, and these will not be trained:"
    told = (
        r"wrong/tiny/base: causality by perturbation \(float32\) BROKEN, position \d+, largest relative difference (\S+) \(allowed 1e-05\)"
    )
    (size,) = (match[1] for line in lines if (match := re.match(told, line)))
    assert float(size) > 1e-2
    assert any("causality by gradient (bfloat16) BROKEN, position " in line for line in lines)
    assert "!" in done.stdout  # the table is printed, too
    assert not (project / "found").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test is without")
def test_a_contract_on_a_gpu_needs_one(project):
    for model in (["right"], []):
        done = wavestack("contract", *model, "--device", "cuda", "--reports", project / "found", "--params", "mine.yaml", cwd=project)
        assert (done.returncode, "this machine has no CUDA device" in done.stderr) == (1, True)
    assert not (project / "found").exists()


def test_a_contract_of_what_is_not_there_is_told(project):
    done = wavestack("contract", "rihgt", "--params", "mine.yaml", cwd=project)
    assert (done.returncode, "unknown spec 'rihgt'; did you mean 'right'?" in done.stderr) == (1, True)
    assert "Traceback" not in done.stderr


# --- generate ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tokens, tmp_path_factory):
    """Two runs where the workflow leaves them; a third has another corpus's vocabulary. Gives the folder of the profile's data."""
    data = tmp_path_factory.mktemp("checkout") / "data" / "tiny"
    (data / "tokens" / "words").mkdir(parents=True)
    shutil.copy(tokens / "tokenizer.json", data / "tokens" / "words")
    budget = Budget(hidden=16, blocks=1, context=32, parameters=7_000, tokens=4 * 32 * 60)
    splits = [TokenFile.open(tokens, split) for split in ("train", "valid")]
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    for name, lanes in (("fixed", {"fourier": {"frequencies": 4}}), ("endless", {"wavelet": {"wavelet": "haar", "levels": 2}})):
        architecture = Architecture(ModelSpec("wavestack", {"lanes": lanes}), budget, 257)
        run = Run.parse(f"words/{name}/tiny/base/seed0")
        checkpoints = Checkpoints(data / "checkpoints", name)
        training = Training(batch=4, learning_rate=0.01, validate_every=60, validation_tokens=300)
        alone = {"processes": Processes("cpu"), "interruption": Interruption()}
        done = train(architecture, training, 0, *splits, checkpoints, data / "curve.csv", evaluation_batch=256, **alone)
        save(data / "runs" / str(run) / "best", done.best, {"architecture": architecture.to_json(), "run": asdict(run)})
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    return data


def best(data, spec="endless"):
    return data / "runs" / "words" / spec / "tiny" / "base" / "seed0" / "best"


def test_text_follows_its_prompt_and_a_seed_gives_it_again(command, trained):
    texts = [
        command("generate", best(trained), "--prompt", "the cät ", "--tokens", "40", *options)
        for options in (["--seed", "1"], ["--seed", "1"], ["--seed", "2"], ["--temperature", "0"], ["--temperature", "0", "--seed", "9"])
    ]
    for done in texts:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("the cät ")
        assert done.stdout.endswith("\n")
        assert len(done.stdout) > len("the cät ") + 10
    assert texts[0].stdout == texts[1].stdout != texts[2].stdout
    assert texts[3].stdout == texts[4].stdout != texts[0].stdout
    assert set(texts[3].stdout[8:]) <= set("thecatdogsrnumw \n")  # it has learned the corpus's letters


def test_a_tokenizer_elsewhere_is_named(command, trained, tmp_path):
    copied = tmp_path / "best"
    for ending in (".json", ".safetensors"):
        shutil.copy(best(trained).with_suffix(ending), copied.with_suffix(ending))
    arguments = ["generate", copied.with_suffix(".safetensors"), "--tokens", "5", "--temperature", "0"]
    done = command(*arguments, "--tokenizer", trained / "tokens" / "words" / "tokenizer.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == command("generate", best(trained), "--tokens", "5", "--temperature", "0").stdout


def test_a_text_up_to_the_context_is_given_before_the_error(command, trained):
    done = command("generate", best(trained, "fixed"), "--prompt", "the", "--tokens", "100", "--temperature", "0")
    assert done.returncode == 1
    assert done.stderr == (
        "wavestack: Fourier lane: position 32 is beyond its context of 32; shorten the input or train with a larger context\n"
    )
    assert len(done.stdout) == 3 + (32 - 4 + 1) + 1  # end-of-text and three bytes came before; a line's end after


def refusal(done) -> str:
    """The message of a command that refused: one line, no text, no traceback."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("wavestack: ")
    return done.stderr


def test_what_cannot_be_written_is_one_message(command, trained, tmp_path):
    assert "best.json does not exist" in refusal(command("generate", tmp_path / "best"))
    assert "seed0.json does not exist" in refusal(command("generate", best(trained).parent))
    tokenizer = tmp_path / "tokenizer.json"
    assert "tokenizer.json does not exist" in refusal(command("generate", best(trained), "--tokenizer", tokenizer))
    texts = tmp_path / "train.parquet"
    writer = DocumentWriter(texts)
    writer.write("ab" * 20)
    writer.close()
    train_tokenizer(Tokenizer(kind="bpe", vocabulary=258), texts).save(tokenizer)
    assert "has 258 entries, and the model 257" in refusal(command("generate", best(trained), "--tokenizer", tokenizer))
    assert "a temperature of -1.0 is none" in refusal(command("generate", best(trained), "--temperature", "-1"))
    assert "a top_p of 0.0 is no share" in refusal(command("generate", best(trained), "--top-p", "0"))
    assert "0 tokens were asked for" in refusal(command("generate", best(trained), "--tokens", "0"))


def test_an_interrupted_text_ends_without_a_traceback(trained):
    command = [
        Path(sys.executable).parent / "wavestack",
        "generate",
        best(trained),
        "--prompt",
        "the",
        "--tokens",
        "1000000",
        "--seed",
        "3",
    ]
    # a job in a shell's background is started deaf to interrupts, and so would be its children
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeding) as process:
        came = os.read(process.stdout.fileno(), 3)
        while len(came) < 20:
            came += os.read(process.stdout.fileno(), 100)  # it streams
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in told
    assert came.startswith(b"the")


def test_a_reader_that_goes_away_is_no_traceback(trained):
    command = f"'{Path(sys.executable).parent}/wavestack' generate '{best(trained)}' --tokens 1000000 --seed 3 | head -c 20"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=100)
    assert len(done.stdout) > 10
    assert done.stderr == ""


def test_a_test_split_that_is_not_there_is_one_message(command, tmp_path):
    """Where code has uncommitted changes that is said instead."""
    folders = [
        "--tokens",
        tmp_path / "tokens",
        "--trained",
        tmp_path / "runs",
        "--data",
        tmp_path / "data",
        "--reports",
        tmp_path / "reports",
        "--log",
        tmp_path / "log.csv",
    ]
    done = command("open-test", "pydocs/wavestack/tiny/base/seed0", *folders, "--params", "params/smoke.yaml")
    said = ("manifest.json does not exist", "code or parameters have uncommitted changes", "git does not say here")
    assert (done.returncode, any(message in done.stderr for message in said)) == (1, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory."),
    ],
)
def test_a_training_that_does_not_fit_is_one_message(command, tokens, tmp_path, monkeypatch, error):
    monkeypatch.setattr("wavestack.training.run.train_run", mock.Mock(side_effect=error))
    folders = ["--tokens", tokens, "--data", tmp_path / "data", "--reports", tmp_path / "reports", "--params", "params/smoke.yaml"]
    done = command("train", "pydocs/transformer/tiny/base/seed0", *folders)
    assert done.returncode == 1
    assert done.stderr == f"wavestack: out of memory ({error}); a smaller training.batch, or more training.accumulation, takes less\n"


# --- train -------------------------------------------------------------------------------------------------------------------------


def test_a_training_goes_on_from_its_checkpoint_and_not_from_that_of_another_text(tokens, tmp_path):
    folders = ["--data", tmp_path / "data", "--reports", tmp_path / "reports", "--params", "params/smoke.yaml"]
    bytes_ = ("--set", "tokenizer.kind=bytes", "--set", "tokenizer.vocabulary=null")
    asked = ["train", "pydocs/transformer/tiny/base/seed0", *folders, *bytes_]
    stopped = wavestack(*asked, "--tokens", tokens, "--minutes", "0")
    assert stopped.returncode == 75, stopped.stderr
    again = wavestack(*asked, "--tokens", tokens, "--minutes", "0")
    assert (again.returncode, "resumed" in again.stderr) == (75, True), again.stderr
    other = shutil.copytree(tokens, tmp_path / "other")
    (other / "manifest.json").write_text((tokens / "manifest.json").read_text() + "\n")  # as of another text
    anew = wavestack(*asked, "--tokens", other, "--minutes", "0")
    assert (anew.returncode, "resumed" in anew.stderr) == (75, False), anew.stderr
