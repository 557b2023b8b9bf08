"""The cells of the tables are the numbers of the files, at the stated precision, and nothing is left out."""

import math

import pytest
from synthetic import benchmark_row, finding, length_row, run_row, swept, worth

from wavestack.params import Run
from wavestack.report import provenance
from wavestack.report.sections import (
    ablation,
    audit,
    calibration,
    comparison,
    contract,
    corpora,
    ledger,
    lengths,
    slices,
    speed,
    tuning,
    worths,
)
from wavestack.report.table import MISSING, Table, number, share, signed

RUNS = [Run("pydocs", spec, "tiny", "base", seed) for spec in ("wavestack", "transformer") for seed in (0, 1)]


def cells(table: Table, row: int) -> dict[str, str]:
    """A row by its columns' titles and units."""
    return {f"{c.title} {c.unit}".strip(): cell for c, cell in zip(table.columns, table.rows[row].cells, strict=True)}


def test_numbers_have_separators_precision_and_a_true_minus():
    assert number(1234567.891, 2) == "1,234,567.89"
    assert number(-0.5, 1) == "−0.5"
    assert signed(0.06249, 4) == "+0.0625"
    assert signed(-3.14, 1, "%") == "−3.1%"
    assert number(None, 4) == signed(None, 4) == share(None) == MISSING


def test_a_small_share_is_not_shown_as_zero():
    assert share(0.0002) == "< 0.1%"
    assert share(0.0) == "0.0%"
    assert share(0.0321) == "3.2%"


def test_comparison_shows_every_seed_and_the_files_mean():
    mean = {**run_row(RUNS[0]), "seeds": [0, 1], "nats_per_token": 4.26253, "perplexity": 7654.321}
    table = comparison.table({"rows": [run_row(run) for run in RUNS], "means": [mean]}, RUNS, {})
    assert [row.kind for row in table.rows] == ["", "", "mean", "", "", "mean"]
    first = cells(table, 0)
    assert (first["model"], first["seed"], first["parameters"], first["training tokens"]) == ("wavestack", "0", "1,062,144", "1,501,184")
    assert (first["nats ↓ per token"], first["bits ↓ per byte"]) == ("4.2000", "2.1000")
    assert (first["perplexity ↓ per token"], first["perplexity ↓ per word"]) == ("66.69", "1,234.57")  # e^4.2 = 66.686
    assert (first["training ↓ s"], first["speed ↑ tokens/s"]) == ("61.3", "24,512")
    assert cells(table, 2)["nats ↓ per token"] == "4.2625"
    assert cells(table, 2)["perplexity ↓ per token"] == "7,654.32"
    assert cells(table, 5)["seed"] == "mean, missing"


def test_comparison_shows_diverged_missing_and_unexpected_runs():
    rows = [run_row(RUNS[0], diverged=True), run_row(Run("pydocs", "retnet", "tiny", "base", 0))]
    table = comparison.table({"rows": rows, "means": []}, RUNS[:2], {RUNS[0]: "loss is nan"})
    assert [row.cells[:2] for row in table.rows if row.kind != "mean"] == [
        ("wavestack", "0, diverged"),
        ("wavestack", "1, missing"),
        ("retnet", "0"),
    ]
    assert table.notes == (
        "pydocs/wavestack/tiny/base/seed0: diverged: loss is nan",
        "pydocs/wavestack/tiny/base/seed1: missing: no result",
    )


def test_what_is_undecided_says_why():
    entry = {"verdict": "undecided", "reason": "2 seeds give points, no interval"}
    assert comparison.verdict(entry) == "undecided: 2 seeds give points, no interval"
    assert comparison.verdict({"verdict": "supported", "reason": ""}) == "supported"


def test_a_difference_without_all_of_its_pairs_names_the_seed():
    entry = {
        "corpus": "pydocs", "spec": "a", "against": "b", "seeds": [0, 1, 2], "nats": [0.25, None, -0.5], "perplexity_percent": None,
        "verdict": "undecided", "reason": "a run is missing or diverged",
    }  # fmt: skip
    (row,) = comparison.differences({"differences": [entry]}).rows
    verdict = "undecided: a run is missing or diverged"
    assert row.cells == ("pydocs", "a − b", "+0.2500 (seed 0), – (seed 1), −0.5000 (seed 2)", *["–"] * 5, verdict)


