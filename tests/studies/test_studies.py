"""Studies on results written by hand: the numbers in their tables are computed here."""

import itertools
import math

import pandas
import pytest

from wavestack.artifacts import read_json, write_json
from wavestack.reading import load
from wavestack.studies.ablation import write_ablation
from wavestack.studies.audit import write_audit
from wavestack.studies.calibration import write_calibration
from wavestack.studies.comparison import write_comparison
from wavestack.studies.lengths import write_lengths
from wavestack.studies.results import MEASURES, means
from wavestack.studies.tuning import choose, expected_best, write_tuning

SEEDS = ["studies.comparison.seeds=[0, 1]"]


def result(reports, run, nats, parameters=56_000, tokens=20_480, status="ok"):
    metrics = {"status": status, "reason": None, "parameters": parameters, "non_embedding_parameters": parameters - 16_000}
    metrics |= {"training_tokens": tokens, "best_step": 20, "steps": 20}
    if status == "ok":
        metrics |= {"nats_per_token": nats, "perplexity": math.exp(nats), "bits_per_byte": nats / 2, "word_perplexity": None}
    write_json(reports / "runs" / str(run) / "metrics.json", metrics)
    documents = {"document": [0, 1, 2], "tokens": [100, 300, 600], "nats": [nats * 100, nats * 300, nats * 600]}
    pandas.DataFrame(documents).to_parquet(reports / "runs" / str(run) / "documents.parquet")
    write_json(reports / "runs" / str(run) / "train.timing.json", {"training": {"seconds": 2.0, "tokens_per_second": 10.0}})


def test_comparison_pairs_seeds(tmp_path):
    parameters = load("params/smoke.yaml", SEEDS)
    nats = {("wavestack", 0): 3.0, ("wavestack", 1): 3.2, ("transformer", 0): 3.1, ("transformer", 1): 3.1}
    for run in parameters.comparison_runs():
        result(tmp_path, run, nats[run.spec, run.seed])
    write_comparison(parameters, tmp_path, tmp_path)
    found = read_json(tmp_path / "studies" / "comparison.json")
    (difference,) = found["differences"]
    assert (difference["spec"], difference["against"], difference["seeds"]) == ("wavestack", "transformer", [0, 1])
    assert difference["nats"] == pytest.approx([-0.1, 0.1])
    assert difference["perplexity_percent"] == pytest.approx(0, abs=1e-9)
    assert (difference["verdict"], difference["reason"]) == ("undecided", "2 seeds give points, no interval")
    mean = next(row for row in found["means"] if row["spec"] == "wavestack")
    assert mean["nats_per_token"] == pytest.approx(3.1)
    assert mean["perplexity"] == pytest.approx(math.exp(3.1))  # of the mean loss
    assert mean["word_perplexity"] is None
    table = pandas.read_csv(tmp_path / "studies" / "comparison.csv")
    assert table["nats_per_token"].tolist() == [3.0, 3.2, 3.1, 3.1]


def test_slices_are_put_together_over_seeds(tmp_path):
    """Nats and tokens are summed before they are divided: 1 of 10 tokens and 9 of 30 are 10 of 40."""
    parameters = load("params/smoke.yaml", SEEDS)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0)
        if run.spec == "wavestack":
            tokens, nats = (10, 1.0) if run.seed == 0 else (30, 9.0)
            slices = pandas.DataFrame({"kind": ["seen", "back"], "least": [1, 0], "tokens": [tokens, 8], "nats": [nats, 2.0]})
            slices.to_csv(tmp_path / "runs" / str(run) / "slices.csv", index=False)
    found = write_comparison(parameters, tmp_path, tmp_path)["slices"]
    head = {"corpus": "pydocs", "spec": "wavestack"}
    assert found == [
        {**head, "kind": "seen", "least": 1, "tokens": 20, "nats_per_token": 0.25},
        {**head, "kind": "back", "least": 0, "tokens": 8, "nats_per_token": 0.25},
    ]  # the transformer's runs are older, and have none


def test_two_percent_is_told_in_percent_of_perplexity(tmp_path):
    parameters = load("params/smoke.yaml")
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0 + (math.log(1.02) if run.spec == "wavestack" else 0))
    (difference,) = write_comparison(parameters, tmp_path, tmp_path)["differences"]
    assert difference["perplexity_percent"] == pytest.approx(2.0)
    assert difference["reason"] == "1 seed gives a point, no interval"


