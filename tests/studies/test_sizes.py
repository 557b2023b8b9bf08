"""Quality against size on results written by hand."""

from math import exp, log

import pytest
from scipy import stats
from written import result

from wavestack.artifacts import read_json, write_json
from wavestack.reading import load
from wavestack.studies.calibration import uncalibrated
from wavestack.studies.sizes import STEP, at_equal_flops, write_sizes

SIZES = [
    "budgets.large={hidden: 32, blocks: 2, context: 64, parameters: 60_000, tokens: 40_960}",
    "studies.sizes={corpora: [pydocs], specs: [wavestack, transformer], budgets: [tiny, large], tokens: [20_480, 10_240], seeds: [0, 1]}",
]


@pytest.fixture
def parameters():
    return load("params/smoke.yaml", SIZES)


def test_every_size_is_trained_on_every_number_of_tokens(parameters):
    runs = [f"{run.budget}/{run.variant}" for run in parameters.sizes_runs() if (run.spec, run.seed) == ("wavestack", 0)]
    assert runs == ["tiny/tokens=10240", "tiny/base", "large/tokens=10240", "large/tokens=20480"]  # tiny has 20,480 of its own
    assert len(parameters.sizes_runs()) == 4 * 2 * 2
    assert set(parameters.sizes_runs()) <= set(parameters.scored_runs())
    few, own = parameters.sizes_runs()[0], parameters.sizes_runs()[2]
    assert (parameters.budget(few).tokens, parameters.budget(own).tokens) == (10_240, 20_480)
    assert parameters.steps(few) * 2 == parameters.steps(own)


def nats(run, tokens):
    """WaveStack is ahead by 0.1 when small and by 0.3 when large, give or take 0.01 a seed."""
    ahead = {"tiny": 0.1, "large": 0.3}[run.budget] + 0.01 * run.seed if run.spec == "wavestack" else 0
    return 5 - 0.2 * log(tokens / 10_240) - ahead


def write_results(parameters, reports, diverged=()):
    for run in parameters.sizes_runs():
        tokens = parameters.budget(run).tokens
        result(reports, run, nats(run, tokens), tokens=tokens, status="diverged" if str(run) in diverged else "ok")


def sized(parameters, reports):
    return write_sizes(parameters, reports, reports)


def test_who_leads_at_equal_size(parameters, tmp_path):
    write_results(parameters, tmp_path)
    found = sized(parameters, tmp_path)["equal_size"]
    assert [(row["budget"], row["tokens"]) for row in found] == [("tiny", 10_240), ("tiny", 20_480), ("large", 10_240), ("large", 20_480)]
    assert found[2]["nats"] == pytest.approx([-0.3, -0.31])
    assert found[2]["perplexity_percent"] == pytest.approx(100 * (exp(-0.305) - 1))
    assert {(row["low_percent"], row["high_percent"]) for row in found} == {(None, None)}  # of two seeds
    assert found == read_json(tmp_path / "studies" / "sizes.json")["equal_size"]


def test_three_seeds_have_an_interval_of_their_family(tmp_path):
    """Differences of 0.30, 0.31 and 0.32 that all documents share, the surest but one of four (the other large one goes first)."""
    parameters = load("params/smoke.yaml", [*SIZES, "studies.sizes.seeds=[0, 1, 2]"])
    write_results(parameters, tmp_path)
    found = sized(parameters, tmp_path)["equal_size"]
    assert sorted(1 - row["level"] for row in found) == pytest.approx([0.05 / 4, 0.05 / 3, 0.05 / 2, 0.05])
    for row, ahead in zip(found, (0.11, 0.11, 0.31, 0.31), strict=True):
        reach = stats.t.ppf((1 + row["level"]) / 2, 2) * 0.01 / 3**0.5
        ends = [100 * (exp(-ahead + side * reach) - 1) for side in (-1, 1)]
        assert [row["low_percent"], row["high_percent"]] == pytest.approx(ends)
        alone = stats.t.ppf(0.975, 2) * 0.01 / 3**0.5
        assert [row["low_percent_alone"], row["high_percent_alone"]] == pytest.approx([100 * (exp(s * alone - ahead) - 1) for s in (-1, 1)])
    assert {(row["verdict"], row["reason"]) for row in found} == {("undecided", uncalibrated(parameters, tmp_path))}


def test_unequal_budgets_are_refused(parameters, tmp_path):
    write_results(parameters, tmp_path)
    run = next(run for run in parameters.sizes_runs() if (run.spec, run.budget) == ("transformer", "large"))
    result(tmp_path, run, 5.0, parameters=57_000, tokens=parameters.budget(run).tokens)
    with pytest.raises(ValueError, match=r"transformer/.* has 57,000 parameters and wavestack/.* 56,000; runs of unequal budgets"):
        sized(parameters, tmp_path)