def test_a_difference_with_its_interval():
    entry = {
        "corpus": "pydocs", "spec": "a", "against": "b", "seeds": [0, 1, 2], "nats": [-0.1, -0.1, -0.1], "perplexity_percent": -9.5,
        "level": 0.975, "low_percent": -12.34, "high_percent": -7.0, "p": 0.00123, "seeds_for_one_percent": 4,
        "verdict": "better", "reason": None,
    }  # fmt: skip
    more_text = entry | {"seeds_for_one_percent": None}
    first, second = comparison.differences({"differences": [entry, more_text]}).rows
    assert first.cells[3:] == ("−9.5%", "−12.3 to −7.0%", "97.5%", "0.0012", "4", "better")
    assert second.cells[-2] == "over 1,000, or more text"


def test_slices_of_two_models_side_by_side():
    rows = [
        {"corpus": "x", "spec": spec, "kind": kind, "least": least, "tokens": tokens, "nats_per_token": nats}
        for spec, more in (("a", 0.0), ("b", 0.5))
        for kind, least, tokens, nats in (("seen", 1, 250, 4.0 + more), ("seen", 2, 750, 3.0), ("back", 0, 1000, 2.0))
    ]
    table = slices.table(rows, ["a", "b"])
    assert table.rows[0].cells == ("tokens that are seen before it", "1", "25.0%", "4.000", "4.500", "−0.500")
    assert table.rows[1].cells[1:3] == ("2 to 3", "75.0%")
    assert table.rows[2].cells[1:] == ("0", "100.0%", "2.000", "2.000", "+0.000")
    assert slices.table(rows, ["a"]).rows[0].cells[3:] == ("4.000", "–")


DIVERGED = {"status": "diverged", "reason": "nan"}


def choice(spec="wavestack", edges=()):
    trials = [
        {"learning_rate": 0.01, "weight_decay": 0.1, "dropout": 0.0, "seeds": 1, "nats_per_token": 3.5, "status": "ok", "reason": None},
        {"learning_rate": 0.1, "weight_decay": 0.1, "dropout": 0.0, "seeds": 1, "nats_per_token": None} | DIVERGED,
    ]
    chosen = {"learning_rate": 0.01, "weight_decay": 0.1, "dropout": 0.0}
    return {
        "corpus": "pydocs", "spec": spec, "trials": trials, "chosen": chosen, "at_the_edge": list(edges), "expected_best": [None, 3.5]
    }  # fmt: skip


def test_tuning_shows_every_trial_and_says_where_the_best_is_at_the_edge():
    table = tuning.table({"choices": [choice(edges=["learning_rate 0.01 is the smallest that was tried"])]})
    assert [row.cells[-2:] for row in table.rows] == [("3.5000", "chosen"), ("–", "diverged")]
    assert [row.kind for row in table.rows] == ["mean", "failed"]
    assert table.notes == ("wavestack on pydocs: learning_rate 0.01 is the smallest that was tried, and what lies beyond was not tried",)


def test_calibration_says_whether_it_was_passed():
    row = {"corpus": "shakespeare", "spec": "transformer", "parameters": 1000, "training_tokens": 2000, "nats_per_token": 1.91}
    (passed,), (failed,) = (calibration.table({"row": row, "at_most": most, "passed": most > 1.91}).rows for most in (1.95, 1.9))
    assert passed.cells == ("shakespeare", "transformer", "1,000", "2,000", "1.9100", "1.95", "passed")
    assert (failed.cells[-1], failed.kind) == ("failed", "failed")


