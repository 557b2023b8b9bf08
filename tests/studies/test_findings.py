"""Findings on results written by hand: what each claim is decided by, and which way."""

import json
import math
from itertools import product
from pathlib import Path

import pandas
import pytest
import yaml

from wavestack import steps
from wavestack.artifacts import read_json, write_json
from wavestack.reading import load
from wavestack.studies.claims import CLAIMS
from wavestack.studies.evidence import Evidence, Results, compared, difference, judged
from wavestack.studies.findings import decide, effect, write_findings

SMOKE = "params/smoke.yaml"


def found(parameters, reports):
    """The findings by the ids of their claims."""
    return {finding["id"]: finding for finding in write_findings(parameters, reports)}


def on_corpora(*names, comparison="", **studies):
    """Parameters of the smoke profile with these corpora in its comparison, of wavestack and both transformers."""
    specs = "[wavestack, transformer, transformer-convolution]"
    overrides = [f"corpora.{name}={{}}" for name in names]
    overrides += [f"studies.comparison={{corpora: [{', '.join(names)}], specs: {specs}, budget: tiny, seeds: [0, 1, 2]{comparison}}}"]
    return load(SMOKE, [*overrides, *(f"studies.{name}={value}" for name, value in studies.items())])


def against_one():
    """Parameters of a comparison of wavestack with one transformer, on WikiText-2."""
    comparison = "studies.comparison={corpora: [wikitext-2], specs: [wavestack, transformer], budget: tiny, seeds: [0, 1, 2]}"
    return load(SMOKE, ["corpora.wikitext-2={}", comparison])


KNOWN = "{corpus: pydocs, spec: transformer, budget: tiny, at_most: 6.0}"
CALIBRATION = f"studies.calibration={KNOWN}"


def calibrated(reports, passed=True, lanes="null"):
    """Parameters of the smoke profile with a grid of these lanes (of all) and a calibration, and whether it was passed."""
    row = {"nats_per_token": 5.0 if passed else 7.0}
    write_json(reports / "studies" / "calibration.json", {"row": row, "at_most": 6.0, "passed": passed})
    return load(SMOKE, [CALIBRATION, f"studies.ablation.lanes={lanes}"])


def compare(reports, *entries):
    """A comparison with these entries: corpus, spec, against, percent, low and high; a low of None is undecided for want of seeds."""
    keys = ("corpus", "spec", "against", "perplexity_percent", "low_percent", "high_percent")
    differences = []
    for entry in entries:
        known = (
            {"verdict": "undecided", "reason": "1 seed gives a point, no interval"}
            if entry[4] is None
            else {"verdict": "x", "reason": None}
        )
        differences.append({**dict(zip(keys, entry, strict=True)), **known})
    write_json(reports / "studies" / "comparison.json", {"differences": differences, "rows": [], "means": []})


@pytest.mark.parametrize("hard", ["transformer", "transformer-convolution"])
@pytest.mark.parametrize(
    ("low", "high", "verdict", "reason"),
    [(-9.0, -1.0, "supported", None), (0.5, 2.0, "refuted", None), (-1.0, 2.0, "undecided", "the interval holds 0 (in 1 of 2)")],
)
def test_tinystories_is_decided_by_the_transformer_that_is_harder_to_beat(tmp_path, low, high, verdict, reason, hard):
    parameters = on_corpora("tinystories-excerpt", "wikitext-2")
    easy = ({"transformer", "transformer-convolution"} - {hard}).pop()
    compare(
        tmp_path,
        ("tinystories-excerpt", "wavestack", hard, (low + high) / 2, low, high),
        ("tinystories-excerpt", "wavestack", easy, -15.0, -16.0, -14.0),
        ("wikitext-2", "wavestack", "transformer", 8.0, 7.0, 9.0),
    )
    finding = found(parameters, tmp_path)["tinystories-beats-transformer"]
    assert (finding["verdict"], finding["reason"]) == (verdict, reason)
    assert sorted((each["decides"], each["low"]) for each in finding["evidence"]) == sorted([(True, low), (True, -16.0)])


@pytest.mark.parametrize(("low", "high", "verdict"), [(2.0, 9.0, "supported"), (10.5, 12.0, "refuted"), (9.0, 11.0, "undecided")])
def test_wikitext_may_be_worse_by_ten_percent(tmp_path, low, high, verdict):
    both = ("transformer", "transformer-convolution")
    compare(tmp_path, *(("wikitext-2", "wavestack", theirs, (low + high) / 2, low, high) for theirs in both))
    assert found(on_corpora("wikitext-2"), tmp_path)["wikitext2-within-10-percent"]["verdict"] == verdict


def test_what_the_comparison_leaves_undecided_stays_so(tmp_path):
    both = ("transformer", "transformer-convolution")
    compare(tmp_path, *(("wikitext-2", "wavestack", theirs, -5.0, None, None) for theirs in both))
    finding = found(on_corpora("wikitext-2"), tmp_path)["wikitext2-within-10-percent"]
    assert (finding["verdict"], finding["reason"]) == ("undecided", "1 seed gives a point, no interval (in 2 of 2)")


@pytest.mark.parametrize(("low", "high", "verdict"), [(2.0, 9.0, "undecided"), (10.5, 12.0, "refuted")])
def test_a_transformer_that_is_not_compared_yet_keeps_a_claim_from_being_supported(tmp_path, low, high, verdict):
    compare(tmp_path, ("wikitext-2", "wavestack", "transformer", (low + high) / 2, low, high))
    finding = found(on_corpora("wikitext-2"), tmp_path)["wikitext2-within-10-percent"]
    assert finding["verdict"] == verdict
    assert (finding["evidence"][1]["reason"], finding["evidence"][1]["decides"]) == ("not measured yet", True)