def test_a_single_seed_is_not_compared_on_other_text_either(parameters, tmp_path):
    write_results(parameters, tmp_path)
    run = next(run for run in parameters.sizes_runs() if run.spec == "transformer")
    path = tmp_path / "runs" / str(run) / "metrics.json"
    write_json(path, read_json(path) | {"tokens": 1100})
    told = r"pydocs/wavestack/.* was scored on 3 documents of 1,000 tokens and pydocs/transformer/.* on 3 documents of 1,100 tokens; "
    with pytest.raises(ValueError, match=told + "runs of unequal tokenizers or splits are not compared"):
        sized(parameters, tmp_path)


def test_a_diverged_run_has_no_difference_and_its_point_is_on_no_curve(parameters, tmp_path):
    """It ended early, after other FLOPs than the seed that went well, whose loss alone would flatter."""
    write_results(parameters, tmp_path)
    whole = sized(parameters, tmp_path)
    lost = next(run for run in parameters.sizes_runs() if str(run) == "pydocs/transformer/large/tokens=20480/seed1")
    result(tmp_path, lost, 5.0, tokens=12_288, status="diverged")
    found = sized(parameters, tmp_path)
    assert [row["nats"][1] is None for row in found["equal_size"]] == [False, False, False, True]
    assert found["equal_size"][3]["reason"] == "a run is missing or diverged"
    last = [max(row["training_flops"] for row in each["equal_flops"]) for each in (whole, found)]
    assert last[1] < last[0]  # where their large model's curve ended


def test_flops_of_training_are_three_forward_passes_of_every_token(parameters, tmp_path):
    """The transformer's, by hand: four matrices of attention, three of the MLP, the output layer, and scores and sums of half a context."""
    write_results(parameters, tmp_path)
    found = sized(parameters, tmp_path)
    cost = next(row for row in found["costs"] if (row["spec"], row["budget"]) == ("transformer", "large"))
    vocabulary, hidden, context = parameters.tokenizer("pydocs").size, 32, 64
    assert cost["of_the_output_layer"] == 2 * vocabulary * hidden
    assert cost["over_the_sequence"] == 2 * (2 * 2 * hidden * (context + 1) / 2)  # two blocks
    norms = 5 * hidden + 2 * 2 * 32  # of the stream, and of queries and keys
    matrices = 2 * (cost["non_embedding_parameters"] - norms)
    assert cost["flops_per_token"] == matrices + cost["of_the_output_layer"] + cost["over_the_sequence"]
    row = next(row for row in found["rows"] if (row["spec"], row["budget"], row["variant"]) == ("transformer", "large", "tokens=10240"))
    assert row["training_flops"] == STEP * cost["flops_per_token"] * 10_240


def test_curves_that_cross_are_compared_where_both_reach():
    """Between 1 and 100 FLOPs theirs falls from 4 to 2, by one each factor of ten; the larger size is better from 10 on."""
    ours, theirs = [[(10.0, 3.5), (1000.0, 1.0)]], [[(1.0, 4.0), (100.0, 2.0)], [(10.0, 2.5), (100.0, 1.0)]]
    (row,) = at_equal_flops(ours, theirs)
    percent = pytest.approx(100 * (exp(1) - 1))
    assert row == {"training_flops": 10.0, "ours": 3.5, "theirs": 2.5, "nats": 1.0, "perplexity_percent": percent, "at_most": []}
    (turned, last) = at_equal_flops(theirs, [[(10.0, 3.5), (1000.0, 1.5)]])
    assert (turned["training_flops"], turned["nats"]) == (10.0, -1.0)
    assert last["theirs"] == pytest.approx(2.5)  # half way between, in the logarithm


def test_a_size_that_was_trained_for_fewer_counts_with_what_it_had():
    """At 100 FLOPs their small size, trained for 10, is still better than their large one: 2.5 against 3, and at most that."""
    ours, theirs = [[(100.0, 2.75), (1000.0, 2.0)]], [[(1.0, 4.0), (10.0, 2.5)], [(10.0, 4.0), (1000.0, 2.0)]]
    (both, last) = at_equal_flops(ours, theirs)
    assert (both["theirs"], both["nats"], both["at_most"]) == (2.5, 0.25, ["theirs"])
    assert (last["theirs"], last["at_most"]) == (2.0, ["theirs"])


def test_nothing_is_compared_where_one_side_was_not_trained_for_so_many():
    assert at_equal_flops([[(1.0, 3.0), (2.0, 2.0)]], [[(3.0, 2.0), (4.0, 1.0)]]) == []
    assert at_equal_flops([[]], [[(3.0, 2.0)]]) == []