def test_ablation_has_every_subset_and_its_distance_from_all_lanes():
    variants, lanes = ["lanes=none", "lanes=fourier", "lanes=wavelet", "base"], ["fourier", "wavelet"]
    runs = [Run("pydocs", "wavestack", "tiny", variant, 0) for variant in variants]
    rows = [run_row(runs[0]), run_row(runs[1], diverged=True), run_row(runs[3])]
    means = [{**row, "seeds": [0]} for row in rows]
    table = ablation.table({"rows": rows, "means": means}, "pydocs", variants, lanes, runs, {runs[1]: "nan"})
    assert [row.cells[0] for row in table.rows] == ["no lane", "fourier", "wavelet", "all lanes"]
    assert [row.kind for row in table.rows] == ["marked", "failed", "failed", "marked"]
    assert [cells(table, i)["nats ↓ seed 0"] for i in range(4)] == ["4.9500", "diverged", "missing", "4.2000"]
    assert [cells(table, i)["against all nats"] for i in range(4)] == ["+0.7500", "–", "–", "–"]
    assert len(table.notes) == 2


def test_worths_of_lanes_and_pairs():
    lost = worth("x", ("b",), 0.0, [0]) | {"nats": None, "nats_per_token": None, "reason": "x/lanes=b/seed0 is missing or diverged"}
    table = worths.table([worth("x", ("a",), 0.25, [0, 1, 2], low=0.125), worth("x", ("a", "b"), -0.5, [0]), lost])
    by_seed = "+0.2500 (seed 0), +0.2500 (seed 1), +0.2500 (seed 2)"
    assert table.rows[0].cells == ("a, Shapley value", "+0.2500", by_seed, "+0.1250 to +0.3750", "95.0%")
    assert table.rows[1].cells == ("a with b, beyond both", "−0.5000", "−0.5000 (seed 0)", "–", "–")
    assert worths.table([worth("x", ("a",), 0.25, [0]) | {"of": "removal"}]).rows[0].cells[0] == "a, joining all others"
    assert table.rows[2].kind == "failed"
    assert table.notes == ("b, Shapley value: x/lanes=b/seed0 is missing or diverged",)


def test_the_audit_s_rungs_with_their_gaps_and_what_failed():
    row = {
        "corpus": "x", "kind": "cumulative", "mended": "as published", "ours": "a", "theirs": "b", "our_parameters": 42_339_715,
        "their_parameters": 23_840_320, "our_non_embedding_parameters": 4_000_000, "their_non_embedding_parameters": 1_000_000,
        "published_ours": 0.729, "published_theirs": 1.048, "published_gap": -0.319, "published_low": -0.33, "published_high": -0.308,
        "held_out_ours": None, "held_out_theirs": None, "nats_ours": 3.0, "nats_theirs": 2.5, "nats_gap": 0.5,
        "nats_low": None, "nats_high": None, "change_gap": 0.25, "change_low": 0.125, "change_high": 0.375, "reason": None,
    }  # fmt: skip
    lost = dict.fromkeys(row) | {"corpus": "x", "kind": "alone", "mended": "scale", "ours": "a", "theirs": "b", "reason": "nan"}
    table = audit.table([row, row | {"mended": "padding"}, lost])
    assert [row.cells[0] for row in table.rows] == ["as published", "+ padding", "scale alone"]
    assert table.rows[0].cells[3:7] == ("+0.2500 (+0.125 to +0.375)", "+0.5000", "3.0000", "2.5000")
    assert table.rows[0].cells[7:12] == ("−0.3190 (−0.330 to −0.308)", "0.7290", "1.0480", "–", "–")
    assert table.rows[0].cells[12:] == ("42,339,715", "23,840,320", "4,000,000", "1,000,000")
    assert len(table.rows[0].cells) == len(table.columns)
    assert table.rows[2].kind == "failed"
    assert table.notes == ("scale alone: nan",)

    # two seeds of one transformer, and one of another that has no end
    sizes = {"parameters": 311_000, "non_embedding_parameters": 180_000}
    compared = {
        "rows": [{"corpus": "x", "spec": spec, "seed": 0, **sizes} for spec in "acd"],
        "means": [{"corpus": "x", "spec": spec, "nats_per_token": nats} for spec, nats in (("a", 2.75), ("c", 3.0), ("d", None))],
        "differences": [
            {"corpus": "x", "spec": "a", "against": "c", "nats": [-0.25, -0.25], "low_percent": 100 * math.expm1(-0.5),
             "high_percent": 100 * math.expm1(0.125), "reason": None},
            {"corpus": "x", "spec": "a", "against": "d", "nats": [-0.25, None], "reason": "d diverged"},
            {"corpus": "x", "spec": "c", "against": "d", "nats": [0.0, None], "reason": "d diverged"},
            {"corpus": "y", "spec": "a", "against": "c", "nats": [0.0, 0.0], "reason": None},
        ],
    }  # fmt: skip
    ends = audit.table(audit.at_the_end(compared, "x", row, tuned=True))
    assert [end.cells[:3] for end in ends.rows] == [("tuned alike, against c", "a", "c"), ("tuned alike, against d", "a", "d")]
    assert ends.rows[0].cells[3:7] == ("–", "−0.2500 (−0.500 to +0.125)", "2.7500", "3.0000")
    assert ends.rows[0].cells[12:] == ("311,000", "311,000", "180,000", "180,000")
    assert ends.rows[1].kind == "failed"
    assert ends.notes == ("tuned alike, against d: d diverged",)


