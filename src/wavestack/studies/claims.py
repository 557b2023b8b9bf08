"""The published claims for WaveStack, and for each how a profile's results bear on it.

Texts and figures are those of the write-up "WaveStack LLM model - Initial Findings" (December 2025 to January 2026). A published "loss" is
0.7 times the cross-entropy, of few batches, with padding unless it is said otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf, log
from typing import Any

from wavestack import registry
from wavestack.params import ModelSpec
from wavestack.schema import Sweep
from wavestack.studies.calibration import uncalibrated
from wavestack.studies.evidence import Evidence, Results, Verdict, audited, compared, judged, not_measured
from wavestack.studies.growth import POINTS, exponent
from wavestack.studies.lengths import PEAKS, byte_ratios, in_yardsticks, times

LINEAR = 1.03  # an exponent of up to this is called linear
FROM, UP_TO = 512, 4096  # tokens, the shortest and the longest sequence of the claims


@dataclass(frozen=True)
class Claim:
    """A published claim.

    Its deciding evidence falls into cases. A case is supported where all of its evidence supports the claim, and refuted where any of it
    refutes the claim; the claim is, where all of its cases support it or any one refutes it (`any_of`: the other way round).
    """

    id: str
    text: str
    published: str  # the figures that it was made with
    evidence: Callable[[Results], list[Evidence]]
    needs: str  # what would decide it, for a profile that has no such thing
    any_of: bool = False


def _stacks(results: Results) -> list[str]:
    """The comparison's specs of lanes without attention; the first one is ours."""
    specs = results.parameters.specs
    return [name for name in results.parameters.profile.studies.comparison.specs if specs[name].lanes and not _attends(specs[name])]


def _transformers(results: Results) -> list[str]:
    specs = results.parameters.specs
    return [name for name in results.parameters.profile.studies.comparison.specs if specs[name].model == "transformer"]


def _hybrids(results: Results) -> list[str]:
    specs = results.parameters.specs
    return [name for name in results.parameters.profile.studies.comparison.specs if _attends(specs[name])]


def _attends(spec: ModelSpec) -> bool:
    """Whether a model of lanes has attention over the sequence, as a lane or in its mixer."""
    return registry.LANES["attention"] in _lanes(spec) or spec.knobs.get("mixer") == "sequence"


def _lanes(spec: ModelSpec) -> list[str]:
    """The class of each lane, as `module:Class`, whatever it is called."""
    lanes: Mapping[str, Mapping[str, Any]] = spec.knobs.get("lanes", {})
    return [registry.lane_entry(name, knobs) for name, knobs in lanes.items()]


def _attends_to_all(spec: ModelSpec) -> bool:
    """A baseline of claims about lengths, however wide its heads, with a short convolution or without."""
    return spec.model == "transformer" and spec.knobs["window"] is None and not spec.knobs["explicit_mask"]


def _against_transformers(results: Results, corpora: Sequence[str], limit: float) -> list[Evidence]:
    """Every transformer of the comparison decides, one with a short convolution as well: the claim has to hold against each."""
    found = audited(results, corpora, limit)
    for theirs in _transformers(results):
        found += compared(results, corpora, _stacks(results)[0], theirs, limit, decides=True) if _stacks(results) else []
    return found


def _tinystories(results: Results) -> list[Evidence]:
    return _against_transformers(results, results.corpora("tinystories"), 0)


def _wikitext(results: Results) -> list[Evidence]:
    return _against_transformers(results, results.corpora("wikitext-2"), 10)


Times = Mapping[str, Mapping[int, float]]  # of a sequence, of a model at a length, in any unit