def test_a_diverged_run_leaves_no_mean_and_no_difference(tmp_path):
    parameters = load("params/smoke.yaml", SEEDS)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0, status="diverged" if (run.spec, run.seed) == ("transformer", 1) else "ok")
    found = write_comparison(parameters, tmp_path, tmp_path)
    (difference,) = found["differences"]
    assert difference["nats"] == [0.0, None]
    assert difference["perplexity_percent"] is None
    assert difference["reason"] == "a run is missing or diverged"
    assert next(row for row in found["means"] if row["spec"] == "transformer")["nats_per_token"] is None


@pytest.mark.parametrize(
    ("change", "told"), [({"parameters": 57_000}, "57,000 parameters"), ({"tokens": 20_000}, "20,000 training tokens")]
)
def test_unequal_budgets_are_refused_with_both_values(tmp_path, change, told):
    parameters = load("params/smoke.yaml")
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0, **(change if run.spec == "transformer" else {}))
    with pytest.raises(ValueError, match=rf"transformer/base has {told}.*wavestack/base.*unequal budgets are not compared"):
        write_comparison(parameters, tmp_path, tmp_path)


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"pydocs/wavestack/tiny/base/seed0/metrics\.json does not exist"):
        write_comparison(load("params/smoke.yaml"), tmp_path, tmp_path)


CALIBRATED = [
    "studies.calibration={corpus: pydocs, spec: transformer, budget: tiny, seed: 7, at_most: 1.9}",
    "studies.comparison.seeds=[0, 1, 2]",
]


def compared(tmp_path, parameters, calibration=1.88):
    """WaveStack is ahead by 0.1 nats, give or take 0.001 a seed."""
    [run] = parameters.calibration_runs()
    result(tmp_path, run, calibration)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0 if run.spec == "transformer" else 2.9 + 0.001 * (run.seed - 1))
    write_calibration(parameters, tmp_path)
    (difference,) = write_comparison(parameters, tmp_path, tmp_path)["differences"]
    return difference


def test_three_seeds_and_a_calibrated_baseline_give_a_verdict(tmp_path):
    found = compared(tmp_path, load("params/smoke.yaml", CALIBRATED))
    assert (found["verdict"], found["reason"]) == ("better", None)
    # nats of -0.1 with a deviation of 0.001 between seeds; documents are all alike. t of 2 degrees of freedom is 4.3027
    reach = 4.3027 * 0.001 / math.sqrt(3)
    assert found["low_percent"] == pytest.approx(100 * math.expm1(-0.1 - reach), rel=1e-4)
    assert found["high_percent"] == pytest.approx(100 * math.expm1(-0.1 + reach), rel=1e-4)
    assert found["level"] == pytest.approx(0.95)
    assert found["seeds_for_one_percent"] == 3  # 2 would need a t of 12.7


def test_no_verdict_of_an_uncalibrated_baseline(tmp_path):
    found = compared(tmp_path, load("params/smoke.yaml", CALIBRATED), calibration=1.91)
    assert found["verdict"] == "undecided"
    assert found["reason"] == "the calibration failed: transformer on pydocs reached 1.910 nats per token, and at most 1.9 is known"
    assert found["low_percent"] < found["high_percent"] < 0  # the interval is shown all the same


def test_runs_that_were_scored_on_other_documents_are_refused(tmp_path):
    parameters = load("params/smoke.yaml", CALIBRATED)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0)
    documents = pandas.DataFrame({"document": [0, 1], "tokens": [100, 301], "nats": [1.0, 2.0]})
    documents.to_parquet(tmp_path / "runs/pydocs/transformer/tiny/base/seed1/documents.parquet")
    with pytest.raises(ValueError, match=r"wavestack.* 3 documents of 1,000 tokens .*transformer.*seed1 on 2 of 401; .* are not compared"):
        write_comparison(parameters, tmp_path, tmp_path)


def test_one_document_gives_no_interval(tmp_path):
    parameters = load("params/smoke.yaml", CALIBRATED)
    for run in parameters.comparison_runs():
        result(tmp_path, run, 3.0)
        one = pandas.DataFrame({"document": [0], "tokens": [100], "nats": [300.0]})
        one.to_parquet(tmp_path / "runs" / str(run) / "documents.parquet")
    result(tmp_path, *parameters.calibration_runs(), 1.0)
    write_calibration(parameters, tmp_path)
    (difference,) = write_comparison(parameters, tmp_path, tmp_path)["differences"]
    assert (difference["level"], difference["verdict"]) == (None, "undecided")
    assert difference["reason"] == "the split is one document, which gives no interval for others"