def test_a_difference_seen_from_the_other_side():
    """A perplexity of 125 against 100 is 25% more; 100 against 125 is 20% less. An interval's ends change places."""
    percents = {"perplexity_percent": 25.0, "low_percent": 0.0, "high_percent": 100.0}
    content = {"differences": [{"corpus": "a", "spec": "transformer", "against": "wavestack", **percents}]}
    turned = difference(content, "a", "wavestack", "transformer")
    assert [turned[key] for key in percents] == pytest.approx([-20.0, -50.0, 0.0])
    assert difference(content, "b", "wavestack", "transformer") is None


def test_a_bound_without_end_from_the_other_side_is_none():
    """One of three seeds that never learned has an interval of 60 nats, of which e leaves nothing of a perplexity."""
    percents = {"perplexity_percent": 100.0, "low_percent": -100.0, "high_percent": 1e28}
    content = {"differences": [{"corpus": "a", "spec": "transformer", "against": "wavestack", **percents}]}
    turned = difference(content, "a", "wavestack", "transformer")
    assert (turned["perplexity_percent"], turned["low_percent"], turned["high_percent"]) == (-50.0, -100.0, None)


def test_a_profile_without_results_says_what_it_would_take(tmp_path):
    findings = found(load(SMOKE), tmp_path)
    assert list(findings) == [claim.id for claim in CLAIMS]
    assert {finding["verdict"] for finding in findings.values()} == {"undecided"}
    reason = "it takes a comparison of a stack of lanes with the transformer on TinyStories, of which this profile has no results"
    assert findings["tinystories-beats-transformer"]["reason"] == reason


BASES = {
    "corpora": ["pydocs"], "specs": ["bases", "bases-random", "bases-learned", "bases-mean", "wavestack"], "budgets": ["tiny"],
    "tokens": [10_240, 20_480], "seeds": [0, 1, 2],
}  # fmt: skip


@pytest.mark.parametrize(
    ("lows", "in_family", "verdict"),
    [
        ((-3.0, -2.0, -3.0, -2.0), "no difference", "supported"),
        ((-3.0, -2.0, -3.0, 1.0), "worse", "refuted"),
        ((-3.0, -2.0, -3.0, 1.0), "no difference", "undecided"),
        ((-3.0, -2.0, -3.0, -0.5), "no difference", "undecided"),
    ],
)
def test_explicit_mathematics_has_to_be_better_than_every_other_basis_everywhere(tmp_path, lows, in_family, verdict):
    """An interval is one percent wide alone, and wider in the family. Of other lanes, which say nothing of bases, there is no evidence."""
    parameters = load(SMOKE, [f"studies.sizes={json.dumps(BASES)}"])
    places = list(product(("bases-random", "bases-learned", "bases-mean"), (10_240, 20_480)))
    lows = (-4.0, -4.0, *lows)
    entries = [
        {"corpus": "pydocs", "spec": "bases", "against": against, "budget": "tiny", "tokens": tokens, "perplexity_percent": low + 0.5,
         "low_percent": low - 9, "high_percent": low + 9, "low_percent_alone": low, "high_percent_alone": low + 1, "verdict": in_family,
         "reason": None}
        for (against, tokens), low in zip([*places, ("wavestack", 20_480)], [*lows, 7.0], strict=True)
    ]  # fmt: skip
    write_json(tmp_path / "studies" / "sizes.json", {"equal_size": entries})
    finding = found(parameters, tmp_path)["explicit-is-more-efficient"]
    assert finding["verdict"] == verdict
    assert [evidence["low"] for evidence in finding["evidence"]] == list(lows)
    write_json(tmp_path / "studies" / "sizes.json", {"equal_size": entries[1:]})
    finding = found(parameters, tmp_path)["explicit-is-more-efficient"]
    assert finding["verdict"] == ("refuted" if verdict == "refuted" else "undecided")
    lacking = finding["evidence"][-1]
    assert lacking["protocol"] == "pydocs: bases against bases-random, tiny, 10,240 training tokens"
    assert (lacking["reason"], lacking["decides"]) == ("not measured yet", True)


@pytest.mark.parametrize("only", ["bases-random", "bases-learned"])
def test_it_takes_random_and_learned_bases(tmp_path, only):
    better = {"low_percent_alone": -3.0, "high_percent_alone": -2.0, "perplexity_percent": -2.5, "verdict": "better", "reason": None}
    entry = {"corpus": "pydocs", "spec": "bases", "against": only, "budget": "tiny", "tokens": 10_240, **better}
    write_json(tmp_path / "studies" / "sizes.json", {"equal_size": [entry]})
    parameters = load(SMOKE, [f"studies.sizes={json.dumps(BASES | {'specs': ['bases', only]})}"])
    finding = found(parameters, tmp_path)["explicit-is-more-efficient"]
    assert [(each["verdict"], each["decides"]) for each in finding["evidence"]] == [("supported", False), ("undecided", False)]
    assert finding["verdict"] == "undecided"


def test_lanes_that_are_left_out_say_nothing_of_bases(tmp_path):
    sizes = "{corpora: [pydocs], specs: [wavestack, transformer], budgets: [tiny], tokens: [20_480], seeds: [0]}"
    write_json(tmp_path / "studies" / "sizes.json", {"equal_size": [{"against": "transformer"}]})
    assert found(load(SMOKE, [f"studies.sizes={sizes}"]), tmp_path)["explicit-is-more-efficient"]["evidence"] == []