def test_lengths_show_failed_and_missing_measurements():
    content = {"rows": [length_row("transformer", 4096), length_row("transformer", 16384)], "matrix_peak": {"4096": 4e10}}
    table = lengths.table(content, [("transformer", 4096), ("transformer", 8192)])
    good = cells(table, 0)
    # 4,096 tokens at 40,000 a second, times two: 0.2048 s, 20,000 tokens a second; 200 + 256 MiB
    assert (good["call ↓ s, median"], good["speed ↑ tokens/s"], good["peak memory ↓ MiB"]) == ("0.2048", "20,000", "456.0")
    assert good["quartiles s"] == "0.1987 to 0.2171"
    assert (good["of the matrix peak ↑"], good["attention"]) == ("25.0%", "flash attention for cpu")
    assert [cells(table, i)["status"] for i in range(3)] == ["ok", "missing", "out_of_memory"]
    assert table.notes[0] == "transformer at length 4,096: the process's peak is 456.0 MiB, and its tensors account for 200.0"
    assert "out_of_memory: killed" in table.notes[2]


def test_lengths_tell_what_makes_a_measurement_doubtful():
    row = length_row("transformer", 4096) | {"accounted_bytes": None, "unaccounted": "timeout: no answer after 600 s"}
    dropping = [length_row(spec, 1024) | {"dropout": rate} for spec, rate in (("wavestack", 0.0), ("published", 0.1))]
    dropping.append(length_row("another", 1024) | {"mode": "forward", "dropout": 0.1})
    dropping.append(length_row("published", 4096) | {"dropout": None})  # out of memory
    peaks = {"4096": [4e10, 3.5e10], "8192": [4e10, 3e10], "16384": None}
    content = {"rows": [row, *dropping], "ratios": [], "matrix_peaks": peaks}
    assert lengths.table(content, []).notes == (
        "transformer at length 4,096: after its timed calls its memory and FLOPs could not be told to the end "
        "(timeout: no answer after 600 s)",
        "published has a dropout of 0.1, and spends time on it",
        "length 8,192: the matrix peak was 40 GFLOP/s before all calls and 30 after them: other work, or a clock that changed",
    )


def test_what_a_model_takes_stands_beside_what_the_first_one_does():
    """At 4,096 it is 456 of 204 MiB by the process; by their tensors both have 200. At 256 their calls have no ratio."""
    table = lengths.table(swept("a"), [])
    beside = [tuple(cells(table, i)[f"times the first model's {what}"] for what in ("time", "memory or state")) for i in range(8)]
    assert {beside[i] for i in (0, 2, 4, 6, 7)} == {("–", "–")}  # the first model's own, and one that failed
    assert [beside[i] for i in (1, 3, 5)] == [
        ("–", "1.059, 1.000"),
        ("0.90 (0.81 to –)", "1.294, 1.000"),
        ("1.40 (1.26 to –)", "2.235, 1.000"),
    ]
    assert [note for note in table.notes if "other work" in note] == ["length 4,096: other work took 0.3 cores meanwhile"]


