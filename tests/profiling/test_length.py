"""Measurements in real fresh processes."""

import dataclasses
import itertools
import signal

import numpy
import pandas
import pytest
import torch

from wavestack.profiling import length as lengths
from wavestack.profiling.accounting import account
from wavestack.profiling.modes import DECODED, MAKERS, bytes_of, make
from wavestack.profiling.process import Request, _facts
from wavestack.profiling.worker import Worker
from wavestack.reading import load
from wavestack.schema import Training
from wavestack.training.checkpoint import Architecture
from wavestack.training.optimizer import adamw

SWEEP = "training-cpu-float32-tokens256"


@pytest.fixture
def request_of(transformer, budget):
    return Request(Architecture(transformer, budget, 50).to_json(), "training", 16, 2, threads=1, device="cpu")


def answers(request, *words, timeout=60.0):
    with Worker(request, timeout) as worker:
        return worker.facts, *(worker.ask(word) for word in words), (worker.status, worker.reason)


# --- a sweep at a length ------------------------------------------------------------------------------------------------------------


def smoke(*overrides):
    alone = "studies.lengths.sweeps=[{lengths: [64, 128], tokens: 256}]"
    return load("params/smoke.yaml", ["studies.lengths.seconds=0.05", alone, *overrides])


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A length with a yardstick: what was found, the seconds of every call, and whom it was asked for, one after another."""
    folder, asked, honest = tmp_path_factory.mktemp("measured"), [], Worker.ask
    parameters = smoke("studies.lengths.sweeps=[{lengths: [64, 128], tokens: 256, yardstick: 64}]")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "ask", lambda self, word: asked.append((word, self)) or honest(self, word))
        result = lengths.measure_length(parameters, SWEEP, 128, folder)
    calls = pandas.read_csv(folder / "length128.csv").groupby("spec", sort=False)
    seconds = {spec: rows.seconds.to_numpy() for spec, rows in calls}
    return result, seconds, [worker for word, worker in asked if word == "call"]


def test_a_length_is_measured_for_every_model(measured):
    result, seconds, _ = measured
    assert (result["length"], result["batch"], result["mode"]) == (128, 2, "training")
    assert list(result["models"]) == ["wavestack", "transformer"]
    for spec, found in result["models"].items():
        assert found["status"] == "ok"
        assert found["calls"] == len(seconds[spec]) >= 5
        low, high = found["seconds_quartiles"]
        assert 0 < low <= found["seconds_median"] <= high
        assert found["tokens_per_second"] == pytest.approx(256 / found["seconds_median"])
        assert 1e5 < found["peak_bytes"] < 1e9
        assert found["peak_bytes_by_process"] == [found["peak_bytes"]]
        assert 0 < found["flops_per_second"] < result["matrix_peak"]
    ratio = result["ratios"]["transformer"]
    assert ratio["ratio"] == pytest.approx(numpy.median(seconds["transformer"] / seconds["wavestack"]))
    assert (ratio["than"], ratio["pairs"]) == ("wavestack", len(seconds["wavestack"]))
    assert result["other_cores"] >= 0


def test_the_first_model_is_held_against_itself_at_another_length(measured):
    result, seconds, _ = measured
    found, own = result["yardstick"], seconds[lengths.YARDSTICK]
    assert (found["spec"], found["length"], found["pairs"]) == ("wavestack", 64, len(own))
    assert found["ratio"] == pytest.approx(numpy.median(seconds["wavestack"] / own))
    assert found["seconds_median"] == pytest.approx(numpy.median(own))
    assert found["low"] <= found["ratio"] <= found["high"]


def test_models_take_turns(measured):
    _, seconds, turns = measured
    assert list(seconds) == [lengths.YARDSTICK, "wavestack", "transformer"]  # the first model beside both that it is held against
    first, second, third = turns[:3]
    assert turns == list(itertools.islice(itertools.cycle([first, second, third, third, second, first]), len(turns)))


@pytest.mark.nightly
def test_one_model_that_fails_leaves_the_others(tmp_path, monkeypatch):
    """A mask of 32,768 squared is 4.3 GB, and lanes need none."""
    sweep = "{mode: forward, lengths: [32768], batch: 1, specs: [wavestack, transformer-masked]}"
    monkeypatch.setattr(lengths, "available_memory", lambda: 2**32)
    result = lengths.measure_length(smoke(f"studies.lengths.sweeps=[{sweep}]"), "forward-cpu-float32-batch1", 32768, tmp_path)
    assert result["models"]["wavestack"]["status"] == "ok"
    assert result["models"]["transformer-masked"]["status"] == "out_of_memory"
    assert "can't allocate memory" in result["models"]["transformer-masked"]["reason"]
    assert result["ratios"] == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test is without")
def test_a_missing_gpu_is_a_status(tmp_path):
    parameters = smoke("studies.lengths.sweeps=[{lengths: [64], tokens: 256, device: cuda, precision: bfloat16}]")
    result = lengths.measure_length(parameters, "training-cuda-bfloat16-tokens256", 64, tmp_path)
    again = "on one that has, `snakemake --forcerun profile` measures it"
    skipped = {"status": "skipped", "reason": f"this machine has no CUDA device; {again}"}
    assert result["models"] == {"wavestack": skipped, "transformer": skipped}
    assert result["ratios"] == {}


def test_a_yardstick_that_fails_is_told():
    lost = [{"status": "timeout", "reason": "no answer"}]
    found = lengths._yardstick("wavestack", 64, lost, [[]], [[1.0, 2.0]])
    assert (found["reason"], found["ratio"], found["seconds_median"]) == ("no answer", None, None)


def test_a_yardstick_is_one_for_the_others_where_the_first_model_fails():
    found = lengths._yardstick("wavestack", 64, [{"status": "ok", "reason": None}] * 2, [[1.0, 3.0], [2.0]], [])
    assert (found["seconds_median"], found["ratio"], found["reason"]) == (2.0, None, "wavestack itself failed")


def test_unknown_sweeps_and_lengths_are_refused(tmp_path):
    with pytest.raises(ValueError, match=rf"'nothing' is none of the sweeps of studies.lengths \({SWEEP}\); add it there"):
        lengths.measure_length(smoke(), "nothing", 64, tmp_path)
    with pytest.raises(ValueError, match=rf"65 is none of the lengths of sweep '{SWEEP}' \(64, 128\); add it there"):
        lengths.measure_length(smoke(), SWEEP, 65, tmp_path)
    with pytest.raises(ValueError, match="mode: expected 'training', 'forward', 'prefill', 'decode' or 'generation', found 'dreaming'"):
        smoke("studies.lengths.sweeps=[{mode: dreaming, lengths: [64], tokens: 256}]")
    with pytest.raises(ValueError, match=r"expected either tokens \(of a batch\) or batch \(sequences\)"):
        smoke("studies.lengths.sweeps=[{lengths: [64], tokens: 256, batch: 2}]")
    with pytest.raises(ValueError, match="expected a yardstick that is one of the lengths, found 32"):
        smoke("studies.lengths.sweeps=[{lengths: [64], tokens: 256, yardstick: 32}]")


@pytest.mark.parametrize("failing", ["peak", "account"])
def test_what_fails_of_memory_is_told(request_of, monkeypatch, failing):
    """A trace takes far more time and memory than the call itself."""
    honest = Worker.ask
    fails = lambda self, word: self._failed("timeout", "not done after 600 s") if word == failing else honest(self, word)  # noqa: E731
    monkeypatch.setattr(Worker, "ask", fails)
    found = lengths._taken(request_of, 60)
    assert found["unaccounted"] == "timeout: not done after 600 s"
    assert ("peak_bytes" in found) == (failing == "account")
    assert "accounted_bytes" not in found


def test_times_are_known_where_memory_is_not():
    told = {"status": "ok", "reason": None, "call_tokens": 100, "parameters": 2, "non_embedding_parameters": 1, "dropout": 0.0}
    told["unaccounted"] = "timeout: not done after 600 s"
    found = lengths._summary([told], [[2.0, 1.0, 3.0]])
    assert (found["status"], found["seconds_median"], found["tokens_per_second"]) == ("ok", 2.0, 50.0)
    assert (found["peak_bytes"], found["accounted_bytes"], found["unaccounted"]) == (None, None, told["unaccounted"])


def test_a_line_a_model():
    ok = {"status": "ok", "seconds_median": 0.12345, "seconds_quartiles": [0.1, 0.25], "peak_bytes": 3 * 2**20}
    models = {"ours": ok, "theirs": {**ok, "peak_bytes": None}, "mask": {"status": "out_of_memory", "reason": "killed"}}
    result = {"mode": "training", "models": models, "ratios": {"theirs": {"than": "ours", "ratio": 1.0}}}
    assert list(lengths.lines(result)) == [
        "ours: 0.1235 s a call (quartiles 0.1 to 0.25), 3.0 MiB",
        "theirs: 0.1235 s a call (quartiles 0.1 to 0.25), 1 times as long as ours",
        "mask: out_of_memory, killed",
    ]


def test_ratios_are_of_pairs():
    """2/1, 4/2, 9/3 of the first process and 8/4, 10/5, 30/6 of the second: 2, 2, 3, 2, 2, 5."""
    times = {"ours": [[1, 2, 3], [4, 5, 6]], "theirs": [[2, 4, 9], [8, 10, 30]]}
    assert lengths._ratios(times) == {"theirs": {"than": "ours", "ratio": 2.0, "low": 2.0, "high": 5.0, "pairs": 6}}
    assert lengths._ratios({"ours": [[1.0]], "theirs": [[2.0]]})["theirs"]["low"] is None


# --- a process ----------------------------------------------------------------------------------------------------------------------


def test_peak_memory_is_that_of_the_activations(request_of):
    """Logits of 64 x 16 positions over 50,000 entries alone are 205 MB in float32, and their gradient as much."""
    wide = Architecture.from_json({**request_of.architecture, "vocabulary": 50_000}).to_json()
    request = dataclasses.replace(request_of, architecture=wide, batch=64, purpose="memory")
    _, peak, account, _ = answers(request, "peak", "account")
    assert 2 * 64 * 16 * 50_000 * 4 < peak["peak_bytes"] < 8 * 64 * 16 * 50_000 * 4
    assert peak["peak_bytes"] == pytest.approx(account["accounted_bytes"], rel=0.15)


@pytest.mark.parametrize("mode", ["forward", *(pytest.param(mode, marks=pytest.mark.nightly) for mode in ("training", "prefill"))])
def test_both_ways_to_measure_memory_agree(mode):
    """Of a model with many tensors of many sizes."""
    parameters = load("params/findings-cpu.yaml")
    study = parameters.profile.studies.lengths
    budget = parameters.profile.budgets[study.budget].model_copy(update={"context": 1024, "parameters": 790_000, "blocks": 1})
    architecture = Architecture(parameters.specs["wavestack"], budget, 512).to_json()
    request = Request(architecture, mode, 1024, 8, threads=1, device="cpu", purpose="memory")
    _, peak, account, status = answers(request, "peak", "account")
    assert status == ("ok", None)
    assert peak["peak_bytes"] == pytest.approx(account["accounted_bytes"], rel=0.15)


@pytest.mark.parametrize("mode", MAKERS)
def test_every_mode_is_measured(request_of, mode):
    request = dataclasses.replace(request_of, mode=mode, length=15)
    facts, call, status = answers(request, "call")
    assert status == ("ok", None)
    same, peak, account, status = answers(dataclasses.replace(request, purpose="memory"), "peak", "account")
    assert (status, same) == (("ok", None), facts)
    assert facts["parameters"] > facts["non_embedding_parameters"] > 0
    assert call["seconds"] > 0
    assert facts["call_tokens"] == 2 * (DECODED if mode == "decode" else 15)
    assert ("flops" in facts) == (mode in ("training", "forward", "prefill"))
    assert ("state_bytes" in facts) == (mode == "decode")
    assert peak["peak_bytes"] > 0
    assert account["attention"]
    assert ("counted_flops" in account) == (mode != "generation")


def test_an_answer_that_does_not_come_is_a_time_out(request_of):
    facts, call, status = answers(request_of, "call", timeout=0.05)
    assert (facts, call, status) == ({}, {}, ("timeout", "not done after 0.05 s"))


def test_all_answers_together_have_the_time_out(request_of):
    with Worker(request_of, 60) as worker:
        assert 0 < worker.left < 60
        worker.left = 0.0
        assert worker.ask("call") == {}
        assert (worker.status, worker.reason) == ("timeout", "not done after 60 s")


def test_what_cannot_fit_is_out_of_memory(request_of):
    *_, (status, reason) = answers(dataclasses.replace(request_of, batch=10**13))
    assert status == "out_of_memory"
    assert "memory" in reason


def test_a_limit_of_memory_is_kept(request_of):
    wide = Architecture.from_json({**request_of.architecture, "vocabulary": 50_000}).to_json()
    *_, (status, reason) = answers(dataclasses.replace(request_of, architecture=wide, batch=256, memory=2**31))
    assert status == "out_of_memory"
    assert "can't allocate memory" in reason


def test_a_length_beyond_the_model_is_refused(request_of):
    *_, (status, reason) = answers(dataclasses.replace(request_of, length=1000))
    assert status == "refused"
    assert "is beyond its context of 32" in reason


def test_a_process_that_is_killed_is_out_of_memory(request_of):
    with Worker(request_of, 60) as worker:
        worker.process.kill()
        assert worker.ask("call") == {}
        assert (worker.status, worker.reason) == ("out_of_memory", "killed, as the system does where memory is short")


def test_an_error_is_an_answer(request_of):
    with Worker(request_of, 60) as worker:
        worker.process.stdin.write("nonsense\n")
        assert worker.ask("call") == {}
        assert (worker.status, worker.reason) == ("failed", "nonsense")


@pytest.mark.parametrize(
    ("said", "reason"), [(b"", "exit status -15"), (b"first\nlast, and no UTF-8: \xff\n", "last, and no UTF-8: \ufffd")]
)
def test_any_other_end_keeps_its_last_line(request_of, said, reason):
    with Worker(request_of, 60) as worker:
        worker.said.buffer.write(said)
        worker.said.buffer.flush()
        worker.process.terminate()
        assert worker.ask("call") == {}
        assert (worker.status, worker.reason) == ("failed", reason)


def test_what_a_lane_prints_is_no_answer(request_of, wavestack, tmp_path, monkeypatch):
    (tmp_path / "talkative.py").write_text(
        "from wavestack.lanes.lane import Lane\n\n\nclass Talkative(Lane):\n    def forward(self, x, state=None):\n"
        "        print('here I am')\n        return x, state\n"
    )
    monkeypatch.chdir(tmp_path)
    knobs = {**wavestack.knobs, "lanes": {"mine": {"lane": "talkative:Talkative"}}}
    architecture = {**request_of.architecture, "spec": {"model": "wavestack", "knobs": knobs}}
    _, call, status = answers(dataclasses.replace(request_of, architecture=architecture), "call")
    assert status == ("ok", None)
    assert call["seconds"] > 0


def test_an_abort_for_want_of_memory_is_out_of_memory(request_of):
    with Worker(request_of, 60) as worker:
        worker.said.write("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n")
        worker.said.flush()
        worker.process.send_signal(signal.SIGABRT)
        assert worker.ask("call") == {}
        assert (worker.status, worker.reason) == ("out_of_memory", "what():  std::bad_alloc")


# --- a call -------------------------------------------------------------------------------------------------------------------------


def test_what_is_counted_is_what_is_declared(request, budget):
    """The counter sees every product of the forward pass; the formulas leave out the masked half of attention."""
    for spec in ("transformer", "wavestack"):
        architecture = Architecture(request.getfixturevalue(spec), budget, 50)
        model = architecture.build()
        tokens = torch.randint(50, (3, 33))
        found = account(make("forward", model, tokens, "float32", False).run, lambda: None)
        masked = 3 * 2 * 2 * (32 * 31 // 2) * budget.hidden * budget.blocks if spec == "transformer" else 0
        assert found.flops == pytest.approx(3 * model.flops(32) + masked, rel=0.02 if spec == "transformer" else 0.2)
        assert bool(found.attention) == (spec == "transformer")
        read = account(make("prefill", model, tokens, "float32", False).run, lambda: None)
        declared = _facts(
            Request(architecture.to_json(), "prefill", 32, 3, threads=1, device="cpu"),
            model,
            make("prefill", model, tokens, "float32", False),
        )
        assert found.flops - read.flops == 3 * 31 * 2 * 50 * budget.hidden  # logits of the last token alone
        assert 3 * model.flops(32) - declared["flops"] == found.flops - read.flops


def test_what_reads_prompts_in_a_way_of_its_own_declares_no_flops_of_it():
    """The published model has logits of all tokens, some of them."""
    parameters = load("params/findings-cpu.yaml")
    budget = parameters.profile.budgets["profiled"].model_copy(update={"context": 64})
    architecture = Architecture(parameters.specs["reference-149"], budget, 50)
    model = architecture.build()
    for mode in ("forward", "prefill"):
        request = Request(architecture.to_json(), mode, 32, 3, threads=1, device="cpu")
        assert ("flops" in _facts(request, model, make(mode, model, torch.randint(50, (3, 33)), "float32", False))) == (mode == "forward")


def test_each_decoding_starts_from_the_same_past(transformer, budget):
    torch.manual_seed(0)
    model = Architecture(transformer, budget, 50).build()
    seen = []
    advance = model.advance
    model.advance = lambda token, state: seen.append(state[0][1].position) or advance(token, state)
    call = make("decode", model, torch.randint(50, (1, 11)), "float32", False)
    for _ in range(2):
        call.ready()
        call.run()
    assert seen == 2 * list(range(10, 11 + DECODED))
    assert bytes_of(call.state) == model.state_bytes(10)


def test_the_timed_step_is_the_training_s(transformer, budget):
    """Gradients far longer than the limit, so that two steps of different length tell whether they were cut to it."""
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        model = Architecture(transformer, budget, 50).build()
        with torch.no_grad():
            model.embedding.weight.mul_(50)
        models.append(model)
    timed, trained = models
    tokens, settings = torch.randint(50, (2, 17)), Training(batch=2)
    call, optimizer = make("training", timed, tokens, "float32", False), adamw(trained, settings)
    for _ in range(3):
        call.run()
        torch.nn.functional.cross_entropy(trained(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        assert torch.nn.utils.clip_grad_norm_(trained.parameters(), settings.clip) > 2 * settings.clip
        optimizer.step()
        optimizer.zero_grad()
    for ours, theirs in zip(timed.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_bytes_of_a_nest():
    assert bytes_of({"a": [torch.zeros(3), (torch.zeros(2, dtype=torch.int64), None, 7)]}) == 12 + 16