AUDITED = (
    "{corpora: [tinystories-excerpt], ours: reference, theirs: reference-transformer, budget: tiny, seeds: [0, 1, 2], "
    "training: {rows: documents}, tokens: 9, mends: [{name: scale, replay: {scale: 1.0}}]}"
)


def test_the_audit_stands_beside_what_decides(tmp_path):
    rung = {"corpus": "tinystories-excerpt", "kind": "cumulative", "ours": "reference", "theirs": "reference-transformer", "reason": None}
    rung |= {"our_parameters": 42_339_715, "their_parameters": 23_840_320, "published_theirs": 1.048}
    rung |= {
        "published_gap": -0.319,
        "published_low": -0.33,
        "published_high": -0.31,
        "nats_gap": 0.01,
        "nats_low": -0.01,
        "nats_high": 0.03,
    }
    rows = [{**rung, "mended": "as published"}, {**rung, "mended": "scale"}, {**rung, "kind": "alone", "mended": "scale"}]
    write_json(tmp_path / "studies" / "audit.json", {"rows": rows, "seeds": [0, 1, 2]})
    parameters = on_corpora("tinystories-excerpt", audit=AUDITED, calibration=KNOWN)
    doubted = found(parameters, tmp_path)["tinystories-beats-transformer"]["evidence"][0]
    assert (doubted["verdict"], doubted["reason"]) == ("undecided", "the calibration has not run")
    calibrated(tmp_path)
    finding = found(parameters, tmp_path)["tinystories-beats-transformer"]
    published, mended = finding["evidence"]
    assert published["value"] == pytest.approx(-100 * 0.319 / 1.048)
    assert published["protocol"].endswith("under the published protocol, 42,339,715 against 23,840,320 parameters")
    assert (published["verdict"], published["decides"]) == ("supported", False)
    assert mended["value"] == pytest.approx(100 * math.expm1(0.01))
    assert (mended["verdict"], mended["reason"]) == ("undecided", "the interval holds 0")
    assert finding["verdict"] == "undecided"


def test_of_the_audit_the_rungs_are_told_that_turn_the_verdict(tmp_path):
    rung = {"corpus": "tinystories-excerpt", "kind": "cumulative", "ours": "reference", "theirs": "reference-transformer", "reason": None}
    rung |= {"our_parameters": 10, "their_parameters": 10, "published_theirs": 1.0}
    rung |= {f"published_{which}": -0.3 for which in ("gap", "low", "high")}
    gaps = {"as published": -0.5, "unit": -0.5, "baseline": 0.2, "optimiser": 0.1, "lanes": -0.2, "last": -0.1}
    rows = [{**rung, "mended": name, **{f"nats_{which}": gap for which in ("gap", "low", "high")}} for name, gap in gaps.items()]
    write_json(tmp_path / "studies" / "audit.json", {"rows": rows, "seeds": [0, 1, 2]})
    calibrated(tmp_path)
    parameters = on_corpora("tinystories-excerpt", audit=AUDITED, calibration=KNOWN)
    evidence = found(parameters, tmp_path)["tinystories-beats-transformer"]["evidence"]
    places = [(2, "baseline", "refuted"), (4, "lanes", "supported"), (5, "last", "supported")]
    assert [each["verdict"] for each in evidence] == ["supported", *(verdict for *_, verdict in places)]
    for each, (place, name, _) in zip(evidence[1:], places, strict=True):
        assert f"after {place} changes, the last of them {name}, 10 against" in each["protocol"]


def lengths(reports, **exponents):
    """Seconds a sequence of 1 ms at 256 tokens, growing as is said, a little off and on a straight line. 256 and
    16,384 are none of the claim's.

    A token takes as much memory at every length.
    """
    rows = [
        {"spec": spec, "mode": "training", "length": length, "batch": 2, "status": "ok", "seconds_median": 2e-3 * seconds}
        | dict.fromkeys(("peak_bytes", "accounted_bytes"), 2000 * length)
        for spec, power in exponents.items()
        for length, off in zip((256, 512, 1024, 2048, 4096, 16384), (9, 1.005, 0.995, 0.995, 1.005, 9), strict=True)
        for seconds in [off * (length / 256) ** power]
    ]
    write_sweeps(reports, of_sweep("training-cpu-float32-batch2", rows), of_sweep("decode-cpu-float32-batch2", rows, mode="decode"))


def of_time(finding):
    return [evidence for evidence in finding["evidence"] if evidence["measure"] == "exponent of time"]


def of_sweep(name, rows, **settings):
    """As the length study has it; of a first round, where nothing else is said."""
    return {"name": name, "first_round": name, "mode": "training", "device": "cpu", "rows": rows, "ratios": []} | settings


def write_sweeps(reports, *sweeps):
    write_json(reports / "studies" / "lengths.json", {"threads": 2, "sweeps": sweeps})


def swept(*sweeps):
    """Parameters that ask for these sweeps of WaveStack and a transformer."""
    study = {"specs": ["wavestack", "transformer"], "budget": "tiny", "vocabulary": 512, "sweeps": sweeps}
    return on_corpora("pydocs", lengths=json.dumps(study))


TRAINING = {"mode": "training", "lengths": [256, 512, 1024, 2048, 4096, 16384], "batch": 2}