TUNING = (
    "studies.tuning={corpora: [pydocs], specs: [transformer], budget: tiny, seeds: [0], trials: "
    "[{learning_rate: 0.01, weight_decay: 0.1, dropout: 0}, {learning_rate: 0.02, weight_decay: 0.1, dropout: 0},"
    " {learning_rate: 0.04, weight_decay: 0.1, dropout: 0.1}]}"
)


def tried(tmp_path, *losses):
    """The trials of TUNING came out like this; None where one diverged."""
    parameters = load("params/smoke.yaml", [TUNING])
    for run, nats in zip(parameters.tuning_runs(), losses, strict=True):
        training = {"status": "diverged" if nats is None else "ok", "reason": "nan" if nats is None else None, "best_valid_nats": nats}
        write_json(tmp_path / "runs" / str(run) / "training.json", training)
    return parameters


def test_the_best_trial_is_chosen_and_its_edges_are_told(tmp_path):
    parameters = tried(tmp_path, 3.2, 3.1, 3.0)
    found = choose(parameters, "pydocs", "transformer", tmp_path)
    assert found["chosen"] == {"learning_rate": 0.04, "weight_decay": 0.1, "dropout": 0.1}
    assert found["at_the_edge"] == ["learning_rate 0.04 is the largest that was tried", "dropout 0.1 is the largest that was tried"]
    assert found["expected_best"] == pytest.approx([3.1, (3.0 + 3.0 + 3.1) / 3, 3.0])  # of the pairs, two hold 3.0
    assert write_tuning(parameters, tmp_path)["choices"] == [found]
    table = pandas.read_csv(tmp_path / "studies" / "tuning.csv")
    assert table["chosen"].tolist() == [False, False, True]


def test_a_best_trial_inside_of_the_range_is_at_no_edge(tmp_path):
    """Zero dropout is none: nothing lies below it."""
    found = choose(tried(tmp_path, 3.2, 3.1, None), "pydocs", "transformer", tmp_path)
    assert found["at_the_edge"] == []
    assert [trial["status"] for trial in found["trials"]] == ["ok", "ok", "diverged"]
    assert found["expected_best"] == [None, pytest.approx((3.1 + 3.1 + 3.2) / 3), pytest.approx(3.1)]


def test_no_choice_among_trials_that_all_diverged(tmp_path):
    with pytest.raises(ValueError, match="every trial of transformer diverged"):
        choose(tried(tmp_path, None, None, None), "pydocs", "transformer", tmp_path)


def test_expected_best_against_all_choices():
    losses = [3.0, 2.5, 4.0, 3.5]
    for k in range(1, 5):
        every = [min(chosen) for chosen in itertools.combinations(losses, k)]
        assert expected_best(losses)[k - 1] == pytest.approx(sum(every) / len(every))


def test_ablation_names_the_lanes_of_every_subset(tmp_path):
    parameters = load("params/smoke.yaml", ["studies.ablation.lanes=[fourier, recall, wavelet]"])
    for run in parameters.ablation_runs():
        result(tmp_path, run, 3.0)
    found = {row["variant"]: row["lanes"] for row in write_ablation(parameters, tmp_path, tmp_path)["means"]}
    assert len(found) == 8
    assert found["lanes=none"] == []
    assert found["lanes=recall+wavelet"] == ["recall", "wavelet"]
    assert found["base"] == ["fourier", "recall", "wavelet"]