def _linear(results: Results) -> list[Evidence]:
    """The claim was made with forward passes; training steps, which have a backward pass over the sequence, decide as well.

    Of the published lengths alone: what does not depend on the length, the launch of a kernel or an optimiser's state say, counts for more
    in short sequences, and would hide a term that is quadratic.
    """
    found = []
    block = results.benchmark("block", "contender", "length", "median")
    if block:
        what = "training step of one block, benchmarks/block.py"
        of_block = {
            contender: {row["length"]: row["length"] * row["median"] for row in block if row["contender"] == contender}
            for contender in ("wavestack", "transformer")
        }
        found.append(_growth(of_block, None, what, "../benchmarks/block.csv", decides=False))
    for ours, theirs, sweep in _sweeps(results):
        if sweep["mode"] in ("training", "forward"):
            of_sweep = {spec: times(sweep["rows"], spec, in_yardsticks(sweep["rows"])) for spec in (ours, theirs)}
            what = f"{sweep['name']}, whole models, {sweep['threads']} threads"
            found.append(_growth(of_sweep, _apart(sweep["ratios"], ours, theirs), what, "studies/lengths.json", decides=True))
            found += [grown for grown in _grown_memory(sweep, ours) if grown not in found]  # a sweep comes with every baseline again

    def decides(sweep: Sweep, length: int) -> bool:
        return sweep.mode in ("training", "forward") and FROM <= length <= UP_TO

    return [*found, *_not_measured(results, "exponent of time", decides)]


def _grown_memory(sweep: Mapping[str, Any], ours: str) -> list[Evidence]:
    """The exponent of a sequence's memory above the loaded model; its interval spans the ways in which bytes were counted."""
    rows = [row for row in sweep["rows"] if row["spec"] == ours and row["status"] == "ok" and FROM <= row["length"] <= UP_TO]
    ways = PEAKS if sweep["device"] == "cpu" else PEAKS[:1]  # a GPU's allocator counts all
    counted = [exponent({row["length"]: row[way] / row["batch"] for row in rows if row.get(way)}) for way in ways]
    known = [found for found in counted if found is not None]
    protocol = f"{sweep['name']}, peak above the loaded model by all counts: {ours}"
    measure, file = "exponent of memory", "studies/lengths.json"
    if len(known) < len(ways):
        few = f"memory of fewer than {POINTS} lengths from {FROM} to {UP_TO:,} is known in each way"
        return [Evidence(protocol, measure, None, None, None, "undecided", few, file, True)]
    low, high = min(found.low for found in known), max(found.high for found in known)
    verdict, reason = judged(low, high, LINEAR, None)
    protocol += f", {known[0].lengths[0]:,} to {known[0].lengths[-1]:,} tokens"
    return [Evidence(protocol, measure, known[0].value, low, high, verdict, reason, file, True)]


