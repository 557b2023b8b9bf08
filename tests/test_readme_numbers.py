"""Numbers in the sentences of README.md and reports/README.md: each is made again from the artefact that it is of, and must stand there."""

import math
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import pandas
import pytest

from wavestack.artifacts import read_json

REPORTS = Path("reports")
CPU = REPORTS / "findings-cpu"
STORIES, CODE, WIKIPEDIA = "tinystories-excerpt", "python-functions", "wikitext-2"
CONVOLUTION = "transformer-convolution"
FEW = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def plain(page: str) -> str:
    return " ".join(Path(page).read_text(encoding="utf-8").split())


README, BEHIND = plain("README.md"), plain("reports/README.md")


def readme_says(sentence: str) -> None:
    assert sentence in README, f"README.md does not say: {sentence}"


def behind_it_says(sentence: str) -> None:
    assert sentence in BEHIND, f"reports/README.md does not say: {sentence}"


def study(name: str, profile: str = "findings-cpu"):
    return read_json(REPORTS / profile / "studies" / f"{name}.json")


def perplexity(rows, **wanted) -> float:
    """Of the only row that has these values, from its nats; of a mean row, from the mean of nats."""
    (found,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return math.exp(found["nats_per_token"])


def part(share: float, of: int) -> str:
    """A share in words, to the nearest eighth or tenth."""
    return f"{FEW[round(share * of)]} {'eighths' if of == 8 else 'tenths'}"


def slices(corpus: str, kind: str, against: str) -> pandas.DataFrame:
    """What the comparison's models lose in each slice: tokens, and how many nats a token the other one loses more than WaveStack."""
    rows = pandas.DataFrame(study("comparison")["slices"])
    rows = rows[(rows.corpus == corpus) & (rows.kind == kind)]
    of = {spec: rows[rows.spec == spec].set_index("least") for spec in ("wavestack", against)}
    return pandas.DataFrame({"tokens": of["wavestack"].tokens, "lead": of[against].nats_per_token - of["wavestack"].nats_per_token})


def lead(rows: pandas.DataFrame) -> float:
    """Nats a token over some slices."""
    return float((rows.lead * rows.tokens).sum() / rows.tokens.sum())


def test_seeds_of_the_plain_transformer_on_code():
    nats = [row["nats_per_token"] for row in study("comparison")["rows"] if (row["corpus"], row["spec"]) == (CODE, "transformer")]
    readme_says(f"on code its {FEW[len(nats)]} seeds end between {min(nats):.2f} and {max(nats):.2f} nats a token (the logarithm")
    behind_it_says(f"from {min(nats):.2f} to {max(nats):.2f} nats, by how far each has learned to copy")
    back = [
        pandas.read_csv(path).query("kind == 'back'") for path in (CPU / "runs" / CODE / "transformer/small/tuned").glob("seed*/slices.csv")
    ]
    new, repeated = (
        [part.nats.sum() / part.tokens.sum() for part in of] for of in zip(*((b[b.least == 0], b[b.least > 0]) for b in back), strict=True)
    )
    assert max(new) - min(new) < 0.1  # where there is nothing to copy
    assert max(repeated) - min(repeated) > 1


def interval(row: dict) -> str:
    """Of a ratio, or of an exponent."""
    return f"{row['ratio' if 'ratio' in row else 'value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def sweep_of(name: str) -> dict:
    (found,) = [sweep for sweep in study("lengths")["sweeps"] if sweep["name"] == name]
    return found


CLAIMS = {  # rows of the README's table, in order, and the profile whose findings decide
    "tinystories-beats-transformer": "findings-cpu",
    "wikitext2-within-10-percent": "findings-cpu",
    "linear-in-sequence-length": "findings-cpu",
    "every-lane-contributes": "findings-cpu",
    "explicit-is-more-efficient": "findings-cpu",
    "lanes-compose-at-run-time": "findings-cpu",
    "attention-helps": "hybrids-cpu",
    "memory-efficient-for-long-context": "findings-cpu",
}


def test_verdicts_on_the_published_claims():
    text = Path("README.md").read_text(encoding="utf-8").partition("What was published, and what is found of it:")[2]
    table = [line.split("|")[1:-1] for line in text.strip().partition("\n\n")[0].splitlines()][2:]
    for (claim, profile), (_, found, where) in zip(CLAIMS.items(), table, strict=True):
        verdicts = {finding["id"]: finding["verdict"] for finding in read_json(REPORTS / profile / "findings.json")["findings"]}
        assert found.strip().startswith(verdicts[claim]), claim
        assert all((REPORTS / place.strip(" `")).is_dir() for place in where.split(","))
    lower = {
        (row["corpus"], row["against"]): f"{-row['perplexity_percent']:.1f}%"
        for row in study("test")["differences"]
        if row["spec"] == "wavestack"
    }
    readme_says(f"perplexity {lower[STORIES, CONVOLUTION]} lower than the stronger transformer's")
    evidence = {
        (finding["id"], " transformer-heads-64" in each["protocol"]): each
        for finding in read_json(CPU / "findings.json")["findings"]
        for each in finding["evidence"]
        if each["protocol"].startswith("training-cpu-float32-tokens16384")
    }
    grows = evidence["linear-in-sequence-length", True]
    theirs = grows["protocol"].partition("transformer-heads-64 has ")[2]
    readme_says(f"undecided: {interval(grows)} against {theirs} in training on a CPU")
    found = {finding["id"]: finding["evidence"] for finding in read_json(CPU / "findings.json")["findings"]}
    of_four, of_tokens = (
        f"{interval(each)} against {each['protocol'].partition('transformer-heads-64 has ')[2]}"
        for name in ("forward-cpu-float32-batch4", "forward-cpu-float32-tokens16384")
        for each in found["linear-in-sequence-length"]
        if each["protocol"].startswith(name) and " transformer-heads-64" in each["protocol"]
    )
    readme_says(f"in forward passes {of_four} for four sequences and {of_tokens} for 16,384 tokens")
    (forward,) = [each for each in found["memory-efficient-for-long-context"] if "forward-cpu-float32-tokens16384" in each["protocol"]]
    readme_says(f"a forward pass of as many {forward['low']:.3f} to {forward['high']:.3f} times")
    alone = [each for each in found["memory-efficient-for-long-context"] if each["reason"] == "memory is of one process alone"]
    assert "prefill" in alone[-1]["protocol"]  # "prompts were measured in one process"
    readme_says(f"supported, when small: {lower[WIKIPEDIA, CONVOLUTION].replace('%', '')}% and {lower[WIKIPEDIA, 'transformer']} lower")


def test_a_wavestack_without_lanes_against_the_plain_transformer():
    none = perplexity(study("ablation")["rows"], corpus=STORIES, variant="lanes=none,tuned", seed=0)
    theirs = perplexity(study("sizes")["rows"], spec="transformer", budget="small", training_tokens=1_802_240)
    readme_says(f"({none:.1f} against {theirs:.1f}, one seed)")
    behind_it_says(f"has a perplexity of {none:.1f}, and the plain transformer {theirs:.1f} (seed 0)")


def test_where_the_lead_lies_on_english():
    rows = {(corpus, spec): slices(corpus, "back", spec) for corpus in (STORIES, WIKIPEDIA) for spec in (CONVOLUTION, "transformer")}
    new = {key: lead(found.loc[[0]]) for key, found in rows.items()}  # slice 0: the pair did not stand earlier
    repeated = {key: 1 - new[key] * found.tokens[0] / (found.lead * found.tokens).sum() for key, found in rows.items()}
    stories, wikipedia = (f"{repeated[corpus, CONVOLUTION]:.0%}" for corpus in (STORIES, WIKIPEDIA))
    readme_says(f"{stories} of it (stories) and {wikipedia} (WikiText-2) are at the fifth of all tokens whose pair")
    behind_it_says(
        f"Of the lead over the transformer with the convolution {stories} on stories and {wikipedia} on Wikipedia are at the fifth"
    )
    assert {round(5 * (1 - found.tokens[0] / found.tokens.sum())) for found in rows.values()} == {1}  # "the fifth of all tokens"
    left = sorted(new[corpus, CONVOLUTION] for corpus in (STORIES, WIKIPEDIA))
    behind_it_says(f"where the pair is new, {' to '.join(dict.fromkeys(f'{nats:.2f}' for nats in left))} nats are left")
    behind_it_says(f"(Against the plain one on stories {repeated[STORIES, 'transformer']:.0%}, and {new[STORIES, 'transformer']:.2f}.)")


def test_the_lead_on_code_falls_in_training_and_along_the_context():
    curves = {
        spec: pandas.concat([pandas.read_csv(path) for path in (CPU / "runs" / CODE / spec / "small/tuned").glob("seed*/curve.csv")])
        for spec in ("wavestack", CONVOLUTION)
    }
    of = {spec: curve.dropna(subset="valid_nats").groupby("step").valid_nats.mean() for spec, curve in curves.items()}
    gap = of[CONVOLUTION] - of["wavestack"]
    largest, half, end = gap.idxmax(), gap.index.max() / 2, gap[gap.index > 0.75 * gap.index.max()].mean()
    far = lead(slices(CODE, "seen", CONVOLUTION).loc[128:])
    readme_says(f"from {gap[largest]:.2f} to {end:.2f} nats a token, and is {far:.2f} with 128 tokens of context or more")
    behind_it_says(
        f"from {gap[largest]:.2f} nats a token after {largest} of {gap.index.max():,} steps "
        f"to {gap[gap.index > half].iloc[0]:.2f} past the half and {end:.2f} in the last quarter"
    )
    back = slices(CODE, "back", CONVOLUTION)
    assert (back.lead.loc[:8] > 0).all()
    assert (back.lead.loc[16:] < 0).all()
    assert lead(back.loc[1:]) < 0
    behind_it_says(
        "better where a pair is new or stood at most 15 positions back, worse where it stood further back, and worse at repeated pairs"
    )


def percents(against: str) -> dict[str, list[float]]:
    """By how much WaveStack's perplexity is lower at each size, from the fewest tokens to the most."""
    rows = pandas.DataFrame(row for row in study("sizes")["equal_size"] if row["against"] == against).sort_values("tokens")
    return {budget: (-rows[rows.budget == budget].perplexity_percent).tolist() for budget in ("shallow", "small", "wide")}


def test_the_lead_at_other_sizes():
    ours, plain_ones = percents(CONVOLUTION), percents("transformer")
    everything = [percent for found in (ours, plain_ones) for row in found.values() for percent in row]
    assert len(everything) == 24
    assert min(everything) > 0
    fewest = [row[0] for found in (ours, plain_ones) for row in found.values()]
    behind_it_says(f"in all 24 comparisons: by {min(fewest):.0f} to {max(fewest):.0f}% after 0.45 million tokens")
    last, others = ([row[-1] for row in found.values()] for found in (ours, plain_ones))
    behind_it_says(f"by {last[0]:.1f}, {last[1]:.1f} and {last[2]:.0f}% against the transformer with the convolution")
    behind_it_says(f"by {others[0]:.0f}, {others[1]:.0f} and {others[2]:.0f}% against the plain one")
    falling = {budget for budget, row in ours.items() if all(later < before + 1 for before, later in pairwise(row))}
    assert falling == {"shallow", "small"}
    readme_says("At two of three sizes its lead falls with more training tokens (stories, one seed).")
    behind_it_says(f"({', '.join(f'{value:.0f}' for value in ours['small'][:3])}, {last[1]:.1f}% at 180,000 parameters)")
    behind_it_says(f"not at the largest ({', '.join(f'{value:.0f}' for value in ours['wide'])}%)")
    flops = pandas.DataFrame([row for row in study("sizes")["equal_flops"] if not row["at_most"]]).set_index("against")
    assert len(flops) == 2 * 8
    behind_it_says("at eight numbers of FLOPs (at the three greatest ones a model's loss is of fewer, and would be lower)")
    found = {spec: (-flops.perplexity_percent[spec]).tolist() for spec in (CONVOLUTION, "transformer")}
    most, fewest_flops = max(found[CONVOLUTION][1:]), flops.training_flops.min() / 1e12
    behind_it_says(
        f"by {min(found[CONVOLUTION]):.1f} to {most:.0f}% ({found[CONVOLUTION][0]:.0f}% at the fewest, {fewest_flops:.1f} x 10^12) "
        f"and by {min(found['transformer']):.0f} to {max(found['transformer']):.0f}%"
    )


def test_the_transformer_with_the_convolution_is_ahead_at_equal_time():
    rows = study("sizes")["rows"]

    def ahead(spec: str, budget: str) -> float:
        theirs = perplexity(rows, spec=spec, budget=budget, training_tokens=3_604_480)
        return 100 * (1 - theirs / perplexity(rows, spec="wavestack", budget=budget, training_tokens=1_802_240))

    found = [ahead(CONVOLUTION, budget) for budget in ("shallow", "small", "wide")]
    readme_says(f"is ahead by {min(found):.0f} to {max(found):.0f}%")
    behind_it_says(f"is ahead of WaveStack at all three sizes, by {min(found):.0f} to {max(found):.0f}% of perplexity")
    plain_ones = [ahead("transformer", budget) for budget in ("shallow", "small", "wide")]
    assert sum(value > 2 for value in plain_ones) == 2
    assert min(plain_ones) < -2
    behind_it_says("the plain one is ahead at two of them, and behind at the third")


def test_flops_a_token():
    flops = {(row["budget"], row["spec"]): row["flops_per_token"] for row in study("sizes")["costs"]}
    more = {budget: flops[budget, "wavestack"] / flops[budget, CONVOLUTION] - 1 for budget in ("shallow", "small", "wide")}
    readme_says(f"WaveStack counts {100 * min(more.values()):.0f} to {max(more.values()):.0%} more FLOPs a token")
    behind_it_says(f"WaveStack counts {more['small']:.0%} more FLOPs a token")


def test_seconds_of_training():
    """Of all seeds, by the models' means, since single runs had others beside them."""
    mean = {
        (corpus, spec): fmean(row["seconds"] for row in study("comparison")["rows"] if (row["corpus"], row["spec"]) == (corpus, spec))
        for corpus in (STORIES, CODE, WIKIPEDIA)
        for spec in ("wavestack", "transformer", CONVOLUTION)
    }
    longer = [mean[corpus, "wavestack"] / seconds for (corpus, spec), seconds in mean.items() if spec != "wavestack"]
    (alone,) = [
        1 / row["ratio"]
        for sweep in study("lengths", "quick")["sweeps"]
        for row in sweep["ratios"]
        if (sweep["mode"], row["spec"], row["length"]) == ("training", "transformer", 256)
    ]
    readme_says(f"they take {min(longer):.1f} to {alone:.1f} times as long to train.")
    behind_it_says(f"{alone:.1f} times in `quick/`, where nothing did")
    behind_it_says(f"WaveStack took {min(longer):.1f} to {max(longer):.1f} times as long to train, at a context of 256")
    rows = {(row["spec"], row["budget"], row["training_tokens"]): row["seconds"] for row in study("sizes")["rows"]}
    twice = [rows[CONVOLUTION, budget, 3_604_480] / rows["wavestack", budget, 1_802_240] - 1 for budget in ("shallow", "small", "wide")]
    readme_says(f"trained on twice as many tokens, which took it at most {max(twice):.0%} longer")
    behind_it_says(f"which took it up to {max(twice):.0%} longer")


def test_what_silenced_lanes_cost():
    found = study("complementarity")["knockouts"]
    cost = [row["nats_per_token"] for row in found]
    behind_it_says(f"costs {min(cost):.2f} to {max(cost):.1f} nats a token")
    assert all(row["low"] > 0 for row in found)
    assert len(found) == 12


def test_openings_of_test_splits():
    readme_says(f"`reports/openings.csv` counts every opening ({len(pandas.read_csv(REPORTS / 'openings.csv'))} so far)")


def test_perplexity_of_a_word():
    mean = {row["spec"]: row["word_perplexity"] for row in study("comparison")["means"] if row["corpus"] == WIKIPEDIA}
    words = f"{mean['wavestack']:.0f} (WaveStack), {mean[CONVOLUTION]:.0f} (with the convolution), {mean['transformer']:.0f} (plain)"
    behind_it_says(f"Perplexity of a word of WikiText-2: {words}.")


def test_the_transformer_with_its_better_learning_rate_on_stories():
    hybrids, chosen = study("comparison", "hybrids-cpu"), study("comparison")
    mean = perplexity(hybrids["means"], spec="transformer", corpus=STORIES)
    instead = perplexity(chosen["means"], spec="transformer", corpus=STORIES)
    behind_it_says(f"With 0.004 its perplexity is {mean:.1f} instead of {instead:.1f} (six seeds, `hybrids-cpu/`)")
    seeds = {row["seed"] for row in hybrids["rows"] if row["corpus"] == STORIES}

    def nats(content, spec: str) -> float:
        return fmean(
            row["nats_per_token"] for row in content["rows"] if (row["corpus"], row["spec"]) == (STORIES, spec) and row["seed"] in seeds
        )

    ours = min(nats(chosen, "wavestack"), nats(hybrids, "wavestack"))
    better = 100 * (1 - math.exp(ours - nats(hybrids, "transformer")))
    given = -next(row["perplexity_percent"] for row in chosen["differences"] if (row["corpus"], row["against"]) == (STORIES, "transformer"))
    readme_says(f"with a better one WaveStack's lead on validation is {better:.0f}%, not {given:.0f}%")
    behind_it_says(f"each with its better rate, by {better:.0f}%")


def test_hybrids_with_attention():
    study_of = study("comparison", "hybrids-cpu")
    differences = [row for row in study_of["differences"] if row["spec"] == "wavestack" and "attention" in row["against"]]

    def turned(percent: float) -> float:
        return -100 * percent / (100 + percent)  # the hybrid's perplexity against WaveStack's

    worse = [turned(row["perplexity_percent"]) for row in differences]
    gains = [-turned(row["high_percent"]) for row in differences]
    readme_says(f"{min(worse):.1f} to {max(worse):.1f}% worse; better by {min(gains):.0f} to {max(gains):.0f}% is not ruled out")
    for row, value in zip(differences, worse, strict=True):
        low, high = turned(row["high_percent"]), turned(row["low_percent"])
        behind_it_says(f"{value:.1f}% higher ({low:.1f} to +{high:.1f})")


def test_other_heads():
    means = study("comparison", "baseline-cpu")["means"]
    for corpus, name in ((CODE, "Python functions"), (STORIES, "TinyStories, an excerpt")):
        cells = [f"{perplexity(means, corpus=corpus, spec=f'{CONVOLUTION}{heads}'):.1f}" for heads in ("-heads-16", "", "-heads-64")]
        behind_it_says(f"| {name} | {' | '.join(cells)} |")
    verdicts = {row["verdict"] for row in study("comparison", "baseline-cpu")["differences"]}
    assert verdicts == {"no difference"}


def test_what_the_ablation_says_in_sentences():
    ablation = study("ablation")
    shapley = {(row["corpus"], *row["lanes"]): row["nats_per_token"] for row in ablation["worths"] if row["of"] == "lane"}
    total = {corpus: sum(value for key, value in shapley.items() if key[0] == corpus) for corpus in (STORIES, CODE)}
    learned = {corpus: shapley[corpus, "recall"] + shapley[corpus, "lookup"] for corpus in total}
    assert part(learned[CODE] / total[CODE], 10) == "nine tenths"
    assert round(4 * learned[STORIES] / total[STORIES]) == 3
    readme_says("The two learned lanes make up nine tenths of it on code, three quarters on stories")
    behind_it_says(
        f"{learned[STORIES]:.3f} of the {total[STORIES]:.3f} nats on stories and {learned[CODE]:.3f} of {total[CODE]:.3f} on code"
    )
    mean = {(row["corpus"], *row["lanes"]): f"{math.exp(row['nats_per_token']):.1f}" for row in ablation["means"]}
    four = ("fourier", "lookup", "recall", "wavelet")
    behind_it_says(f"All four together are best ({mean[STORIES, *four]} and {mean[CODE, *four]})")
    readme_says(
        f"recall has a perplexity of {mean[STORIES, 'recall']} on stories and {mean[CODE, 'recall']} on code, lookup, which is the gated "
        f"delta rule, {mean[STORIES, 'lookup']} and {mean[CODE, 'lookup']}, and all four together {mean[STORIES, *four]} and "
        f"{mean[CODE, *four]}"
    )
    behind_it_says(f"{mean[STORIES, 'lookup']} on stories, {mean[CODE, 'lookup']} on code")
    nats = {(row["corpus"], *row["lanes"]): row["nats_per_token"] for row in ablation["means"]}
    without = [
        100 * math.expm1(nats[(corpus, *(lane for lane in four if lane != gone))] - nats[corpus, *four])
        for corpus in total
        for gone in ("lookup", "wavelet", "fourier")
    ]
    behind_it_says(f"is worse is not shown (on average by {min(without):.0f} to {max(without):.0f}%)")
    surely = [(row["corpus"], *row["lanes"]) for row in ablation["worths"] if row["of"] == "removal" and row["low"] > 0]
    assert surely == [(CODE, "recall")]
    alone = f"{mean[STORIES, 'wavelet']} against {mean[(STORIES,)]} on stories, {mean[CODE, 'wavelet']} against {mean[(CODE,)]} on code"
    behind_it_says(f"wavelet is worse than no lane at all on either corpus (perplexity {alone})")
    best_without = min(float(value) for key, value in mean.items() if key[0] == CODE and "recall" not in key)
    behind_it_says(f"On code recall alone has {mean[CODE, 'recall']}, and no subset without it is better than {best_without:.1f}.")


def test_larger_models_that_are_not_intervals():
    flattened = {
        (name, corpus): f"{read_json(path)['perplexity']:.1f}"
        for name in ("wavestack", "transformer", CONVOLUTION)
        for corpus in (WIKIPEDIA, STORIES, CODE)
        for path in (REPORTS / f"flattened/runs/{corpus}/{name}/small/base/seed0/metrics.json",)
    }
    for corpus, name in ((WIKIPEDIA, "WikiText-2"), (STORIES, "TinyStories, an excerpt"), (CODE, "Python functions")):
        cells = [flattened[spec, corpus] for spec in ("wavestack", "transformer", CONVOLUTION)]
        behind_it_says(f"| {name} | {' | '.join(cells)} |")
    runs = REPORTS / "gpu/runs" / STORIES
    curves = {spec: pandas.read_csv(runs / spec / "deep/base/seed0/curve.csv").valid_nats for spec in ("wavestack", "transformer")}
    lowest = {spec: float(curve.min()) for spec, curve in curves.items()}
    behind_it_says(f"lowest at {lowest['wavestack']:.2f} nats and the transformer's at {lowest['transformer']:.2f}")
    theirs, ours = (math.exp(lowest[spec]) for spec in ("transformer", "wavestack"))
    readme_says(f"perplexity {theirs:.1f} against {ours:.1f} (23 million parameters")


@pytest.fixture
def sweeps() -> dict:
    return {sweep["mode"]: sweep for sweep in study("lengths", "gpu")["sweeps"]}


def test_long_sequences_on_a_gpu(sweeps):
    training = sweeps["training"]
    ratio = {row["length"]: row["ratio"] for row in training["ratios"]}  # the transformer's seconds over WaveStack's
    times = [1 / row["tokens_per_second"] for row in training["rows"] if row["spec"] == "wavestack"]
    assert max(times) / min(times) - 1 < 0.115
    readme_says("the same time, within 11%")
    assert 0.97 < ratio[16384] < 1.03
    readme_says(f"{1 / ratio[1024]:.1f} times as fast at 1,024, level at 16,384, and {ratio[131072]:.1f} times slower at 131,072")
    behind_it_says(f"({1 / ratio[1024]:.2f} times at 1,024, {1 / ratio[4096]:.2f} times at 4,096)")
    behind_it_says(f"{ratio[65536]:.1f} and {ratio[131072]:.1f} times slower at 65,536 and 131,072")
    memory = {(row["spec"], row["length"]): row["peak_bytes"] for row in training["rows"]}
    more = fmean(memory["wavestack", length] / memory["transformer", length] - 1 for length in ratio)
    readme_says(f"WaveStack took {more:.0%} more memory")
    behind_it_says(f"WaveStack took {more:.0%} more memory")


def test_decoding_on_a_gpu(sweeps):
    decode = sweeps["decode"]
    slower = {row["length"]: (1 / row["ratio"], 1 / row["high"], 1 / row["low"]) for row in decode["ratios"]}
    near, far = (f"{value:.1f} ({low:.1f} to {high:.1f})" for value, low, high in slower.values())
    behind_it_says(f"by pairs of calls {near} and {far.replace(' (', ' times (')}")
    state = {row["spec"]: row["state_bytes"] for row in decode["rows"] if row["length"] == 131072}
    ours, theirs = state["wavestack"] / 2**20, state["transformer"] / 2**30
    readme_says(f"state after 131,072 tokens is {ours:.1f} MiB, the transformer's {theirs:.0f} GiB")


def test_a_second_round_of_training_steps_on_a_cpu():
    sweep = sweep_of("training-cpu-float32-tokens16384-round2")
    assert len(sweep["repeated"]) == 2 * 5
    assert all(repeated["inside"] for repeated in sweep["repeated"])
    readme_says("a second, at five lengths, lies inside of them")
    behind_it_says("all ten ratios to the transformers lie inside the first round's intervals")
    own, theirs = (
        [f"{found[key]:.2f}".replace("-0.00", "0.00").replace("-", "−") for key in ("value", "low", "high")]
        for spec in ("wavestack", "transformer-heads-64")
        for found in sweep["differences"]
        if (found["spec"], found["measure"], found["range"]) == (spec, "time", "all")
    )
    (fit,) = [fit for fit in sweep["fits"] if (fit["spec"], fit["measure"], fit["range"]) == ("wavestack", "time", "all")]
    behind_it_says(
        f"WaveStack's exponent is {interval(fit)} there, and differs from the first round's "
        f"over these lengths by {own[0]} ({own[1]} to {own[2]}), the transformer's by {theirs[0]} ({theirs[1]} to {theirs[2]})."
    )


def test_decoding_against_the_position_on_a_cpu():
    sweep = sweep_of("decode-cpu-float32-batch1")
    theirs = "transformer-heads-64"
    ratio = {(row["spec"], row["length"]): row for row in sweep["ratios"]}
    near, far = 1 / ratio[theirs, 128]["ratio"], ratio[theirs, 65536]
    (crossing,) = [found for found in sweep["crossovers"] if (found["against"], found["measure"]) == (theirs, "time")]
    at, low, high = (f"{round(crossing[key], -2):,.0f}" for key in ("length", "low", "high"))
    times = (
        f"there {far['ratio']:.1f} times as fast as the transformer's, here {near:.1f} times slower, and as fast at {at} ({low} to {high})"
    )
    readme_says(f"A token is decoded behind 65,536 others in the same time as behind 128: {times}")
    behind_it_says(
        f"WaveStack is {near:.1f} times slower at 128, as fast at {at} ({low} to {high}) and {far['ratio']:.1f} times as fast "
        f"({far['low']:.1f} to {far['high']:.1f}) at 65,536"
    )
    fits = {(fit["spec"], fit["range"]): fit for fit in sweep["fits"] if fit["measure"] == "time"}
    shown = (fits["wavestack", "all"], fits[theirs, "upper half"])
    own, other = ([f"{fit[key]:.2f}".replace("-", "−") for key in ("value", "low", "high")] for fit in shown)
    behind_it_says(
        f"(an exponent of {own[0]}, {own[1]} to {own[2]}); the transformer's time grows with {other[0]} ({other[1]} to {other[2]})"
    )
    state = {(row["spec"], row["length"]): row["state_bytes"] for row in sweep["rows"]}
    (everywhere,) = {size for (spec, _), size in state.items() if spec == "wavestack"}
    kept = f"{state[theirs, 128] / 2**20:.0f} MiB at 128 and {state[theirs, 65536] / 2**20:.0f} MiB at 65,536"
    share = f"{everywhere / state[theirs, 4096]:.1%} of it at 4,096"
    behind_it_says(f"Its state has {everywhere / 2**10:.0f} KiB everywhere, that of the transformer {kept}: {share}")
    linear = [row["ratio"] for (spec, _), row in ratio.items() if spec in ("gated-linear-attention", "state-space")]
    behind_it_says(f"take {min(linear):.1f} to {max(linear):.1f} times as long as WaveStack")


def test_training_steps_against_the_length_on_a_cpu():
    """Against the faster transformer, whose heads are 64 wide."""
    sweep = sweep_of("training-cpu-float32-tokens16384")
    ratio = {row["length"]: row["ratio"] for row in sweep["ratios"] if row["spec"] == "transformer-heads-64"}
    lengths = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
    assert tuple(ratio) == lengths
    times = ", ".join(f"{ratio[length]:.1f}" for length in lengths[:-1])
    readme_says(f"{times} and {ratio[16384]:.1f} times as fast as the transformer's over 128, 256, ... 8,192 and 16,384 of them")
    rows = {(row["spec"], row["length"]): row for row in sweep["rows"]}
    less = {
        count: [100 * (1 - rows["wavestack", length][count] / rows["transformer-heads-64", length][count]) for length in lengths]
        for count in ("peak_bytes", "accounted_bytes")
    }
    peak, tensors = less["peak_bytes"], less["accounted_bytes"]
    by_tensors = f"{min(tensors):.1f} to {max(tensors):.1f}% less by the sum of its tensors"
    readme_says(f"with {min(peak):.0f} to {max(peak):.0f}% less memory by the process's peak and {by_tensors}")
    names = ("transformer-heads-64", "transformer", "transformer-window", "gated-linear-attention", "state-space", "reference-149")
    ratios = {(row["length"], row["spec"]): f"{row['ratio']:.2f} ({row['low']:.2f} to {row['high']:.2f})" for row in sweep["ratios"]}
    for length in lengths:
        behind_it_says(f"| {length:,} | {' | '.join(ratios[length, name] for name in names)} |")
    exponents = {
        fit["spec"]: f"{fit['value']:.2f} ({fit['low']:.2f} to {fit['high']:.2f})"
        for fit in sweep["fits"]
        if (fit["measure"], fit["range"]) == ("time", "all")
    }
    behind_it_says(f"an exponent of {exponents['wavestack']} over all eight lengths, the transformer's with {exponents[names[0]]}.")
    (own,) = [
        f"{found['ratio']:.2f} times ({found['low']:.2f} to {found['high']:.2f})" for found in sweep["yardsticks"] if found["at"] == 1024
    ]
    behind_it_says(f"that of WaveStack at 1,024 took {own} as long as the yardstick, which is the same model")
    high, low = (f"{1 - less / 100:.2f}" for less in (min(peak), max(peak)))
    most, least = (f"{1 - less / 100:.3f}" for less in (min(tensors), max(tensors)))
    behind_it_says(f"by the process's high-water mark {low} to {high} times the transformer's, by the sum of tensors {least} to {most}")


def against(theirs: str, name: str) -> tuple[dict, dict, dict]:
    """Of a sweep on a CPU: times of calls side by side by length, rows by model and length, and exponents of time by model."""
    sweep = sweep_of(name)
    ratio = {row["length"]: row for row in sweep["ratios"] if (row["spec"], row["than"]) == (theirs, "wavestack")}
    fits = {fit["spec"]: fit for fit in sweep["fits"] if (fit["measure"], fit["range"]) == ("time", "all")}
    return ratio, {(row["spec"], row["length"]): row for row in sweep["rows"]}, fits


def test_training_steps_of_one_sequence_on_a_cpu():
    ratio, rows, _ = against("transformer-heads-64", "training-cpu-float32-batch1")
    *most, last = [interval(ratio[length]) for length in (1024, 2048, 4096, 8192, 16384)]
    behind_it_says(f"a training step takes the transformer {', '.join(most)} and {last} times as long over 1,024, 2,048, ... 16,384 tokens")
    (more, less), (peak_more, peak_less) = (
        [100 * (rows["wavestack", length][count] / rows["transformer-heads-64", length][count] - 1) for length in (1024, 16384)]
        for count in ("accounted_bytes", "peak_bytes")
    )
    tensors = f"takes {more:.0f}% more memory at 1,024 there, by the sum of tensors, and {-less:.1f}% less at 16,384"
    behind_it_says(f"{tensors} (by the process's peak {peak_more:.0f}% more and {-peak_less:.0f}% less)")


def test_forward_passes_on_a_cpu():
    ratio, _, fits = against("transformer-heads-64", "forward-cpu-float32-batch4")
    masked, _, _ = against("transformer-masked", "forward-cpu-float32-batch4")
    behind_it_says(
        f"the transformer takes {interval(ratio[128])} times as long at 128, {interval(ratio[1024])} at 1,024 and {interval(ratio[4096])} "
        f"at 4,096, and with the mask written out, as was published, {interval(masked[4096])}."
    )
    behind_it_says(
        f"Exponents of time are {interval(fits['wavestack'])} for WaveStack, {interval(fits['transformer-heads-64'])} for the transformer "
        f"and {interval(fits['transformer-masked'])} with that mask"
    )
    ours, theirs = (pair[4096]["ratio"] for pair in (ratio, masked))
    readme_says(
        f"forward passes at 4,096, as was published, done {ours:.1f} times as fast, or {theirs:.1f} times against the mask written out."
    )
    far, rows, _ = against("transformer-masked", "forward-cpu-float32-batch1")
    behind_it_says(f"takes {far[8192]['ratio']:.1f} times as long at 8,192 and {far[16384]['ratio']:.1f} at 16,384.")
    ours, theirs = rows["wavestack", 131072], rows["transformer-masked", 131072]
    assert (ours["status"], theirs["status"]) == ("ok", "out_of_memory")
    assert f"tried to allocate {4 * 131072**2} bytes" in theirs["reason"]
    behind_it_says(
        f"of {4 * 131072**2 / 1e9:.0f} GB, and is noted as out of memory; WaveStack's pass takes {ours['seconds_median']:.0f} seconds"
    )


def test_each_lane_alone_on_a_cpu():
    sweep = sweep_of("forward-cpu-float32-tokens16384")
    told = []
    for lane in ("chebyshev", "fourier", "wavelet", "lookup", "recall"):
        ratios = {row["length"]: row["ratio"] for row in sweep["ratios"] if row["spec"] == f"{lane}-alone"}
        told.append(f"{lane} {min(ratios.values()):.2f} to {max(ratios.values()):.2f}")
    behind_it_says(f"from {min(ratios):,} to {max(ratios):,} tokens in a sequence {', '.join(told)} times as long as the four together")


def test_a_second_round_of_forward_passes_on_a_cpu():
    """The process's peak of the same model is far from what it was; times are not."""
    first, again = (sweep_of(f"forward-cpu-float32-tokens16384{which}") for which in ("", "-round2"))
    taken = [
        {row["spec"]: row for row in sweep["rows"] if row["length"] == 16384 and row["spec"] in ("wavestack", "transformer-heads-64")}
        for sweep in (first, again)
    ]
    by_mark, then = (of["wavestack"]["peak_bytes"] / of["transformer-heads-64"]["peak_bytes"] for of in taken)
    tensors = taken[0]["wavestack"]["accounted_bytes"] / taken[0]["transformer-heads-64"]["accounted_bytes"]
    behind_it_says(f"{by_mark:.2f} times the transformer's by that mark in one process and {then:.2f} in another, {tensors:.2f} by tensors")
    repeated = [ratio for sweep in (again, sweep_of("forward-cpu-float32-batch4-round2")) for ratio in sweep["repeated"]]
    assert len(repeated) == 5
    assert all(ratio["inside"] for ratio in repeated)
    behind_it_says("all five ratios of forward passes that were measured twice")


def test_prompts_and_generation_on_a_cpu():
    ratio, rows, _ = against("transformer-heads-64", "prefill-cpu-float32-batch1")
    peak, tensors = (
        rows["transformer-heads-64", 16384][count] / rows["wavestack", 16384][count] for count in ("peak_bytes", "accounted_bytes")
    )
    behind_it_says(
        f"take the transformer {interval(ratio[128])} times as long at 128, {interval(ratio[1024])} at 1,024, {interval(ratio[4096])} at "
        f"4,096 and {interval(ratio[16384])} at 16,384, where it takes {peak:.1f} times the memory by the process's peak, and "
        f"{tensors:.1f} by the sum of tensors"
    )
    readme_says(f"Prompts are read {ratio[128]['ratio']:.1f} times as fast at 128 tokens and {ratio[16384]['ratio']:.1f} times at 16,384")
    generation, _, _ = against("transformer-heads-64", "generation-cpu-float32-batch1")
    assert tuple(generation) == (128, 256, 512)
    least, most = (pick(row["ratio"] for row in generation.values()) for pick in (min, max))
    behind_it_says(f"{least:.2f} to {most:.2f} times as long: WaveStack is {1 / most:.1f} to {1 / least:.1f} times slower")


def test_training_steps_of_a_block_on_a_cpu():
    rows = pandas.read_csv(REPORTS / "benchmarks/block.csv").dropna(subset="ratio").set_index("contender").ratio
    today, published = ([f"{value:.2f}" for value in rows[contender]] for contender in ("wavestack", "wavestack-published-lanes"))
    behind_it_says(f"{', '.join(today[:3])} and {today[3]} times as fast as the transformer's over 256, 2,048, 4,096 and 8,192 tokens")
    behind_it_says(f"with the three published lanes it is {', '.join(published[:3])} and {published[3]} times as fast")
    memory = pandas.read_csv(REPORTS / "benchmarks/memory.csv").query("case == 'resident memory'").set_index("contender")
    ratio = memory["median"]["wavestack"] / memory["median"]["transformer"]
    behind_it_says(f"Memory of a step at {memory.length['wavestack']:,} is {ratio:.2f} times the transformer's")


def test_the_published_comparison_at_its_own_size():
    ladder = {row["mended"]: row for row in study("audit", "gpu")["rows"] if row["kind"] == "cumulative"}
    first, equal = ladder["as published"], ladder["parameters"]
    ours, theirs, mended = first["published_ours"], first["published_theirs"], equal["published_theirs"]
    readme_says(f"the transformer's loss is reproduced ({theirs:.2f}), WaveStack's is not ({ours:.2f}, published 0.73)")
    readme_says(
        f"it has {first['our_parameters'] / 1e6:.0f} million parameters there, and the transformer {first['their_parameters'] / 1e6:.0f}"
    )
    readme_says(f"With as many the transformer has {mended:.2f}")
    nats = f"{first['nats_ours']:.2f}, {first['nats_theirs']:.2f}, {equal['nats_theirs']:.2f}"
    behind_it_says(f"In nats a token: {nats}.")


def test_the_audit_row_by_row():
    """What changed nothing shares a row, or has none."""
    rungs = [row for row in study("audit")["rows"] if row["kind"] == "cumulative"]
    by_name = {row["mended"]: row for row in rungs}
    scoring = ("loss-unit", "padding-scored", "first-batches")
    assert all(abs(by_name[name]["change_gap"]) < 1e-3 for name in (*scoring, "stretched-bases"))
    section = Path("reports/README.md").read_text(encoding="utf-8").partition("## The published comparison, mended")[2]
    _, _, *table = (line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|"))
    shown = [row for row in rungs if row["mended"] not in (*scoring[1:], "stretched-bases")]
    for line, row in zip(table, shown, strict=True):
        numbers = [f"{row['nats_ours']:.3f}", f"{row['nats_theirs']:.3f}", _with_ends(row, "nats")]
        told = "none" if row["mended"] in scoring else "" if row["change_gap"] is None else _with_ends(row, "change")
        assert [cell.strip() for cell in line.split("|")[2:6]] == [*numbers, told]


def _with_ends(row, unit: str) -> str:
    gap, low, high = (f"{row[f'{unit}_{which}']:+.3f}" for which in ("gap", "low", "high"))
    return f"{gap} ({low} to {high})"


def test_what_the_audit_says():
    rows = {(row["kind"], row["mended"]): row for row in study("audit")["rows"]}
    first, equal, rows_full, modern, stacked, last = (
        rows["cumulative", name] for name in ("as published", "parameters", "rows", "weak-baseline", "one-block", "lanes")
    )
    readme_says(f"{first['nats_ours']:.2f} against {first['nats_theirs']:.2f} nats a token, with 665,000 against 387,000 parameters")
    assert [first[f"{whose}_parameters"] // 1000 for whose in ("our", "their")] == [665, 387]
    readme_says(
        f"with as many by {-equal['nats_gap']:.2f}, and both trained as is usual today on all stories by {-rows_full['nats_gap']:.2f}"
    )
    readme_says(f"ahead of it by {modern['nats_gap']:.2f} ({modern['nats_low']:.2f} to {modern['nats_high']:.2f})")
    readme_says(f"ahead by {-stacked['nats_gap']:.2f} ({-stacked['nats_high']:.2f} to {-stacked['nats_low']:.2f})")
    readme_says(f"today's lanes by {-last['nats_gap']:.2f}")
    behind_it_says(f"in the published unit as well: {first['published_ours']:.2f} against {first['published_theirs']:.2f}")
    assert all(gap < 0 for gap in (*first["nats_gaps"], *first["published_gaps"]))
    assert equal["change_gap"] / -first["nats_gap"] == pytest.approx(1 / 3, abs=0.01)
    assert [modern[f"{whose}_non_embedding_parameters"] // 1000 for whose in ("their", "our")] == [468, 272]  # 468,832
    for name, words in (("optimiser", "closes the gap by {:.3f}, and after others opens it by {:.3f}"),
                        ("few-documents", "alone open it by {:.3f}, and after others close it by {:.3f}")):  # fmt: skip
        alone, after = rows["alone", name]["change_gap"], rows["cumulative", name]["change_gap"]
        assert alone * after < 0
        behind_it_says(words.format(abs(alone), abs(after)))