SAVED = {"fourier": 0.1, "recall": 0.3, "wavelet": 0.2}


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_worth_of_lanes_that_save_each_its_own(tmp_path, seeds):
    """Each subset's loss is 4 less what each of its lanes saves, and seeds move all subsets alike, so that no interval is wide."""
    chosen = f"studies.ablation.seeds={list(range(seeds))}"
    parameters = load("params/smoke.yaml", ["studies.ablation.lanes=[fourier, recall, wavelet]", chosen])
    for run in parameters.ablation_runs():
        result(tmp_path, run, 4.0 + 0.01 * run.seed - sum(SAVED[lane] for lane in parameters.spec(run).lanes))
    worths = write_ablation(parameters, tmp_path, tmp_path)["worths"]
    assert {worth["lanes"][0]: worth["nats_per_token"] for worth in worths if worth["of"] == "lane"} == pytest.approx(SAVED)
    pairs = [worth for worth in worths if worth["of"] == "pair"]
    assert len(pairs) == 3
    assert [worth["nats_per_token"] for worth in pairs] == pytest.approx([0, 0, 0], abs=1e-12)
    lane = worths[0]
    if seeds == 1:
        assert (lane["low"], lane["reason"]) == (None, "too few seeds or documents for an interval")
    else:
        assert (lane["low"], lane["high"]) == pytest.approx((0.1, 0.1))
        assert lane["reason"] is None
    table = pandas.read_csv(tmp_path / "studies" / "worths.csv")
    assert table["lanes"].tolist() == ["fourier", "recall", "wavelet", "fourier+recall", "fourier+wavelet", "recall+wavelet"]


def test_lanes_have_no_worth_where_a_subset_diverged(tmp_path):
    parameters = load("params/smoke.yaml")
    for run in parameters.ablation_runs():
        result(tmp_path, run, 3.0, status="diverged" if run.variant == "lanes=none" else "ok")
    (worth,) = write_ablation(parameters, tmp_path, tmp_path)["worths"]
    assert (worth["nats_per_token"], worth["reason"]) == (None, "pydocs/wavestack/tiny/lanes=none/seed0 is missing or diverged")