def _sweeps(results: Results) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Our model, a transformer, and a sweep of the length study that measured both, one after another.

    The claim has to hold against every baseline. A later round, held against the first one, is no evidence of its own.
    """
    content = results.study("lengths")
    for ours in _stacks(results)[:1]:
        for sweep in (sweep for sweep in content["sweeps"] if sweep["name"] == sweep["first_round"]) if content else []:
            measured = dict.fromkeys(row["spec"] for row in sweep["rows"])
            for theirs in (name for name in measured if ours in measured and _attends_to_all(results.parameters.specs[name])):
                yield ours, theirs, {**sweep, "threads": content["threads"]}


def _not_measured(results: Results, measure: str, decides: Callable[[Sweep, int], bool]) -> list[Evidence]:
    """What is lacking of the sweeps of a study that was begun.

    Args:
        decides: whether a sweep decides at a length.
    """
    study, content = results.parameters.profile.studies.lengths, results.study("lengths")
    if study is None or content is None:
        return []
    known = {sweep["name"]: {row["length"] for row in sweep["rows"]} for sweep in content["sweeps"]}
    found = []
    for sweep in (sweep for sweep in study.sweeps if sweep.round == 1):
        specs = sweep.specs or study.specs
        both = set(_stacks(results)[:1]) & set(specs) and any(_attends_to_all(results.parameters.specs[spec]) for spec in specs)
        lacking = [length for length in sweep.lengths if both and decides(sweep, length) and length not in known.get(sweep.name, ())]
        if lacking:
            protocol = f"{sweep.name}, {', '.join(f'{length:,}' for length in lacking)} tokens"
            found.append(not_measured(protocol, measure, "studies/lengths.json", decides=True))
    return found


def _apart(ratios: Iterable[Mapping[str, Any]], ours: str, theirs: str) -> float | None:
    """By how much their time grows faster than ours at least, as an exponent: from calls side by side at both ends of the range.

    A straight line through a curve that bends upwards has an interval as wide as the bend, and would call it chance.
    """
    ends = {
        ratio["length"]: (ratio["low"], ratio["high"])
        for ratio in ratios
        if (ratio["spec"], ratio["than"]) == (theirs, ours) and FROM <= ratio["length"] <= UP_TO and ratio["low"] is not None
    }
    if len(ends) < POINTS:
        return None
    first, last = min(ends), max(ends)
    return log(ends[last][0] / ends[first][1]) / log(last / first)


def _growth(times: Times, apart: float | None, what: str, file: str, decides: bool) -> Evidence:
    """The exponent of our time, and theirs in words; 1 is linear.

    Args:
        times: ours, then theirs.
        apart: by how much theirs is greater at least, where calls were side by side.
    """
    ours, theirs = times
    own, their = (exponent({length: took for length, took in times[spec].items() if FROM <= length <= UP_TO}) for spec in (ours, theirs))
    protocol = f"{what}: {ours}"
    if own is None or their is None:
        few = f"fewer than {POINTS} lengths from {FROM} to {UP_TO:,} were measured"
        return Evidence(protocol, "exponent of time", None, None, None, "undecided", few, file, decides)
    protocol += f", {own.lengths[0]:,} to {own.lengths[-1]:,} tokens; {theirs} has {their.value:.2f} ({their.low:.2f} to {their.high:.2f})"
    super_linear = max(their.low, -inf if apart is None else own.low + apart) > LINEAR
    verdict: Verdict = "undecided"
    unclear = [ours] * (own.low <= LINEAR < own.high) + [theirs] * (their.low <= LINEAR < their.high and not super_linear)
    reason: str | None = f"up to {LINEAR} is called linear, and the interval of {' and of '.join(unclear)} lies on both sides"
    if own.low > LINEAR:
        verdict, reason = "refuted", None
    elif their.high <= LINEAR and not super_linear:
        verdict, reason = "refuted", f"that of {theirs} is linear, too"
    elif own.high <= LINEAR and super_linear:
        verdict, reason = "supported", None
    return Evidence(protocol, "exponent of time", own.value, own.low, own.high, verdict, reason, file, decides)


def _every_lane(results: Results) -> list[Evidence]:
    """A lane contributes where its Shapley value says so, and does not merely repeat others where something is lost without it.

    Two lanes that do the same have a Shapley value each. What pairs interact is shown and decides nothing: lanes that repeat one another a
    little may both contribute.
    """
    study, content = results.parameters.profile.studies.ablation, results.study("ablation")
    if study is None or content is None:
        return _knocked_out(results)
    of, lanes_of_it = study.spec, results.parameters.specs[study.spec].lanes
    asked = [lane for lane in lanes_of_it if lane in (study.lanes or lanes_of_it)]
    part = None if asked == list(lanes_of_it) else f"the grid is of {len(asked)} of the model's {len(lanes_of_it)} lanes"
    uncertain = uncalibrated(results.parameters, results.reports) or part
    found = []
    for worth in content.get("worths", []):
        lanes = f"{' with '.join(worth['lanes'])} in {of}"
        protocol = {
            "lane": f"{lanes}, joining in a random order, all subsets trained at equal parameters (Shapley value)",
            "removal": f"{lanes}, joining all others, with and without it trained at equal parameters",
            "pair": f"{lanes}, beyond either (interaction; above zero they repeat one another)",
        }[worth["of"]]
        value, low, high = (None if worth[key] is None else -worth[key] for key in ("nats_per_token", "high", "low"))
        verdict, reason = judged(low, high, 0, worth["reason"] or uncertain)
        decides = worth["of"] != "pair"
        measures = ("nats a token with it", value, low, high)
        found.append(Evidence(f"{worth['corpus']}: {protocol}", *measures, verdict, reason, "studies/ablation.json", decides))
    return [*found, *_knocked_out(results)]


def _knocked_out(results: Results) -> list[Evidence]:
    """A trained model relies on its lanes, which does not say what a model without one could have learned."""
    content = results.study("complementarity")
    if content is None:
        return []
    uncertain = uncalibrated(results.parameters, results.reports)
    found = []
    for entry in content["knockouts"]:
        value, low, high = (None if entry[key] is None else -entry[key] for key in ("nats_per_token", "high", "low"))
        verdict, reason = judged(low, high, 0, entry["reason"] or uncertain)
        protocol = f"{entry['corpus']}: {entry['lane']}, silenced in trained models"
        found.append(Evidence(protocol, "nats a token with it", value, low, high, verdict, reason, "studies/complementarity.json", False))
    return found


IMPLICIT = {registry.LANES["random"], registry.LANES["learned"]}  # lanes over a basis that no mathematics chose


def _explicit(results: Results) -> list[Evidence]:
    """Lanes over bases of mathematics against the same lanes over other bases, at every number of training tokens.

    Bases of the constant alone decide as well: where they do as well as polynomials and cosines, it is the mean that helps.

    All must be better, so that each is held to 95% by itself: the claim is not called true wrongly unless its weakest part is (an
    intersection-union test: Berger 1982, Technometrics 24, 295). Any that is worse refutes it, and one of many may seem to be worse by
    chance, so that for this they are a family.
    """
    study, content = results.parameters.profile.studies.sizes, results.study("sizes")
    if study is None or content is None:
        return []
    specs = results.parameters.specs
    ours, *others = study.specs
    same = [name for name in others if specs[ours].lanes and specs[name].lanes == specs[ours].lanes]
    held_against = IMPLICIT.intersection(lane for name in same for lane in _lanes(specs[name]))
    if not held_against or IMPLICIT & set(_lanes(specs[ours])):
        return []
    found, lacking = [], set(product(study.corpora, same, study.budgets, study.tokens))
    for entry in (entry for entry in content["equal_size"] if entry["against"] in same):
        lacking.discard((entry["corpus"], entry["against"], entry["budget"], entry["tokens"]))
        missing = entry["reason"] if entry["verdict"] == "undecided" else None
        values = (entry["perplexity_percent"], entry["low_percent_alone"], entry["high_percent_alone"])
        verdict, reason = judged(*values[1:], 0, missing)
        if verdict == "refuted" and entry["verdict"] != "worse":
            verdict, reason = "undecided", "worse by itself, and not in the family of all"
        protocol = f"{entry['corpus']}: {ours} against {entry['against']}, {entry['budget']}, {entry['tokens']:,} training tokens"
        found.append(Evidence(protocol, "% of perplexity", *values, verdict, reason, "studies/sizes.json", held_against == IMPLICIT))
    for corpus, theirs, budget, tokens in sorted(lacking):
        what = f"{corpus}: {ours} against {theirs}, {budget}, {tokens:,} training tokens"
        found.append(not_measured(what, "% of perplexity", "studies/sizes.json", held_against == IMPLICIT))
    return found


def _compose(results: Results) -> list[Evidence]:
    """A lane that joins a trained model and is taken out again must change no logit, which is a matter of bits and refutes.

    That a lane trained alone lowers the loss, or does not, is of one model and one seed, and decides nothing.

    Raises:
        ValueError: a file is not of the benchmark's four points.
    """
    found = []
    for path in sorted((results.benchmarks / "composition").glob("*.csv")):
        points = results.benchmark(f"composition/{path.stem}", "point", "nats", "logits_changed")
        if len(points) != 4:
            raise ValueError(f"{path} has {len(points)} rows instead of 4; delete it, and run benchmarks/composition.py again")
        before, added, trained, removed = points
        exact = added["logits_changed"] == removed["logits_changed"] == 0
        gain = trained["nats"] - before["nats"]
        told = "bit-equal logits when it joins and after it left" if exact else "logits changed though nothing was trained"
        protocol = f"{path.stem}: {trained['point']}, all else frozen; {told}"
        verdict: Verdict = "undecided" if exact else "refuted"
        reason = "one trained model and one seed" if verdict == "undecided" else None
        file = f"../benchmarks/composition/{path.name}"
        found.append(Evidence(protocol, "nats a token with the lane", gain, None, None, verdict, reason, file, True))
    return found


def _attention(results: Results) -> list[Evidence]:
    """A hybrid is the best where it is better than the stack of lanes alone and than the transformers; it takes both kinds."""
    corpora = list(results.parameters.profile.studies.comparison.corpora)
    stacks, transformers = _stacks(results)[:1], _transformers(results)
    decides = bool(stacks and transformers)
    found = []
    for hybrid in _hybrids(results):
        for theirs in (*stacks, *transformers):
            found += [replace(evidence, case=hybrid) for evidence in compared(results, corpora, hybrid, theirs, 0, decides)]
    return found


def _memory(results: Results) -> list[Evidence]:
    """The profile's own sweeps decide; a benchmark, of one block and of the models of the day that it was run, stands beside them."""
    found = []
    wanted = (
        ("memory", "resident memory", "wavestack", "transformer", "training step above the loaded model, fused attention"),
        ("decoding", "wavestack, state", "position 65,536", "position 65,536", "state to go on from token 65,536"),
    )
    for name, case, ours, theirs, what in wanted:
        rows = results.benchmark(name, "case", "contender", "length", "median", "low", "high")
        own = next((row for row in rows if (row["case"], row["contender"]) == (case, ours)), None)
        other = next((row for row in rows if (row["case"], row["contender"]) == (case.replace("wavestack", "transformer"), theirs)), None)
        if own is None or other is None:
            continue
        value, low, high = (own[mine] / other[yours] for mine, yours in (("median", "median"), ("low", "high"), ("high", "low")))
        verdict, reason = judged(low, high, 1, None)
        protocol = f"{what}, {int(own['length']):,} tokens, wavestack over the transformer, benchmarks/{name}.py"
        found.append(Evidence(protocol, "ratio of bytes", value, low, high, verdict, reason, f"../benchmarks/{name}.csv", False))
    return [*found, *_swept(results)]