@pytest.mark.parametrize(
    ("asked", "lacking"),
    [
        ([TRAINING], []),
        ([TRAINING, TRAINING | {"round": 2}, {"mode": "prefill", "lengths": [256], "batch": 2}], []),
        ([TRAINING, {"mode": "training", "lengths": [256], "batch": 3, "specs": ["wavestack", "transformer-window"]}], []),
        ([TRAINING | {"lengths": [*TRAINING["lengths"], 8192]}], []),  # beyond the claim
        ([TRAINING | {"lengths": [128, *TRAINING["lengths"]]}], []),  # below it
        ([TRAINING | {"lengths": [*TRAINING["lengths"], 1536, 3072]}], ["training-cpu-float32-batch2, 1,536, 3,072 tokens"]),
        ([TRAINING, {"mode": "forward", "lengths": [512, 8192], "batch": 1}], ["forward-cpu-float32-batch1, 512 tokens"]),
    ],
)
def test_what_is_not_measured_yet_keeps_a_claim_from_being_supported_and_not_from_being_refuted(tmp_path, asked, lacking):
    lengths(tmp_path, wavestack=1.0, transformer=1.5)
    finding = found(swept(*asked), tmp_path)["linear-in-sequence-length"]
    assert [each["protocol"] for each in of_time(finding)[1:]] == lacking
    assert finding["verdict"] == ("undecided" if lacking else "supported")
    lengths(tmp_path, wavestack=1.3, transformer=1.5)
    assert found(swept(*asked), tmp_path)["linear-in-sequence-length"]["verdict"] == "refuted"


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"), [(1.0, 1.5, "supported"), (1.3, 1.5, "refuted"), (1.0, 1.0, "refuted"), (1.03, 1.5, "undecided")]
)
def test_linear_is_an_exponent_of_one(tmp_path, ours, theirs, verdict):
    lengths(tmp_path, wavestack=ours, transformer=theirs)
    finding = found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]
    assert finding["verdict"] == verdict
    (evidence,) = of_time(finding)
    assert evidence["value"] == pytest.approx(ours, abs=0.01)
    assert evidence["low"] < evidence["value"] < evidence["high"]
    assert f"512 to 4,096 tokens; transformer has {theirs:.1f}" in evidence["protocol"]


@pytest.mark.parametrize(
    ("ours", "theirs", "unclear"),
    [(1.03, 1.5, "wavestack"), (1.0, 1.03, "transformer"), (1.03, 1.03, "wavestack and of transformer")],
)
def test_whose_exponent_leaves_it_open_is_told(tmp_path, ours, theirs, unclear):
    lengths(tmp_path, wavestack=ours, transformer=theirs)
    (evidence,) = of_time(found(swept(TRAINING), tmp_path)["linear-in-sequence-length"])
    assert evidence["reason"] == f"up to 1.03 is called linear, and the interval of {unclear} lies on both sides"


@pytest.mark.parametrize(
    ("marks", "tensors", "verdict"),
    [(1.0, 1.0, "supported"), (0.9, 1.0, "supported"), (1.0, 1.2, "undecided"), (1.2, 1.2, "refuted")],
)
def test_memory_is_to_grow_linearly_as_well_however_it_is_counted(tmp_path, marks, tensors, verdict):
    """Nor is it said twice, of a sweep that has two baselines."""
    lengths(tmp_path, wavestack=1.0, transformer=1.5, **{"transformer-heads-64": 1.5})
    content = read_json(tmp_path / "studies" / "lengths.json")
    for row in content["sweeps"][0]["rows"]:
        row |= {"peak_bytes": round(1e6 * row["length"] ** marks), "accounted_bytes": round(1e6 * row["length"] ** tensors)}
    write_json(tmp_path / "studies" / "lengths.json", content)
    finding = found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]
    (memory,) = [evidence for evidence in finding["evidence"] if evidence["measure"] == "exponent of memory"]
    assert (memory["value"], memory["verdict"], memory["decides"]) == (pytest.approx(marks, abs=1e-3), verdict, True)
    assert memory["high"] == pytest.approx(max(marks, tensors), abs=1e-3)
    assert "512 to 4,096 tokens" in memory["protocol"]
    assert finding["verdict"] == verdict


@pytest.mark.parametrize(("device", "verdict"), [("cpu", "undecided"), ("cuda", "supported")])
def test_memory_that_was_not_counted_in_each_way_does_not_grow_linearly(tmp_path, device, verdict):
    """On a CPU there are two, and one of them lacks two lengths of the four; a GPU's allocator counts all."""
    lengths(tmp_path, wavestack=1.0, transformer=1.5)
    content = read_json(tmp_path / "studies" / "lengths.json")
    content["sweeps"][0]["device"] = device
    for row in content["sweeps"][0]["rows"]:
        row["accounted_bytes"] = None if device == "cuda" or row["length"] in (1024, 2048) else row["accounted_bytes"]
    write_json(tmp_path / "studies" / "lengths.json", content)
    finding = found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]
    memory = finding["evidence"][1]
    assert (memory["verdict"], finding["verdict"]) == (verdict, verdict)
    assert memory["reason"] == (None if device == "cuda" else "memory of fewer than 3 lengths from 512 to 4,096 is known in each way")


def test_what_memory_takes_at_every_length_hides_no_quadratic_term(tmp_path):
    """50 MB whatever the length, 0.13 MB a token, and half of all at 4,096 quadratic."""
    lengths(tmp_path, wavestack=1.0, transformer=1.5)
    content = read_json(tmp_path / "studies" / "lengths.json")
    for row in content["sweeps"][0]["rows"]:
        size = 2 * round(50e6 + 0.13e6 * row["length"] + 32 * row["length"] ** 2)
        row |= {"peak_bytes": size, "accounted_bytes": size}
    write_json(tmp_path / "studies" / "lengths.json", content)
    memory = found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]["evidence"][1]
    assert (memory["measure"], memory["verdict"]) == ("exponent of memory", "undecided")