def test_figures_have_the_times_of_a_machine_that_is_always_as_fast():
    """The second job was twice as slow as the first, which its yardstick tells, and the third one four times."""
    known = {"status": "ok", "seconds_quartiles": [1.0, 4.0], "tokens_per_second": 100.0}
    rows = [known | {"yardstick_seconds": slow, "seconds_median": slow} for slow in (1.0, 2.0, 4.0)]
    rows.append({"status": "timeout", "yardstick_seconds": 2.0})
    told = lengths._as_in_the_middle(rows)
    assert [row["seconds_median"] for row in told[:3]] == [2.0, 2.0, 2.0]
    assert [row["seconds_quartiles"] for row in told[:3]] == [[2.0, 8.0], [1.0, 4.0], [0.5, 2.0]]
    assert [row["tokens_per_second"] for row in told[:3]] == [50.0, 100.0, 200.0]
    assert told[3] == rows[3]
    rows[0] = rows[0] | {"yardstick_seconds": None}
    assert lengths._as_in_the_middle(rows) == rows


def test_a_model_against_itself():
    known, *_ = swept("a")["yardsticks"]
    unknown = known | dict.fromkeys(("ratio", "low", "high")) | {"reason": "no answer after 600 s"}
    table = lengths.yardstick_table([known, unknown])
    assert [row.cells for row in table.rows] == [("4,096", "1.016 (0.990 to 1.030)"), ("4,096", "unknown: no answer after 600 s")]


def test_growth_shows_exponents_crossovers_and_ratios():
    table = lengths.growth_table(swept("a"), ["wavestack", "transformer"])
    rows = [cells(table, i) for i in range(4)]
    assert rows[0]["exponent all lengths"] == "1.010 (0.990 to 1.030)"
    assert (rows[0]["exponent upper half"], rows[0]["curve"]) == ("–", "linear, by 3.2; 1.0%")
    assert rows[2]["the first model takes less from length"] == "2,048 (1,500 to –)"
    assert rows[2]["times the first model's time at 4,096"] == "1.40 (1.26 to –)"
    assert rows[2]["times the first model's time at the greatest length"] == "1.40 (1.26 to –) at 4,096"
    assert rows[0]["times the first model's time at 4,096"] == "–"
    assert [rows[3][key] for key in ("of", "the first model takes less from length")] == ["memory", "at every length"]


@pytest.mark.parametrize(
    ("crossing", "told"),
    [
        ({"where": "always", "high": 2048.0}, "at every length, surely from 2,048"),
        ({"where": "never", "low": 2048.0}, "at none, maybe from 2,048"),
        ({"where": "never"}, "at none"),
        ({"where": "unresolved"}, "unresolved"),
    ],
)
def test_crossovers_that_are_not_inside(crossing, told):
    content = swept("a")
    content["crossovers"] = [{**content["crossovers"][0], "length": None, "low": None, "high": None, **crossing}]
    assert cells(lengths.growth_table(content, ["wavestack", "transformer"]), 2)["the first model takes less from length"] == told


def test_differences_of_rounds_that_hold_zero():
    said = {"spec": "wavestack", "measure": "time", "range": "all"}
    table = lengths.differences_table(
        [{**said, "value": -0.01, "low": -0.04, "high": 0.02}, {**said, "value": 0.1, "low": 0.05, "high": 0.15}]
    )
    assert [table.rows[i].cells[3:] for i in range(2)] == [("−0.010 (−0.040 to 0.020)", "yes"), ("0.100 (0.050 to 0.150)", "no")]


