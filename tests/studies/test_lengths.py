"""Sequence lengths put together."""

import math

import pytest

from wavestack.artifacts import read_json, write_json
from wavestack.reading import load
from wavestack.studies.lengths import in_yardsticks, write_lengths

LENGTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
TRAINING, DECODE = "training-cpu-float32-tokens2048", "decode-cpu-float32-batch1"
AGAIN = f"{TRAINING}-round2"


def write_points(reports, name, mode, batch, models, ratios):
    for length in LENGTHS:
        point = {"sweep": name, "mode": mode, "length": length, "batch": batch(length), "matrix_peak": 4e10}
        write_json(reports / "profile" / name / f"length{length}.json", {**point, "models": models(length), "ratios": ratios(length)})


def measured(seconds, tokens, peak):
    return {"status": "ok", "seconds_median": seconds, "tokens_per_second": tokens / seconds, "peak_bytes": peak, "calls": 5}


@pytest.fixture
def found(tmp_path):
    """WaveStack is linear with a transformer four times as fast at 64, and as fast at 256, which runs out of memory at 2,048."""

    def models(length):
        lost = {"status": "out_of_memory", "reason": "killed"}
        theirs = lost if length == 2048 else measured(length / 256, 2048, 1000 * length)
        return {"wavestack": measured(1.0, 2048, 5000), "transformer": theirs}

    def ratios(length):
        ratio = {"than": "wavestack", "ratio": length / 256, "low": 0.9 * length / 256, "high": 1.1 * length / 256, "pairs": 10}
        return {} if length == 2048 else {"transformer": ratio}

    write_points(tmp_path, TRAINING, "training", lambda length: 2048 // length, models, ratios)

    def decoded(length):
        constant, growing = {"state_bytes": 512}, {"state_bytes": 4 * length}
        return {"wavestack": measured(0.016, 16, 10) | constant, "transformer": measured(0.032, 16, 10) | growing}

    write_points(tmp_path, DECODE, "decode", lambda length: 1, decoded, lambda length: {})

    def again(length):
        return {"wavestack": measured(1.1 * length**0.1, 2048, 5000), "transformer": {"status": "timeout", "reason": "no answer"}}

    def ratios_again(length):
        """5% more, 30% more, and of too few pairs."""
        ratio = length / 256 * {16: 1.05, 32: 1.3}.get(length, 1)
        ends = {"low": 0.95 * ratio, "high": 1.05 * ratio} if length in (16, 32) else {"low": None, "high": None}
        return {"transformer": {"than": "wavestack", "ratio": ratio, "pairs": 5, **ends}} if length <= 64 else {}

    write_points(tmp_path, AGAIN, "training", lambda length: 2048 // length, again, ratios_again)
    lengths = ", ".join(map(str, LENGTHS))
    first, decode = f"lengths: [{lengths}], tokens: 2048", f"mode: decode, lengths: [{lengths}], batch: 1"
    sweeps = f"[{{{first}}}, {{{decode}}}, {{{first}, round: 2}}]"
    write_lengths(load("params/smoke.yaml", [f"studies.lengths.sweeps={sweeps}"]), tmp_path)
    content = read_json(tmp_path / "studies" / "lengths.json")
    assert (tmp_path / "studies" / "lengths.csv").read_text().count("\n") == 1 + 3 * 2 * len(LENGTHS)
    return {sweep["name"]: sweep for sweep in content["sweeps"]}


def fit(sweep, spec, measure, part="all"):
    return next(found for found in sweep["fits"] if (found["spec"], found["measure"], found["range"]) == (spec, measure, part))


def test_failed_measurements_are_kept(found):
    rows = found[TRAINING]["rows"]
    assert len(rows) == 16
    (lost,) = [row for row in rows if row["status"] != "ok"]
    assert (lost["spec"], lost["length"], lost["batch"], lost["status"], lost["reason"]) == (
        "transformer",
        2048,
        1,
        "out_of_memory",
        "killed",
    )
    assert lost["tokens_per_second"] is None


def test_exponents_are_of_a_sequence(found):
    """A batch of as many tokens that takes as long is linear; a decoded token that does so is flat."""
    training, decode = found[TRAINING], found[DECODE]
    assert fit(training, "wavestack", "time")["value"] == pytest.approx(1)
    assert fit(training, "transformer", "time")["value"] == pytest.approx(2)
    assert fit(training, "transformer", "time")["lengths"] == list(LENGTHS[:-1])
    assert fit(training, "wavestack", "time", "upper half")["lengths"] == [256, 512, 1024, 2048]
    assert fit(training, "transformer", "time", "upper half")["lengths"] == [256, 512, 1024]  # the same range, without what was lost
    assert fit(training, "wavestack", "time", "from 1,024")["value"] is None  # two lengths
    assert fit(training, "transformer", "memory")["value"] == pytest.approx(2)
    assert fit(decode, "wavestack", "time")["value"] == pytest.approx(0, abs=1e-9)
    assert fit(decode, "wavestack", "state")["value"] == pytest.approx(0, abs=1e-9)
    assert fit(decode, "transformer", "state")["value"] == pytest.approx(1)
    (state,) = decode["crossovers"]
    assert (state["measure"], state["length"], state["low"]) == ("state", pytest.approx(128), None)


def test_a_later_round_is_held_against_the_first(found):
    """The same points a tenth slower and steeper by 0.1; a model that it could not measure has no difference, nor has another sweep."""
    assert "differences" not in {**found[TRAINING], **found[DECODE]}
    differences = {(row["spec"], row["measure"], row["range"]): row for row in found[AGAIN]["differences"]}
    assert set(differences) == {("wavestack", measure, part) for measure in ("time", "memory") for part in ("all", "upper half")}
    assert differences["wavestack", "time", "all"]["value"] == pytest.approx(0.1)
    assert differences["wavestack", "memory", "all"]["value"] == pytest.approx(0)


def test_times_of_jobs_on_a_machine_that_tires_are_told_in_yardsticks(tmp_path):
    """Each job is half as slow again as the one before: in seconds an exponent of 0.585 more, and none in yardsticks."""
    slower = {length: 1.5**place for place, length in enumerate(LENGTHS)}

    def models(length):
        return {"wavestack": measured(slower[length], 2048, 5000), "transformer": measured(2 * slower[length], 2048, 5000)}

    values = {}
    for told in (True, False):
        write_points(tmp_path, TRAINING, "training", lambda length: 2048 // length, models, lambda length: {})
        for length in LENGTHS if told else LENGTHS[1:]:
            path = tmp_path / "profile" / TRAINING / f"length{length}.json"
            known = {"spec": "wavestack", "length": 16, "seconds_median": slower[length], "ratio": 1.0}
            write_json(path, {**read_json(path), "yardstick": known})
        lengths = ", ".join(map(str, LENGTHS))
        sweeps = f"[{{lengths: [{lengths}], tokens: 2048, yardstick: 16}}]"
        (sweep,) = write_lengths(load("params/smoke.yaml", [f"studies.lengths.sweeps={sweeps}"]), tmp_path)["sweeps"]
        values[told] = {spec: fit(sweep, spec, "time")["value"] for spec in ("wavestack", "transformer")}
        assert [found["at"] for found in sweep["yardsticks"]] == list(LENGTHS if told else LENGTHS[1:])
        assert in_yardsticks(sweep["rows"]) == told
    assert values[True] == pytest.approx(dict.fromkeys(("wavestack", "transformer"), 1.0))
    assert values[False] == pytest.approx(dict.fromkeys(("wavestack", "transformer"), 1 + math.log2(1.5)))  # one is missing


def test_rounds_are_compared_in_a_unit_that_both_have(tmp_path):
    """Both on a machine that tires alike, so that nothing is between them; one yardstick of the later round is missing."""
    slower = {length: 1.5**place for place, length in enumerate(LENGTHS)}
    for name in (TRAINING, AGAIN):
        models = lambda length: {"wavestack": measured(slower[length], 2048, 5000)}  # noqa: E731
        write_points(tmp_path, name, "training", lambda length: 2048 // length, models, lambda length: {})
        for length in LENGTHS if name == TRAINING else LENGTHS[1:]:
            path = tmp_path / "profile" / name / f"length{length}.json"
            known = {"spec": "wavestack", "length": 16, "seconds_median": slower[length], "ratio": 1.0}
            write_json(path, {**read_json(path), "yardstick": known})
    first = f"lengths: [{', '.join(map(str, LENGTHS))}], tokens: 2048, yardstick: 16, specs: [wavestack]"
    parameters = load("params/smoke.yaml", [f"studies.lengths.sweeps=[{{{first}}}, {{{first}, round: 2}}]"])
    sweeps = write_lengths(parameters, tmp_path)["sweeps"]
    assert [in_yardsticks(sweep["rows"]) for sweep in sweeps] == [True, False]
    assert [found["value"] for found in sweeps[1]["differences"]] == pytest.approx([0.0] * len(sweeps[1]["differences"]))
    assert len(sweeps[1]["differences"]) == 4


def test_what_was_measured_so_far_is_told(tmp_path, found):
    """Of the first sweep all but the longest two lengths, of its second round none, and of decoding all."""
    lengths = ", ".join(map(str, LENGTHS))
    first = f"lengths: [{lengths}], tokens: 2048"
    sweeps = f"[{{{first}}}, {{mode: decode, lengths: [{lengths}], batch: 1}}, {{{first}, round: 2}}]"
    for path in (tmp_path / "profile" / AGAIN).glob("length*.json"):
        path.unlink()
    for length in LENGTHS[-2:]:
        (tmp_path / "profile" / TRAINING / f"length{length}.json").unlink()
    write_lengths(load("params/smoke.yaml", [f"studies.lengths.sweeps={sweeps}"]), tmp_path)
    told = {sweep["name"]: sweep for sweep in read_json(tmp_path / "studies" / "lengths.json")["sweeps"]}
    assert list(told) == [TRAINING, DECODE]
    assert [row["length"] for row in told[TRAINING]["rows"] if row["spec"] == "wavestack"] == list(LENGTHS[:-2])
    assert told[DECODE] == found[DECODE]


def test_a_length_that_was_measured_of_other_models_is_named(tmp_path):
    write_points(tmp_path, TRAINING, "training", lambda length: 1, lambda length: {"wavestack": measured(1.0, 1, 1)}, lambda length: {})
    parameters = load("params/smoke.yaml", ["studies.lengths.sweeps=[{lengths: [16], tokens: 2048}]"])
    with pytest.raises(ValueError, match=r"length16.json is of other models, without transformer; measure this length again"):
        write_lengths(parameters, tmp_path)


def test_ratios_of_a_later_round_are_held_against_the_first(found):
    repeated = {row["length"]: row for row in found[AGAIN]["repeated"]}
    assert {length: (row["inside"], row["meet"]) for length, row in repeated.items()} == {
        16: (True, True), 32: (False, False), 64: (None, None)
    }  # fmt: skip
    assert repeated[32]["first"] == pytest.approx({"ratio": 0.125, "low": 0.1125, "high": 0.1375})
    assert repeated[32]["again"]["ratio"] == pytest.approx(1.3 * 0.125)


def test_a_peak_that_was_not_told_leaves_the_others(tmp_path):
    models = lambda length: {"wavestack": measured(1.0, 2048, None if length == 64 else 5000)}  # noqa: E731
    write_points(tmp_path, "training-cpu-float32-batch1", "training", lambda length: 1, models, lambda length: {})
    lengths = ", ".join(map(str, LENGTHS))
    sweeps = f"studies.lengths.sweeps=[{{lengths: [{lengths}], batch: 1, specs: [wavestack]}}]"
    (sweep,) = write_lengths(load("params/smoke.yaml", [sweeps]), tmp_path)["sweeps"]
    assert fit(sweep, "wavestack", "memory")["lengths"] == tuple(length for length in LENGTHS if length != 64)
    assert fit(sweep, "wavestack", "time")["lengths"] == LENGTHS


def test_a_round_needs_the_first_one():
    with pytest.raises(ValueError, match="round 2 of training-cpu-float32-tokens2048 has no first one"):
        load("params/smoke.yaml", ["studies.lengths.sweeps=[{lengths: [16], tokens: 2048, round: 2}]"])


def test_a_round_is_of_the_models_of_the_first_one():
    """A model has as many positions as the longest sequence of its sweep."""
    sweeps = "[{lengths: [16, 32], tokens: 2048}, {lengths: [16], tokens: 2048, round: 2}]"
    with pytest.raises(ValueError, match=r"round2 is of models with 16 positions, and training-cpu-float32-tokens2048 of ones with 32"):
        load("params/smoke.yaml", [f"studies.lengths.sweeps={sweeps}"])


def test_shapes_and_crossovers(found):
    shapes = {(shape["spec"], shape["measure"]): shape["chosen"] for shape in found[TRAINING]["shapes"]}
    assert shapes == {("wavestack", "time"): "linear", ("wavestack", "memory"): "linear"}  # the transformer has seven lengths
    time, memory = found[TRAINING]["crossovers"]
    assert (time["against"], time["measure"]) == ("transformer", "time")
    assert time["length"] == pytest.approx(256)
    assert time["low"] == pytest.approx(256 / 1.1, rel=0.01)
    assert time["high"] == pytest.approx(256 / 0.9, rel=0.01)
    assert (memory["where"], memory["measure"]) == ("always", "memory")


def test_where_memory_crosses_by_each_way_to_count_it(tmp_path):
    """Theirs is 10 bytes a token. Ours is 5,120 by the process's peak, which crosses at 512, and half of it by its tensors."""

    def models(length):
        ours, theirs = (measured(1.0, 2048, peak) for peak in (5120, 10 * length))
        return {"wavestack": ours | {"accounted_bytes": 2560}, "transformer": theirs | {"accounted_bytes": 10 * length}}

    write_points(tmp_path, "training-cpu-float32-batch1", "training", lambda length: 1, models, lambda length: {})
    lengths = ", ".join(map(str, LENGTHS))
    parameters = load("params/smoke.yaml", [f"studies.lengths.sweeps=[{{lengths: [{lengths}], batch: 1}}]"])
    (sweep,) = write_lengths(parameters, tmp_path)["sweeps"]
    (memory,) = sweep["crossovers"]
    assert (memory["measure"], memory["where"]) == ("memory", "inside")
    assert [memory[key] for key in ("length", "low", "high")] == pytest.approx([512, 256, 512])