def test_a_sweep_of_lanes_alone_says_nothing_of_models(tmp_path):
    lengths(tmp_path, wavestack=1.0, transformer=1.5)
    content = read_json(tmp_path / "studies" / "lengths.json")
    both = content["sweeps"][0]
    content["sweeps"].append({**both, "rows": [row | {"spec": "fourier-alone"} for row in both["rows"] if row["spec"] == "wavestack"]})
    write_json(tmp_path / "studies" / "lengths.json", content)
    finding = found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]
    assert (finding["verdict"], len(of_time(finding))) == ("supported", 1)


def test_every_transformer_that_attends_to_all_is_a_baseline(tmp_path):
    """One with wider heads decides as well; one with a window, or with the mask of S x S, does not."""
    powers = {"transformer": 1.5, "transformer-heads-64": 1.0, "transformer-window": 1.0, "transformer-masked": 2.0}
    lengths(tmp_path, wavestack=1.0, **powers)
    finding = found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]
    assert [evidence["verdict"] for evidence in of_time(finding)] == ["supported", "refuted"]
    assert "transformer-heads-64 has 1.0" in of_time(finding)[1]["protocol"]
    assert finding["verdict"] == "refuted"


def test_a_later_round_is_no_evidence_of_its_own(tmp_path):
    lengths(tmp_path, wavestack=1.0, transformer=1.5)
    content = read_json(tmp_path / "studies" / "lengths.json")
    content["sweeps"].append({**content["sweeps"][0], "name": "training-cpu-float32-batch2-round2"})
    write_json(tmp_path / "studies" / "lengths.json", content)
    assert [each["measure"][12:] for each in found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]["evidence"]] == [
        "time",
        "memory",
    ]


@pytest.mark.parametrize(
    ("ratios", "verdict"), [((9, 0.9, 1.1, 1.4), "supported"), ((0.3, 0.9, 0.95, 1.0), "undecided"), ((0.3, 0.9, 1.4), "undecided")]
)
def test_attention_that_bends_upwards_is_told_by_calls_side_by_side(tmp_path, ratios, verdict):
    """A line through a bend has a wide interval; 0.9 that becomes 1.4 from 512 to 4,096 is an exponent of 0.2 more. 256 does not count."""
    lengths(tmp_path, wavestack=1.0, transformer=1.0)
    content = read_json(tmp_path / "studies" / "lengths.json")
    for row in content["sweeps"][0]["rows"]:
        row["seconds_median"] *= 1 + (row["length"] / 4096) ** 3 if row["spec"] == "transformer" else 1
    content["sweeps"][0]["ratios"] = [
        {"spec": "transformer", "than": "wavestack", "length": length, "ratio": ratio, "low": ratio - 0.05, "high": ratio + 0.05}
        for length, ratio in zip((256, 512, 1024, 4096), ratios, strict=False)
    ]
    write_json(tmp_path / "studies" / "lengths.json", content)
    assert found(swept(TRAINING), tmp_path)["linear-in-sequence-length"]["verdict"] == verdict


def test_two_lengths_do_not_decide(tmp_path):
    lengths(tmp_path, wavestack=1.0, transformer=1.5)
    content = read_json(tmp_path / "studies" / "lengths.json")
    content["sweeps"][0]["rows"] = [row for row in content["sweeps"][0]["rows"] if row["length"] in (256, 512, 1024)]
    write_json(tmp_path / "studies" / "lengths.json", content)
    finding = found(swept(TRAINING | {"lengths": [256, 512, 1024]}), tmp_path)["linear-in-sequence-length"]
    (evidence,) = of_time(finding)
    assert (finding["verdict"], evidence["reason"]) == ("undecided", "fewer than 3 lengths from 512 to 4,096 were measured")


@pytest.mark.parametrize(
    ("saved", "verdict"),
    [({"fourier": (0.1, 0.3), "wavelet": (0.1, 0.2)}, "supported"), ({"fourier": (0.1, 0.3), "wavelet": (-0.2, -0.1)}, "refuted"),
     ({"fourier": (0.1, 0.3), "wavelet": (-0.1, 0.2)}, "undecided")],
)  # fmt: skip
def test_every_lane_must_save_something(tmp_path, saved, verdict):
    """Pairs are shown and decide nothing; what is saved is shown as the loss's change, which is its negative."""
    entry = {"corpus": "pydocs", "reason": None}
    worths = [
        {**entry, "of": "lane", "lanes": [lane], "nats_per_token": (low + high) / 2, "low": low, "high": high}
        for lane, (low, high) in saved.items()
    ]
    worths += [{**entry, "of": "pair", "lanes": ["fourier", "wavelet"], "nats_per_token": -0.5, "low": -0.6, "high": -0.4}]
    write_json(tmp_path / "studies" / "ablation.json", {"worths": worths, "rows": [], "means": []})
    finding = found(calibrated(tmp_path), tmp_path)["every-lane-contributes"]
    assert finding["verdict"] == verdict
    assert [each["decides"] for each in finding["evidence"]] == [True, True, False]
    assert (finding["evidence"][0]["low"], finding["evidence"][0]["high"]) == (-0.3, -0.1)


@pytest.mark.parametrize(("lost", "verdict"), [((0.1, 0.2), "supported"), ((-0.1, 0.1), "undecided"), ((-0.2, -0.1), "refuted")])
def test_lanes_that_do_the_same_merely_repeat_one_another(tmp_path, lost, verdict):
    """Each has a Shapley value, and nothing is lost without it."""
    entry = {"corpus": "pydocs", "reason": None, "lanes": ["fourier"]}
    worths = [
        {**entry, "of": of, "nats_per_token": (low + high) / 2, "low": low, "high": high}
        for of, (low, high) in (("lane", (0.1, 0.3)), ("removal", lost))
    ]
    write_json(tmp_path / "studies" / "ablation.json", {"worths": worths, "rows": [], "means": []})
    assert found(calibrated(tmp_path), tmp_path)["every-lane-contributes"]["verdict"] == verdict