def test_lengths_keep_failed_measurements(tmp_path):
    ok = {"status": "ok", "steps": 5, "seconds_median": 1.0, "seconds_quartiles": [0.9, 1.1], "tokens_per_second": 256.0, "peak_bytes": 7}
    failed = {"status": "out_of_memory", "reason": "killed"}
    for length in (64, 128):
        point = {"length": length, "batch": 256 // length, "models": {"wavestack": ok, "transformer": failed if length == 128 else ok}}
        write_json(tmp_path / "profile" / f"length{length}.json", point)
    rows = write_lengths(load("params/smoke.yaml"), tmp_path)["rows"]
    assert len(rows) == 4
    lost = next(row for row in rows if row["status"] != "ok")
    assert (lost["spec"], lost["length"], lost["batch"], lost["status"], lost["reason"]) == (
        "transformer",
        128,
        2,
        "out_of_memory",
        "killed",
    )
    assert lost["tokens_per_second"] is None


def test_means_keep_the_order_of_appearance():
    rows = [{"spec": spec, "seed": seed, **dict.fromkeys(MEASURES, 1.0 + seed)} for spec in ("b", "a") for seed in (0, 1)]
    assert [(row["spec"], row["seeds"], row["seconds"]) for row in means(rows, ("spec",))] == [("b", [0, 1], 1.5), ("a", [0, 1], 1.5)]


# --- the audit -----------------------------------------------------------------------------------------------------------------------

AUDIT = (
    "studies.audit={corpora: [pydocs], ours: reference, theirs: reference-transformer, budget: tiny, seeds: [0, 1, 2],"
    " training: {rows: documents, padding: true, documents: 100}, replay: {batch: 2, batches: 1}, tokens: 9, mends: ["
    "{name: padding-trained, training: {padding: false}}, {name: padding-scored, replay: {padding: false}},"
    " {name: scale, replay: {scale: 1.0}}, {name: baseline, theirs: transformer}]}"
)


def test_the_rungs_of_the_audit():
    parameters = load("params/smoke.yaml", [AUDIT])
    rungs = parameters.rungs()
    assert [(rung.kind, rung.name) for rung in rungs] == [
        ("cumulative", "as published"), ("cumulative", "padding-trained"), ("cumulative", "padding-scored"), ("cumulative", "scale"),
        ("cumulative", "baseline"), ("alone", "padding-trained"), ("alone", "padding-scored"), ("alone", "scale"), ("alone", "baseline"),
    ]  # fmt: skip
    assert [rung.variant for rung in rungs[:3]] == ["mended=none", "mended=padding-trained", "mended=padding-trained"]
    assert (rungs[4].ours, rungs[4].theirs, rungs[4].replay.scale, rungs[4].replay.padding) == ("reference", "transformer", 1.0, False)
    assert (rungs[7].variant, rungs[7].replay.scale, rungs[7].replay.padding) == ("mended=none", 1.0, True)
    assert [rung.name for rung in load("params/smoke.yaml", [AUDIT.replace("scale: 1.0}", "scale: 1.0}, alone: false")]).rungs()][5:] == [
        "padding-trained", "padding-scored", "baseline"
    ]  # fmt: skip
    # three models with padding and without, three seeds each: what is scored otherwise is trained once
    assert len(parameters.audit_runs()) == 3 * 2 * 3
    published, mended = (parameters.training(rungs[place].runs("pydocs", [0])[0][0]) for place in (0, 1))
    assert (published.padding, mended.padding, published.documents, published.learning_rate) == (True, False, 100, 0.003)


def replayed(folder, run, nats, padding, lost=False):
    """Three rows of 10 tokens of text and 30 of padding each; text and padding cost so many nats a token."""
    row = {"document": [0, 1, 2], "text_nats": [10 * nats] * 3, "text_tokens": [10] * 3}
    row |= {"padding_nats": [30 * padding] * 3, "padding_tokens": [30] * 3, "compared_nats": [8 * nats] * 3, "compared_tokens": [8] * 3}
    rows = pandas.concat([pandas.DataFrame(row).assign(split=split) for split in ("valid", "held out")])
    (folder / "runs" / str(run)).mkdir(parents=True)
    rows.to_parquet(folder / "runs" / str(run) / "rows.parquet")
    write_json(folder / "runs" / str(run) / "replay.json", {"status": "ok", "reason": None, "parameters": 1000})
    status = {"status": "diverged", "reason": "nan"} if lost else {"status": "ok", "reason": None}
    write_json(folder / "runs" / str(run) / "training.json", status)


def test_padding_that_is_scored_turns_the_order_round(tmp_path):
    """Ours is worse on text by 0.2 nats, and better on padding, of which there is three times as much."""
    parameters = load("params/smoke.yaml", [AUDIT])
    for run in parameters.audit_runs():
        ours = run.spec == "reference"
        replayed(tmp_path, run, 3.2 if ours else 3.0 + 0.001 * run.seed, 0.1 if ours else 0.5)
    rows = write_audit(parameters, tmp_path, tmp_path)["rows"]
    first, scored, scale = rows[0], rows[2], rows[3]
    assert first["published_ours"] == first["held_out_ours"] == pytest.approx(0.7 * (3.2 + 3 * 0.1) / 4)
    assert first["published_theirs"] == pytest.approx(0.7 * (3.001 + 3 * 0.5) / 4)
    assert first["published_gap"] < first["published_high"] < 0 < first["nats_low"] < first["nats_gap"]
    assert scored["published_gap"] == pytest.approx(0.7 * 0.199)
    assert [scale["published_gap"], scale["nats_gap"]] == pytest.approx([0.199, 0.199])
    table = pandas.read_csv(tmp_path / "studies" / "audit.csv")
    assert table["mended"].tolist()[:2] == ["as published", "padding-trained"]


def test_a_rung_with_a_diverged_run_has_no_gap_and_a_reason(tmp_path):
    parameters = load("params/smoke.yaml", [AUDIT])
    for run in parameters.audit_runs():
        replayed(tmp_path, run, 3.0, 0.1, lost=run.spec == "transformer" and run.seed == 1)
    rows = write_audit(parameters, tmp_path, tmp_path)["rows"]
    assert rows[0]["nats_gap"] == 0
    assert (rows[-1]["mended"], rows[-1]["nats_gap"]) == ("baseline", None)
    assert rows[-1]["reason"].endswith("seed1 diverged: nan")


def test_a_fault_that_the_audit_does_not_know_is_refused():
    parameters = load("params/smoke.yaml", [AUDIT])
    with pytest.raises(ValueError, match="mended=paddin: expected some of padding-trained, padding-scored, scale, baseline"):
        parameters.run("pydocs/reference/tiny/mended=paddin/seed0")
    with pytest.raises(ValueError, match=r"this profile has no studies\.audit"):
        load("params/smoke.yaml").run("pydocs/reference/tiny/mended=none/seed0")


def test_an_audit_of_what_is_not_tuned_is_refused():
    with pytest.raises(ValueError, match=r"reference is not tuned on pydocs; add them to studies\.tuning"):
        load("params/smoke.yaml", [AUDIT.replace("{name: scale, replay: {scale: 1.0}}", "{name: scale, tuned: true}")])