def _swept(results: Results) -> list[Evidence]:
    """At the longest sequence that both models could do, if it is as long as the claim's.

    The interval spans the ways in which bytes were counted, and the rounds. A GPU's allocator counts all, and a state has only its own
    bytes; a CPU's process has a high-water mark that another one of the same model may miss by a tenth, so that it takes two ways that
    agree, and two processes or more.
    """
    content, found = results.study("lengths"), []
    for ours, theirs, sweep in _sweeps(results):
        later = [each for each in content["sweeps"] if each["first_round"] == sweep["name"] != each["name"]]
        rounds = [_bytes(each, ours, theirs) for each in (sweep, *later)]
        length = max(rounds[0], default=0)
        if length < UP_TO:
            continue
        counted = [of_round[length] for of_round in rounds if length in of_round]
        ratios = [ratio for of_round, _ in counted for ratio in of_round]
        what = "state behind the tokens" if sweep["mode"] == "decode" else "peak above the loaded model by all counts"
        protocol = f"{sweep['name']}, {what}, {length:,} tokens, {ours} over {theirs}"
        verdict, reason = judged(min(ratios), max(ratios), 1, _doubt(sweep, counted))
        measures = ("ratio of bytes", ratios[0], min(ratios), max(ratios))
        found.append(Evidence(protocol, *measures, verdict, reason, "studies/lengths.json", True))
    return [*found, *_not_measured(results, "ratio of bytes", lambda sweep, length: length >= UP_TO)]