def test_lanes_are_not_judged_before_a_baseline_came_out_as_it_is_known_to(tmp_path):
    worth = {"corpus": "pydocs", "reason": None, "of": "lane", "lanes": ["fourier"], "nats_per_token": 0.2, "low": 0.1, "high": 0.3}
    write_json(tmp_path / "studies" / "ablation.json", {"worths": [worth], "rows": [], "means": []})
    whole = "studies.ablation.lanes=null"
    failed = "the calibration failed: transformer on pydocs reached 7.000 nats per token, and at most 6.0 is known"
    for given, reason in (
        (lambda: load(SMOKE, [whole]), "this profile calibrates no baseline"),
        (lambda: load(SMOKE, [whole, CALIBRATION]), "the calibration has not run"),
        (lambda: calibrated(tmp_path, passed=False), failed),
        (lambda: calibrated(tmp_path, lanes="[fourier, wavelet]"), "the grid is of 2 of the model's 4 lanes"),
    ):
        parameters = given()
        finding = found(parameters, tmp_path)["every-lane-contributes"]
        assert (finding["verdict"], finding["evidence"][0]["reason"]) == ("undecided", reason)


@pytest.mark.parametrize(("changed", "trained", "verdict"), [(0.0, 2.7, "undecided"), (1e-7, 2.7, "refuted"), (0.0, 2.8, "undecided")])
def test_a_lane_that_joins_must_change_nothing(tmp_path, changed, trained, verdict):
    """Whether it helps, one training does not say."""
    points = pandas.DataFrame(
        {"point": ["trained model", "a added", "a trained alone", "a removed"], "nats": [2.75, 2.75, trained, 2.75],
         "logits_changed": [0.0, changed, 1.4, 0.0]}
    )  # fmt: skip
    (tmp_path / "benchmarks/composition").mkdir(parents=True)
    points.to_csv(tmp_path / "benchmarks/composition/pydocs.csv", index=False)
    finding = found(load(SMOKE), tmp_path / "smoke")["lanes-compose-at-run-time"]
    assert finding["verdict"] == verdict
    assert finding["evidence"][0]["value"] == pytest.approx(trained - 2.75)


def test_a_composition_of_other_points_is_refused(tmp_path):
    (tmp_path / "benchmarks/composition").mkdir(parents=True)
    table = pandas.DataFrame({"point": ["trained model"], "nats": [2.75], "logits_changed": [0.0]})
    for points, said in (
        (table, "pydocs.csv has 1 rows instead of 4; delete it, and run benchmarks/composition.py again"),
        (table.drop(columns="point"), r"pydocs.csv is no such benchmark \(it lacks point\); delete it"),
    ):
        points.to_csv(tmp_path / "benchmarks/composition/pydocs.csv", index=False)
        with pytest.raises(ValueError, match=said):
            found(load(SMOKE), tmp_path / "smoke")


@pytest.mark.parametrize(("ours", "verdict"), [((90, 89, 91), "supported"), ((110, 109, 111), "refuted"), ((100, 98, 102), "undecided")])
def test_a_benchmark_of_memory_stands_beside_and_decides_nothing(tmp_path, ours, verdict):
    """It may be of other models than the profile's."""
    rows = [("wavestack", *ours), ("transformer", 100, 99, 101)]
    table = pandas.DataFrame(rows, columns=["contender", "median", "low", "high"]).assign(case="resident memory", length=4096)
    (tmp_path / "benchmarks").mkdir()
    table.to_csv(tmp_path / "benchmarks/memory.csv", index=False)
    finding = found(load(SMOKE), tmp_path / "smoke")["memory-efficient-for-long-context"]
    assert (finding["verdict"], finding["evidence"][0]["verdict"]) == ("undecided", verdict)


@pytest.mark.parametrize(
    ("device", "mode", "ours", "tensors", "verdict"),
    [("cuda", "training", 90, None, "supported"), ("cuda", "training", 110, None, "refuted"), ("cuda", "decode", 5, None, "supported"),
     ("cpu", "training", 90, 95, "supported"), ("cpu", "forward", 98, 103, "undecided"), ("cpu", "prefill", 102, 104, "refuted"),
     ("cpu", "training", 90, None, "undecided"), ("cpu", "generation", 90, None, "undecided"), ("cpu", "decode", 5, None, "supported")],
)  # fmt: skip
def test_memory_is_of_the_longest_sequence_that_both_could_do(tmp_path, device, mode, ours, tensors, verdict):
    """At 8,192 the transformer ran out of memory; at 1,024 it would be the other way round. Two ways to count must agree."""
    column = "state_bytes" if mode == "decode" else "peak_bytes"
    points = [("wavestack", 1024, 200 - ours), ("transformer", 1024, 100), ("wavestack", 4096, ours), ("transformer", 4096, 100)]
    rows = [{"spec": spec, "length": length, "status": "ok", column: size, "accounted_bytes": None} for spec, length, size in points]
    rows += [
        {"spec": "wavestack", "length": 8192, "status": "ok", column: 1},
        {"spec": "transformer", "length": 8192, "status": "out_of_memory"},
    ]
    if tensors:
        rows[2]["accounted_bytes"], rows[3]["accounted_bytes"] = tensors, 100
    for row in rows:
        row |= {"mode": mode, "batch": 1, "seconds_median": 1.0, "tokens_per_second": 1.0, "peak_bytes_by_process": [1, 1]}
    write_sweeps(tmp_path, of_sweep(f"{mode}-{device}", rows, mode=mode, device=device))
    finding = found(on_corpora("pydocs"), tmp_path)["memory-efficient-for-long-context"]
    assert finding["verdict"] == verdict
    (evidence,) = finding["evidence"]
    assert (evidence["value"], evidence["low"], evidence["high"]) == (ours / 100, ours / 100, (tensors or ours) / 100)


