"""The verdicts on the published claims, in the README's table, against the findings."""

from pathlib import Path

from tests.readme.pages import CONVOLUTION, CPU, REPORTS, STORIES, WIKIPEDIA, interval, readme_says, study, sweep_of
from wavestack.artifacts import read_json
from wavestack.studies.growth import exponent

CLAIMS = {  # rows of the README's table, in order, and the profile whose findings decide
    "tinystories-beats-transformer": "findings-cpu",
    "wikitext2-within-10-percent": "findings-cpu",
    "linear-in-sequence-length": "findings-cpu",
    "every-lane-contributes": "findings-cpu",
    "explicit-is-more-efficient": "controls-cpu",
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
    readme_says(f"are {interval(grows)} against {theirs} in training steps of 16,384 tokens")
    found = {finding["id"]: finding["evidence"] for finding in read_json(CPU / "findings.json")["findings"]}
    of_four, of_tokens, of_one = (
        f"{interval(each)} against {each['protocol'].partition('transformer-heads-64 has ')[2]}"
        for name in ("forward-cpu-float32-batch4", "forward-cpu-float32-tokens16384", "training-cpu-float32-batch1")
        for each in found["linear-in-sequence-length"]
        if each["protocol"].startswith(name) and " transformer-heads-64" in each["protocol"]
    )
    readme_says(f"in forward passes {of_four} for four sequences and {of_tokens} for 16,384 tokens")
    decide = [(each["measure"], each["protocol"], each["verdict"]) for each in found["linear-in-sequence-length"] if each["decides"]]
    assert {
        protocol.partition(", ")[0] for measure, protocol, verdict in decide if (measure, verdict) == ("exponent of time", "supported")
    } == {"training-cpu-float32-batch1"}
    assert [verdict for measure, _, verdict in decide if measure == "exponent of time"].count("undecided") == 3
    assert {verdict for measure, _, verdict in decide if measure == "exponent of memory"} == {"supported"}
    assert all("512 to 4,096 tokens" in protocol for _, protocol, _ in decide)
    of_memory = {
        each["protocol"].partition(",")[0]: interval(each)
        for each in found["linear-in-sequence-length"]
        if each["measure"] == "exponent of memory"
    }
    names = ("training-cpu-float32-tokens16384", "forward-cpu-float32-batch4", "forward-cpu-float32-tokens16384")
    steps, four, passes = (of_memory[name] for name in names)
    readme_says(f"Exponents of memory are {steps}, {four}, {passes} and {of_memory['training-cpu-float32-batch1']}.")
    readme_says(f"Training steps of one sequence support it, with {of_one}.")
    for name in of_memory:
        rows = [row for row in sweep_of(name)["rows"] if row["spec"] == "transformer-heads-64" and 512 <= row["length"] <= 4096]
        theirs = [exponent({row["length"]: row[way] / row["batch"] for row in rows}) for way in ("peak_bytes", "accounted_bytes")]
        assert all(grown.high < 1.01 for grown in theirs)
    readme_says("undecided: its memory does, and so does that of a transformer with fused attention.")
    (sweep,) = [sweep for sweep in study("lengths", "gpu")["sweeps"] if sweep["mode"] == "training"]
    (fit,) = [fit for fit in sweep["fits"] if (fit["spec"], fit["measure"], fit["range"]) == ("wavestack", "time", "all")]
    readme_says(f"On a GPU time has {interval(fit)} from 1,024 to 131,072, with two lengths up to 4,096")
    memory = {
        each["protocol"].partition(",")[0]: each
        for each in found["memory-efficient-for-long-context"]
        if " transformer-heads-64" in each["protocol"]
    }
    assert not any(each["reason"] == "memory is of one process alone" for each in memory.values())
    steps = [memory[name] for name in ("training-cpu-float32-tokens16384", "training-cpu-float32-batch1")]  # 16,384 tokens are one sequence
    least, most = min(each["low"] for each in steps), max(each["high"] for each in steps)
    prompts, forward = memory["prefill-cpu-float32-batch1"], memory["forward-cpu-float32-tokens16384"]
    readme_says(
        f"a training step of 16,384 tokens takes {least:.3f} to {most:.3f} times the transformer's, "
        f"a prompt of as many {prompts['low']:.3f} to {prompts['high']:.3f} times, "
        f"and a forward pass of as many {forward['low']:.3f} to {forward['high']:.3f} times"
    )
    (published,) = [each for each in found["tinystories-beats-transformer"] if each["verdict"] == "refuted"]
    low, high = published["low"], published["high"]
    readme_says(f"whose perplexity is {published['value']:.1f}% higher ({low:.1f} to {high:.1f}) than a modern transformer's")
    readme_says(f"supported, when small: WaveStack's is lower, by {lower[WIKIPEDIA, CONVOLUTION]} and {lower[WIKIPEDIA, 'transformer']}")