def test_ratios_of_both_rounds():
    first, again = ({"ratio": ratio, "low": ratio - 0.1, "high": ratio + 0.1} for ratio in (1.5, 1.65))
    row = {"spec": "transformer", "than": "wavestack", "length": 4096, "first": first, "again": again, "inside": False, "meet": True}
    table = lengths.repeated_table([row, row | {"inside": None, "meet": None}])
    assert table.rows[0].cells == ("transformer", "4,096", "1.500 (1.400 to 1.600)", "1.650 (1.550 to 1.750)", "no", "yes")
    assert table.rows[1].cells[4:] == ("–", "–")


def test_ledger_shows_the_deviation_and_marks_one_beyond_one_percent():
    row = {
        "corpus": "c", "budget": "b", "spec": "s", "variant": "v", "vocabulary": 2048, "mlp": 3, "parameters": 1_005_000,
        "target_parameters": 1_000_000, "non_embedding_parameters": 783_000, "target_non_embedding_parameters": 800_000,
    }  # fmt: skip
    table = ledger.table({"rows": [row]})
    assert table.rows[0].cells[8] == "+0.50%"
    assert table.rows[0].cells[-1] == "−2.12%"  # 783 / 800 = 0.97875
    assert table.rows[0].kind == "failed"
    assert table.notes == ("s/v on c is more than 1% off its target",)
    own = ledger.table({"rows": [row | {"mlp": None, "target_parameters": None, "target_non_embedding_parameters": None}]})
    assert own.rows[0].cells[5:] == ("–", "1,005,000", "–", "–", "783,000", "–", "–")
    assert own.rows[0].kind == ""


def test_contract_names_what_broke_and_what_is_missing():
    contents = {
        ("a", "tiny", "base"): {"findings": [finding("chunk carry", 2e-7), finding("chunk carry", 3.4e-3, "bfloat16")]},
        ("b", "tiny", "base"): {"findings": [finding("chunk carry", 2e-7), finding("chunk carry", 0.25, "bfloat16", passed=False)]},
        ("c", "tiny", "base"): None,
    }
    table = contract.table(contents)
    assert [cells(table, i)["chunk carry"] for i in range(5)] == ["holds 2.0e-07", "holds 3.4e-03", "holds 2.0e-07", "BROKEN 2.5e-01", "–"]
    assert [row.cells[0] for row in table.rows] == ["a", "", "b", "", "c"]
    assert [cells(table, i)["precision"] for i in range(5)] == ["float32", "bfloat16", "float32", "bfloat16", "–"]
    assert [row.kind for row in table.rows] == ["", "", "", "failed", "failed"]
    assert table.notes[0] == "b/base breaks chunk carry (bfloat16) from position 7 on: looked ahead"
    assert "missing" in table.notes[1]


def test_contract_tells_a_declared_break_from_one_that_does_not_occur():
    occurs = finding("prefix consistency", 8.3e-3, declared=True)
    gone = finding("prefix consistency", 2e-7, passed=False, declared=True)
    table = contract.table({("a", "b", "base"): {"findings": [occurs]}, ("c", "b", "base"): {"findings": [gone]}})
    assert [cells(table, i)["prefix consistency"] for i in range(2)] == ["declared break 8.3e-03", "NO BREAK 2.0e-07"]
    assert [row.kind for row in table.rows] == ["marked", "failed"]
    assert [note.partition(",")[0] for note in table.notes] == ["c/base declares a break that does not occur"]


def test_contract_shows_what_is_not_finite_as_broken():
    for declared in (False, True):
        nan = finding("chunk carry", 1.0, passed=False, declared=declared) | {"difference": None}
        table = contract.table({("a", "tiny", "base"): {"findings": [finding("chunk carry", 0.5, passed=False), nan]}})
        assert cells(table, 0)["chunk carry"] == "BROKEN, not finite"
        assert table.notes[1] == "a/base breaks chunk carry (float32) from position 7 on: looked ahead"


def test_contract_has_all_checks_in_order_and_reads_older_files():
    old = [{"check": name, "passed": True, "difference": 0, "position": None, "detail": "x"} for name in ("my own", "parameter count")]
    table = contract.table({("a", "tiny", "base"): {"findings": old}})
    assert [column.title for column in table.columns][4:] == [*contract.CHECKS, "my own"]
    assert table.rows[0].cells[3:] == ("float32", *["–"] * 7, "holds 0", "holds 0")