@pytest.mark.parametrize(("again", "verdict"), [((), "undecided"), ((95,), "supported"), ((101,), "undecided")])
def test_memory_of_one_process_decides_nothing_until_another_round_agrees(tmp_path, again, verdict):
    """Of 100 for the transformer in each round and in each way to count."""
    asked = {"mode": "training", "lengths": [4096], "batch": 1}
    parameters = swept(asked, asked | {"round": 2})

    def sweep(taken):
        point = {"mode": "training", "length": 4096, "batch": 1, "status": "ok", "seconds_median": 1.0, "peak_bytes_by_process": [1]}
        sizes = {"wavestack": taken, "transformer": 100}
        rows = [{**point, "spec": spec, "peak_bytes": size, "accounted_bytes": size} for spec, size in sizes.items()]
        return of_sweep("training-cpu-float32-batch1", rows)

    write_sweeps(tmp_path, sweep(90), *(sweep(taken) | {"name": "training-cpu-float32-batch1-round2"} for taken in again))
    finding = found(parameters, tmp_path)["memory-efficient-for-long-context"]
    assert finding["verdict"] == verdict
    (evidence,) = finding["evidence"]
    assert (evidence["low"], evidence["high"]) == (0.9, max(90, *again, 0) / 100)


@pytest.mark.parametrize(
    ("asked", "lacking"),
    [
        ({"mode": "training", "lengths": [2048, 4096, 8192], "batch": 1, "round": 2}, ["8,192"]),
        ({"mode": "decode", "lengths": [2048, 65536], "batch": 1}, ["65,536"]),
        ({"mode": "forward", "lengths": [8192], "batch": 1, "device": "cuda"}, ["8,192"]),
        ({"mode": "forward", "lengths": [2048], "batch": 1}, []),  # too short
    ],
)
def test_memory_of_long_sequences_that_were_not_measured_yet_is_lacking(tmp_path, asked, lacking):
    first = {"mode": "training", "lengths": [2048, 4096], "batch": 1}
    sweeps = [first | {"lengths": asked["lengths"]}, asked] if "round" in asked else [first, first | {"round": 2}, asked]
    point = {"mode": "training", "batch": 1, "status": "ok", "seconds_median": 1.0, "peak_bytes": 9, "accounted_bytes": 9}
    rows = [{**point, "spec": spec, "length": length} for spec in ("wavestack", "transformer") for length in (2048, 4096)]
    write_sweeps(tmp_path, of_sweep("training-cpu-float32-batch1", rows))
    study = {"specs": ["wavestack", "transformer"], "budget": "tiny", "vocabulary": 512, "sweeps": sweeps, "processes": 1}
    evidence = found(on_corpora("pydocs", lengths=json.dumps(study)), tmp_path)["memory-efficient-for-long-context"]["evidence"]
    told = [each["protocol"] for each in evidence if each["reason"] == "not measured yet"]
    assert [protocol.split(", ", 1)[1] for protocol in told] == [f"{length} tokens" for length in lacking]


def test_short_sequences_say_nothing_of_memory(tmp_path):
    point = {"status": "ok", "length": 2048, "peak_bytes": 100, "mode": "training", "batch": 1, "seconds_median": 1.0}
    rows = [{**point, "spec": spec, "tokens_per_second": 1.0} for spec in ("wavestack", "transformer")]
    write_sweeps(tmp_path, of_sweep("short", rows, device="cuda"))
    finding = found(on_corpora("pydocs"), tmp_path)["memory-efficient-for-long-context"]
    assert (finding["verdict"], finding["evidence"]) == ("undecided", [])


def test_a_hybrid_is_the_best_when_it_beats_both_lanes_and_transformer(tmp_path):
    specs = "[wavestack, wavestack-attention, wavestack-attention-mixer, transformer]"
    parameters = load(SMOKE, [f"studies.comparison={{corpora: [pydocs], specs: {specs}, budget: tiny, seeds: [0, 1, 2]}}"])
    better, worse = (-5.0, -6.0, -4.0), (5.0, 4.0, 6.0)
    entries = {
        ("wavestack-attention", "wavestack"): better,
        ("wavestack-attention", "transformer"): worse,
        ("wavestack-attention-mixer", "wavestack"): better,
        ("wavestack-attention-mixer", "transformer"): better,
    }
    compare(tmp_path, *(("pydocs", *pair, *effect) for pair, effect in entries.items()))
    finding = found(parameters, tmp_path)["attention-helps"]
    assert finding["verdict"] == "supported"
    assert [each["case"] for each in finding["evidence"]] == ["wavestack-attention"] * 2 + ["wavestack-attention-mixer"] * 2
    compare(tmp_path, *(("pydocs", *pair, *worse) for pair in entries))
    assert found(parameters, tmp_path)["attention-helps"]["verdict"] == "refuted"


def test_attention_is_told_by_its_class_and_not_by_its_name(tmp_path):
    """A hybrid that passed for a stack of lanes would be the WaveStack of all claims."""
    lanes = yaml.safe_load(Path("params/models.yaml").read_text(encoding="utf-8"))
    lanes["wavestack-attention"]["lanes"]["looking"] = {"lane": "wavestack.lanes.attention:Attention"}
    del lanes["wavestack-attention"]["lanes"]["attention"]
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(lanes), encoding="utf-8")
    comparison = "{corpora: [pydocs], specs: [wavestack-attention, wavestack, transformer], budget: tiny, seeds: [0, 1, 2]}"
    parameters = load(SMOKE, [f"models={tmp_path / 'models.yaml'}", f"studies.comparison={comparison}"])
    compare(tmp_path, *(("pydocs", "wavestack-attention", other, -5.0, -6.0, -4.0) for other in ("wavestack", "transformer")))
    assert found(parameters, tmp_path)["attention-helps"]["verdict"] == "supported"