def _doubt(sweep: Mapping[str, Any], counted: Sequence[tuple[Sequence[float], int]]) -> str | None:
    """Why memory decides nothing yet; None where it does.

    Args:
        counted: of each round the ratios and the number of processes.
    """
    if sweep["device"] != "cpu" or sweep["mode"] == "decode":
        return None
    if any(len(ratios) < 2 for ratios, _ in counted):
        return "memory was counted in one way alone"
    return "memory is of one process alone" if sum(processes for _, processes in counted) < 2 else None


def _bytes(sweep: Mapping[str, Any], ours: str, theirs: str) -> dict[int, tuple[list[float], int]]:
    """By length what our model takes over what theirs does, in each way that was counted, and the number of processes."""
    rows = {(row["spec"], row["length"]): row for row in sweep["rows"] if row["status"] == "ok"}
    both = {length: (row, rows[theirs, length]) for (spec, length), row in rows.items() if spec == ours and (theirs, length) in rows}
    return {
        length: (ratios, min(len(row.get("peak_bytes_by_process") or ()) for row in pair))
        for length, pair in both.items()
        if (ratios := byte_ratios(*pair, sweep["mode"]))
    }


CLAIMS = (
    Claim(
        "tinystories-beats-transformer",
        "WaveStack outperforms a PyTorch transformer on TinyStories with the same number of parameters.",
        "0.728 to 0.730 against 1.048, with 42.3 against 23.8 million parameters",
        _tinystories,
        "a comparison of a stack of lanes with the transformer on TinyStories",
    ),
    Claim(
        "wikitext2-within-10-percent",
        "On WikiText-2 WaveStack is within 10% of the transformer.",
        "0.704 to 0.705 against 0.632 after 3,000 steps",
        _wikitext,
        "a comparison of a stack of lanes with the transformer on WikiText-2",
    ),
    Claim(
        "linear-in-sequence-length",
        "Time and memory of WaveStack grow linearly with the sequence length up to 4,096, the transformer's time super-linearly.",
        "exponents of time of 1.00 and 1.48, 998 to 6,762 MB, 512 to 4,096 tokens, forward only",
        _linear,
        "a length profile of both models",
    ),
    Claim(
        "every-lane-contributes",
        "All lanes contribute to the result and do not merely repeat one another.",
        "0.742 to 0.745 with all three lanes, 0.747 to 0.825 without one of them",
        _every_lane,
        "an ablation of all subsets of all lanes",
    ),
    Claim(
        "explicit-is-more-efficient",
        "Stating mathematics explicitly is more efficient than learning everything implicitly.",
        "a hypothesis, not measured",
        _explicit,
        "a study of sizes whose specs have the same lanes over bases of mathematics, and over random and over learned ones",
    ),
    Claim(
        "lanes-compose-at-run-time",
        "Lanes can be added or removed at run time, so the base model need not be fine-tuned.",
        "a hypothesis, not measured",
        _compose,
        "benchmarks/composition.py on a trained checkpoint",
    ),
    Claim(
        "attention-helps",
        "Attention as an additional lane, or in the mixer, may give the best model.",
        "a hypothesis, not measured",
        _attention,
        "a comparison of specs that have attention as a lane or in the mixer with a stack that has none, and with a transformer",
        any_of=True,
    ),
    Claim(
        "memory-efficient-for-long-context",
        "WaveStack is more memory-efficient than transformers for large contexts.",
        "6,762 against 6,966 MB at 4,096 tokens, forward only",
        _memory,
        f"a length profile of both models with {UP_TO:,} tokens or more",
    ),
)