def test_benchmark_shows_comparisons_with_their_verdicts():
    told = {"against": "theirs", "against_median": 0.125, "ratio_of": "speed", "bound": 4.0}
    rows = [
        benchmark_row("a", 512, "theirs", 0.125),
        benchmark_row("a", 512, "ours", 0.25, **told, ratio=0.5, target="at least 0.9", met=False),
        benchmark_row("a", 512, "others", 0.0625, **told, ratio=2.0),
        benchmark_row("b", 4096, "alone", 2**20, bytes=True),
    ]
    table = speed.table(rows)
    assert [cells(table, i)["ours"] for i in range(3)] == ["ours", "others", "alone"]  # theirs stands in their rows
    ours = cells(table, 0)
    assert (ours["length tokens"], ours["median ↓ of ours"], ours["quartiles of ours"]) == ("512", "250.00 ms", "225.00 ms to 300.00 ms")
    assert (ours["theirs"], ours["median ↓ of theirs"], ours["ratio ours to theirs"]) == ("theirs", "125.00 ms", "0.50 × as fast")
    assert (ours["of the bound ↑ by FLOPs alone"], ours["target"], ours["result"]) == ("12.5%", "at least 0.9", "missed")
    assert (cells(table, 1)["target"], cells(table, 1)["result"]) == ("–", "–")
    assert (cells(table, 2)["median ↓ of ours"], cells(table, 2)["ratio ours to theirs"]) == ("1.00 MiB", "–")
    assert [row.kind for row in table.rows] == ["failed", "", ""]


def test_benchmark_without_a_bound_has_no_column_for_it():
    row = benchmark_row("a", 512, "ours", 1.0, against="x", against_median=1.0, ratio_of="cost", ratio=1.0, target="at most 1.1", met=True)
    table = speed.table([{key: value for key, value in row.items() if key != "bound"}])
    assert not [column.title for column in table.columns if "bound" in column.title]
    assert cells(table, 0)["result"] == "met"


def test_provenance_marks_uncommitted_and_missing():
    made = {"commit": "a" * 40, "dirty": True, "fingerprint": "f", "finished": "t", "command": "wavestack train"}
    table = provenance.table({"x": (made, {"seconds": 1.25, "peak_memory_bytes": 3 * 2**20}), "y": (None, None)})
    assert table.rows[0].cells == ("x", "aaaaaaaaaa + uncommitted changes", "f", "t", "wavestack train", "1.2", "3")
    assert table.rows[1].cells[1] == "missing"
    assert provenance.commit({"commit": None, "dirty": None}) == "not a git checkout"


def test_corpora_show_their_source_sizes_and_overlap():
    size = {"documents": 4, "bytes": 1000, "words": None, "source_documents": 8, "source_bytes": 4000}
    manifest = {
        "licence": "MIT",
        "limit": None,
        "source": {"kind": "hub", "path": "a/b", "name": None, "revision": "c0ffee"},
        "splits": {"test": size, "train": size, "valid": size},
        "overlap": {"valid": {"document_share": 0.25, "ngram_share": None}, "test": {"document_share": 0.0, "ngram_share": 0.0321}},
    }
    encoded = {"tokenizer": {"kind": "bpe"}, "vocabulary": 2048, "splits": {"train": {"tokens": 12345}}}
    (row,) = corpora.sources({"x": manifest}, {"x": encoded}).rows
    assert row.cells == ("x", "hub (path a/b)", "c0ffee", "MIT", "none", "bpe", "2,048")
    train, valid, test = corpora.splits({"x": manifest}, {"x": encoded}).rows
    assert train.cells == ("x", "train", "4", "1,000", "–", "12,345", "25.0%", "–", "–")
    assert valid.cells[-2:] == ("25.0%", "–")
    assert test.cells[-2:] == ("0.0%", "3.2%")
    lost = corpora.sources({"x": None}, {"x": None})
    assert lost.notes == ("corpora/x/manifest.json: missing", "tokens/x/manifest.json: missing")