@pytest.mark.parametrize("other", ["wavestack", "transformer"])
def test_a_hybrid_is_not_the_best_of_what_lacks_a_stack_or_a_transformer(tmp_path, other):
    specs = f"[wavestack-attention, {other}]"
    parameters = load(SMOKE, [f"studies.comparison={{corpora: [pydocs], specs: {specs}, budget: tiny, seeds: [0, 1, 2]}}"])
    compare(tmp_path, ("pydocs", "wavestack-attention", other, -5.0, -6.0, -4.0))
    finding = found(parameters, tmp_path)["attention-helps"]
    assert [(each["verdict"], each["decides"]) for each in finding["evidence"]] == [("supported", False)]
    assert finding["verdict"] == "undecided"


def piece(verdict, case="", decides=True):
    return Evidence("", "", None, None, None, verdict, None, "", decides, case)


def test_cases_and_what_they_say_together():
    good, bad, unsure = (piece(verdict) for verdict in ("supported", "refuted", "undecided"))
    assert [decide(each, any_of=False) for each in ([], [good], [good, unsure], [good, unsure, bad])] == [
        "undecided", "supported", "undecided", "refuted"
    ]  # fmt: skip
    first, second = [piece("supported", "a"), piece("supported", "a")], [piece("refuted", "b"), piece("supported", "b")]
    assert decide([*first, *second], any_of=False) == "refuted"
    assert decide([*first, *second], any_of=True) == "supported"
    assert decide(second, any_of=True) == "refuted"
    assert decide([*second, piece("undecided", "c")], any_of=True) == "undecided"
    assert decide([], any_of=True) == "undecided"


def test_an_interval_against_a_limit():
    assert judged(-2.0, -1.0, 0, None) == ("supported", None)
    assert judged(-2.0, -1.0, 0, "uncalibrated") == ("undecided", "uncalibrated")
    assert judged(None, None, 0, None) == ("undecided", "there is no interval")
    assert judged(-1.0, 0.0, 0, None) == ("undecided", "the interval holds 0")


def test_effects_are_told_with_their_units():
    entry = {"value": -4.628, "low": -6.0, "high": -3.049, "measure": "% of perplexity"}
    assert effect(entry) == "−4.63% of perplexity (−6.00 to −3.05)"
    assert effect({"value": 1.0, "low": None, "high": None, "measure": "exponent of time"}) == "exponent of time 1.00"
    assert effect({"value": None, "low": None, "high": None, "measure": "ratio of bytes"}) == "ratio of bytes unknown"


def test_a_tuned_comparison_says_so(tmp_path):
    compare(tmp_path, ("wikitext-2", "wavestack", "transformer", -5.0, -6.0, -4.0))
    (evidence,) = compared(Results(on_corpora("wikitext-2"), tmp_path), ["wikitext-2"], "wavestack", "transformer", 0, True)
    assert (
        evidence.protocol
        == "wikitext-2: wavestack against transformer, equal parameters and tokens, the same training, whole validation split"
    )


def test_the_test_split_decides_where_it_was_opened_to_the_models_of_today(tmp_path):
    parameters = against_one()
    compare(tmp_path, ("wikitext-2", "wavestack", "transformer", -5.0, -6.0, -4.0))
    validated = read_json(tmp_path / "studies" / "comparison.json")
    (entry,) = validated["differences"]
    ends = {"perplexity_percent": 12.0, "low_percent": 11.0, "high_percent": 13.0}
    write_json(tmp_path / "studies" / "test.json", {**validated, "differences": [{**entry, **ends}]})
    path = tmp_path / "studies" / "test.provenance.json"
    write_json(path, {"fingerprint": steps.study(parameters, "test").fingerprint})
    for run in parameters.comparison_runs():
        made = {"fingerprint": steps.open_test(parameters, run).fingerprint, "inputs": {"best.json": "a hash"}}
        for step in ("test", "evaluate"):
            write_json(tmp_path / "runs" / str(run) / f"{step}.provenance.json", made)
    claim = "wikitext2-within-10-percent"
    refuted = found(parameters, tmp_path)[claim]
    told = [(each["file"], each["decides"], each["verdict"]) for each in refuted["evidence"]]
    assert told == [("studies/test.json", True, "refuted"), ("studies/comparison.json", False, "supported")]
    assert refuted["verdict"] == "refuted"
    write_json(path, {"fingerprint": "of older code"})
    assert found(parameters, tmp_path)[claim]["verdict"] == "supported"


def test_the_text_and_the_json_say_the_same(tmp_path):
    compare(tmp_path, ("wikitext-2", "wavestack", "transformer", -5.0, -6.0, -4.0))
    write_findings(against_one(), tmp_path)
    text, content = (tmp_path / "findings.md").read_text(), read_json(tmp_path / "findings.json")
    assert text.startswith("# Findings of `smoke`\n")
    assert text.count("\n## ") == len(content["findings"]) == len(CLAIMS)
    assert "**Supported.** Published: 0.704 to 0.705 against 0.632 after 3,000 steps." in text
    assert "- ★ wikitext-2: wavestack against transformer" in text
    assert "−5.00% of perplexity (−6.00 to −4.00); supported ([studies/comparison.json](studies/comparison.json))" in text
