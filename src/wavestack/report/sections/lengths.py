"""Sequence length: time and memory of each mode, how they grow, and where one model overtakes another."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from markupsafe import Markup

from wavestack.report.length_figure import Curve, Measure, figure
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import MISSING, Column, Content, Row, Table, count, failure, number, share
from wavestack.schema import Sweep
from wavestack.studies.claims import UP_TO
from wavestack.studies.lengths import byte_ratios, in_yardsticks

MODES = {
    "training": "a training step (forward, backward, optimiser)",
    "forward": "a forward pass, with the logits of all positions",
    "prefill": "a prompt: the state after it, and the logits that follow",
    "decode": "a token decoded behind a past of the length",
    "generation": "a text of the length, token by token from a single one",
}
AGREE = 0.15  # how far two ways to measure memory may be apart
OTHER = 0.1  # cores of other work, from which on it is told
IN_THE_MIDDLE = (
    " Figures have the times of a machine that is as fast in every job as in the middle one, by the first model's time at one length, "
    "which each job took; the table has seconds as they were."
)


def section(context: Context) -> Section:
    study, content = context.study("lengths")
    found = {sweep["name"]: sweep for sweep in content["sweeps"]} if content else {}
    blocks = []
    for sweep in study.sweeps if study and content else []:
        first = found.get(sweep.first_round)
        blocks += _blocks(context, sweep, sweep.specs or study.specs, found.get(sweep.name), first, content["threads"])
    steps = ["studies/lengths", *context.parameters.lengths_points()] if study else []
    made = context.section("lengths", "Sequence length", content, ["studies/lengths.json", "profile/"], steps, blocks)
    return asked_for(made, study)


def _blocks(
    context: Context, sweep: Sweep, specs: Sequence[str], content: Content | None, first: Content | None, threads: int
) -> list[Block]:
    load = f"{sweep.tokens:,} tokens a batch" if sweep.tokens else f"{count(sweep.batch or 0, 'sequence')} a batch"
    load += f", round {sweep.round}" if sweep.round > 1 else ""
    where = f"{sweep.device}, {sweep.precision}{', compiled' if sweep.compile else ''}"
    title = f"{sweep.mode}, {where}, {load}"
    measured = {row["length"] for row in content["rows"]} if content is not None else set()
    waiting = ", ".join(f"{length:,}" for length in sorted(set(sweep.lengths) - measured))
    if content is None:
        return [Block(f"Not measured yet: {MODES[sweep.mode]}, at {waiting} tokens.", title=title)]
    alone = sweep.device == "cuda"  # where models that wait would keep memory
    decoded, yardsticks = sweep.mode == "decode", in_yardsticks(content["rows"])
    twice = not alone and not decoded  # the memory is counted
    caption = (
        f"Time and {'state' if decoded else 'memory'} of {MODES[sweep.mode]}; {load}, {where}, {count(threads, 'thread')}. Fresh "
        f"processes, models {'one after another' if alone else 'taking turns'}; medians over all timed calls, whiskers are quartiles"
        f"{'' if decoded else '; peak memory is above that of the loaded model'}"
        f"{', of a process of its own, which gives back at once what it frees' if twice else ''}"
        ". Beside them stands how many times the first model's they "
        "are at this length: times with 95% intervals"
        f"{', memory by the process’s high-water mark and by the sum of its tensors' if twice else ''}. Both axes are logarithmic; lines "
        "are the curves that describe growth better (below), or power laws where lengths are too few to tell; a dotted line is where the "
        "first model overtakes the one of its colour, a cross is a measurement that "
        f"failed.{IN_THE_MIDDLE if yardsticks else ''}{f' Not measured yet: {waiting} tokens.' if waiting else ''}"
    )
    wanted = [(spec, length) for spec in specs for length in sweep.lengths if length in measured]
    growth = (
        "How they grow: exponents of a power law with 95% intervals (1 is linear; of decoding, 0 is flat), over all lengths, over their "
        "upper half, and over those from 1,024 tokens on; which curve fits better, a straight line or one with a quadratic term, by how "
        "much of Akaike's criterion (a straight line by 9.3 at most, of eight lengths), and how much of the curve the quadratic term is "
        "at the greatest length; where the first model overtakes, in brackets by the ends of the ratios' intervals"
        f"{', or by the two ways to count memory' if twice else ''}; and the ratio of times to the first model's, "
        f"from calls {'of processes one after another' if alone else 'side by side'}."
    )
    blocks = [Block(caption, table(content, wanted), _figures(context, sweep, content), title)]
    if content.get("yardsticks"):
        own = (
            f"The first model's calls at each length against its own at {content['yardsticks'][0]['length']:,} tokens, in the same "
            f"{'job' if alone else 'turns'}, with 95% intervals: what a machine is faster or slower from job to job is in neither. "
            f"Exponents are of times in {'this unit' if yardsticks else 'seconds, since a job failed to time it'}. At the yardstick's own "
            "length they are calls of two processes of the same model."
        )
        blocks.append(Block(own, yardstick_table(content["yardsticks"]), (), f"{title}: the first model against itself"))
    if content["fits"]:
        blocks.append(Block(growth, growth_table(content, specs), (), f"{title}: growth"))
    if "differences" in content:
        again = (
            f"The exponents of round {sweep.round} less those of the first one, with 95% intervals for the noise of both: "
            "where nothing but noise differs, 19 in 20 hold zero."
        )
        if len(specs) < len({fit["spec"] for fit in first["fits"]} if first else ()):
            again += " Fewer models took turns in it."
        blocks.append(Block(again, differences_table(content["differences"]), (), f"{title}: against the first round"))
        both = "Ratios of times of both rounds, with 95% intervals for the calls of each; what differs from job to job is in neither."
        blocks.append(Block(both, repeated_table(content["repeated"]), (), f"{title}: ratios of both rounds"))
    return blocks


def _figures(context: Context, sweep: Sweep, content: Content) -> list[Markup]:
    panels: list[tuple[str, Measure, str]] = [
        ("µs a token (lower is better)", _time, "time"),
        ("peak memory, MiB a sequence (lower is better)", _memory, "memory"),
    ]
    if sweep.mode == "decode":
        panels = [("ms a token (lower is better)", _decode_time, "time"), ("state, MiB a sequence (lower is better)", _state, "state")]
    drawn, rows = [], _as_in_the_middle(content["rows"])
    for title, measure, kind in panels:
        of_a_token = kind == "time" and sweep.mode != "decode"  # where the curves are of a sequence
        curves = {spec: _per_token(curve) if of_a_token else curve for spec, curve in _curves(content, kind).items()}
        overtaken = [found for found in content["crossovers"] if found["measure"] == kind and found["length"] is not None]
        crossings = [(found["against"], found["length"]) for found in overtaken]
        path = context.figures.path("lengths", sweep.name, kind)
        drawn.append(Markup(figure(path, title, rows, measure, context.looks, curves, crossings)))
    return drawn


def _curves(content: Content, measure: str) -> dict[str, Curve]:
    """Of each model the curve that was chosen for its points, or a power law, where there are too few to choose by."""
    fits = [fit for fit in content["fits"] if (fit["measure"], fit["range"]) == (measure, "all") and fit["value"] is not None]
    chosen = [found for found in content["shapes"] if found["measure"] == measure]
    return {fit["spec"]: _power_law(fit["value"]) for fit in fits} | {found["spec"]: _polynomial(found["terms"]) for found in chosen}


def _power_law(exponent: float) -> Curve:
    return lambda length: length**exponent


def _polynomial(terms: Sequence[float]) -> Curve:
    return lambda length: sum(term * length**power for power, term in enumerate(terms))


def _per_token(curve: Curve) -> Curve:
    return lambda length: curve(length) / length


def _as_in_the_middle(rows: Sequence[Content]) -> list[Content]:
    """Rows with the times of a machine that is as fast in every job as in the middle one, where all timed the yardstick."""
    if not in_yardsticks(rows):
        return list(rows)
    middle = median(row["yardstick_seconds"] for row in rows)
    return [_slowed(row, middle / row["yardstick_seconds"]) if row["status"] == "ok" else row for row in rows]


def _slowed(row: Content, by: float) -> Content:
    times = {"seconds_median": by * row["seconds_median"], "seconds_quartiles": [by * end for end in row["seconds_quartiles"]]}
    return {**row, **times, "tokens_per_second": row["tokens_per_second"] / by}


def _time(row: Content) -> tuple[float, float, float] | None:
    if row["status"] != "ok":
        return None
    tokens = row["tokens_per_second"] * row["seconds_median"]
    low, high = row["seconds_quartiles"]
    return 1e6 * row["seconds_median"] / tokens, 1e6 * low / tokens, 1e6 * high / tokens


def _decode_time(row: Content) -> tuple[float, float, float] | None:
    """Of a step, whatever the batch."""
    found = _time(row)
    if found is None:
        return None
    median, low, high = (1e-3 * row["batch"] * value for value in found)
    return median, low, high


def _memory(row: Content) -> tuple[float, float, float] | None:
    return (row["peak_bytes"] / row["batch"] / 2**20,) * 3 if row["status"] == "ok" and (row["peak_bytes"] or 0) > 0 else None


def _state(row: Content) -> tuple[float, float, float] | None:
    return (row["state_bytes"] / 2**20,) * 3 if row["status"] == "ok" and row["state_bytes"] else None


def table(content: Content, wanted: Sequence[tuple[str, int]]) -> Table:
    """Every measurement of a sweep; those that failed with their status.

    Args:
        content: of a sweep in `studies/lengths.json`.
        wanted: (spec, length) of the parameters, the first model's at first.
    """
    found = {(row["spec"], row["length"]): row for row in content["rows"]}
    peaks = content.get("matrix_peak", {})
    rows, notes = [], []
    places = list(dict.fromkeys([*wanted, *found]))
    for spec, length in places:
        row = found.get((spec, length), {})
        failed = failure(row or None, row.get("reason"))
        cells = (
            spec,
            number(length, 0),
            number(row.get("batch"), 0),
            "ok" if failed is None else failed.partition(":")[0],
            *_measured(row, peaks.get(str(length))),
            *_beside(content, row, found.get((places[0][0], length), {})),
        )
        rows.append(Row(cells, "failed" if failed else "", spec))
        notes += [f"{spec} at length {length:,}: {failed}"] if failed else []
        notes += [f"{spec} at length {length:,}: {doubt}" for doubt in [_disagreement(row)] if doubt]
    notes += _dropout(content["rows"])
    peaks_around, other = content.get("matrix_peaks", {}), content.get("other_cores", {}) if content.get("device") == "cpu" else {}
    for length in sorted({*peaks_around, *other}, key=int):
        doubts = _unrest(peaks_around.get(length))
        if (other.get(length) or 0) > OTHER:
            doubts.append(f"other work took {other[length]:.1f} cores meanwhile")
        notes += [f"length {int(length):,}: {doubt}" for doubt in doubts]
    columns = (
        Column("model", numeric=False),
        Column("length", "tokens"),
        Column("batch", "sequences"),
        Column("status", numeric=False),
        Column("parameters"),
        Column("timed calls"),
        Column("call ↓", "s, median"),
        Column("quartiles", "s"),
        Column("speed ↑", "tokens/s"),
        Column("of the matrix peak ↑"),
        Column("peak memory ↓", "MiB"),
        Column("state ↓", "KiB a sequence"),
        Column("attention", numeric=False),
        Column("times the first model's", "time"),
        Column("times the first model's", "memory or state"),
    )
    return Table(columns, tuple(rows), tuple(notes))


def _beside(content: Content, row: Content, first: Content) -> tuple[str, str]:
    """A measurement over the first model's at the same length, in time and in memory."""
    if not row or row["spec"] == first.get("spec") or row["status"] != "ok" or first.get("status") != "ok":
        return MISSING, MISSING
    ratios = byte_ratios(row, first, row["mode"])
    return _ratio(content["ratios"], row["spec"], first["spec"], row["length"]), ", ".join(number(ratio, 3) for ratio in ratios) or MISSING


def _measured(row: Content, matrix_peak: float | None) -> tuple[str, ...]:
    low, high = row.get("seconds_quartiles") or (None, None)
    state, speed = row.get("state_bytes"), row.get("flops_per_second")
    peak = None if row.get("mode") == "decode" else row.get("peak_bytes")  # of decoding it has two copies of the past
    return (
        number(row.get("parameters"), 0),
        number(row.get("calls"), 0),
        number(row.get("seconds_median"), 4),
        MISSING if low is None else f"{number(low, 4)} to {number(high, 4)}",
        number(row.get("tokens_per_second"), 0),
        share(speed / matrix_peak if speed and matrix_peak else None),
        number(None if peak is None else peak / 2**20, 1),
        number(None if state is None else state / 2**10, 1),
        ", ".join(name.replace("_", " ") for name in row.get("attention") or []) or MISSING,
    )


def _dropout(rows: Iterable[Content]) -> list[str]:
    """Which models draw random numbers in a training step, which takes time; elsewhere there is no dropout."""
    rates = {row["spec"]: row["dropout"] for row in rows if row.get("mode") == "training" and row.get("dropout")}
    return [f"{spec} has a dropout of {rate:g}, and spends time on it" for spec, rate in rates.items()]


def _disagreement(row: Content) -> str | None:
    """Where the process's high-water mark and the sum of its tensors are further apart than two ways to measure should be."""
    peak, accounted = row.get("peak_bytes"), row.get("accounted_bytes")
    if row.get("unaccounted"):
        return f"after its timed calls its memory and FLOPs could not be told to the end ({row['unaccounted']})"
    if not peak or not accounted or abs(peak - accounted) <= AGREE * accounted:
        return None
    return f"the process's peak is {peak / 2**20:,.1f} MiB, and its tensors account for {accounted / 2**20:,.1f}"


def _unrest(around: Sequence[float] | None) -> list[str]:
    """Where the machine was slower before all calls than after them, or the other way round, by more than products of matrices vary."""
    if not around or len(around) < 2 or min(around) >= (1 - AGREE) * max(around):
        return []
    before, after = (f"{peak / 1e9:,.0f}" for peak in around)
    return [f"the matrix peak was {before} GFLOP/s before all calls and {after} after them: other work, or a clock that changed"]


def growth_table(content: Content, specs: Sequence[str]) -> Table:
    """How time and memory grow, a model and a measure a row."""
    fits = {(fit["spec"], fit["measure"], fit["range"]): fit for fit in content["fits"]}
    shapes = {(found["spec"], found["measure"]): found for found in content["shapes"]}
    crossings = {(found["against"], found["measure"]): found for found in content["crossovers"]}
    rows = []
    measures = dict.fromkeys(fit["measure"] for fit in content["fits"])
    for spec, measure in dict.fromkeys((spec, measure) for spec in specs for measure in measures):
        chosen, crossing = shapes.get((spec, measure)), crossings.get((spec, measure))
        cells = (
            spec,
            measure,
            _exponent(fits.get((spec, measure, "all"))),
            _exponent(fits.get((spec, measure, "upper half"))),
            _exponent(fits.get((spec, measure, "from 1,024"))),
            MISSING if chosen is None else f"{chosen['chosen']}, by {number(chosen['advantage'], 1)}; {share(chosen['quadratic_share'])}",
            _crossing(crossing),
            *((_ratio(content["ratios"], spec, specs[0], length) if measure == "time" else MISSING) for length in (UP_TO, None)),
        )
        rows.append(Row(cells, "", spec))
    columns = (
        Column("model", numeric=False),
        Column("of", numeric=False),
        Column("exponent", "all lengths"),
        Column("exponent", "upper half"),
        Column("exponent", "from 1,024"),
        Column("curve", numeric=False),
        Column("the first model takes less", "from length"),
        Column("times the first model's time", f"at {UP_TO:,}"),
        Column("times the first model's time", "at the greatest length"),
    )
    return Table(columns, tuple(rows))


def yardstick_table(yardsticks: Iterable[Content]) -> Table:
    """The first model's time at each length over its own at the yardstick, one a row."""
    rows = [
        Row((f"{found['at']:,}", _between(found) if found["ratio"] is not None else f"unknown: {found['reason']}")) for found in yardsticks
    ]
    return Table((Column("length", "tokens"), Column("times its own", "time of a call")), tuple(rows))


def differences_table(differences: Iterable[Content]) -> Table:
    """Exponents of one round less those of another, one a row."""
    rows = []
    for found in differences:
        holds = found["low"] <= 0 <= found["high"]
        cells = (found["spec"], found["measure"], found["range"], _exponent(found), "yes" if holds else "no")
        rows.append(Row(cells, "", found["spec"]))
    columns = (
        Column("model", numeric=False),
        Column("of", numeric=False),
        Column("lengths", numeric=False),
        Column("exponent", "difference"),
        Column("holds zero", numeric=False),
    )
    return Table(columns, tuple(rows))


def repeated_table(repeated: Iterable[Content]) -> Table:
    """Ratios of times that were measured twice, one a row."""
    rows = []
    for found in repeated:
        cells = (
            found["spec"],
            number(found["length"], 0),
            *(_between(found[round_]) for round_ in ("first", "again")),
            MISSING if found["inside"] is None else "yes" if found["inside"] else "no",
            MISSING if found["meet"] is None else "yes" if found["meet"] else "no",
        )
        rows.append(Row(cells, "", found["spec"]))
    columns = (
        Column("model", numeric=False),
        Column("length", "tokens"),
        Column("times the first model's time", "first round"),
        Column("times the first model's time", "this round"),
        Column("within the first one's interval", numeric=False),
        Column("intervals meet", numeric=False),
    )
    return Table(columns, tuple(rows))


def _between(found: Content) -> str:
    return f"{number(found['ratio'], 3)} ({number(found['low'], 3)} to {number(found['high'], 3)})"


def _exponent(fit: Content | None) -> str:
    if fit is None or fit["value"] is None:
        return MISSING
    return f"{number(fit['value'], 3)} ({number(fit['low'], 3)} to {number(fit['high'], 3)})"


def _crossing(found: Content | None) -> str:
    if found is None:
        return MISSING
    low, high = (number(found[end], 0) for end in ("low", "high"))
    if found["where"] == "always":
        return "at every length" + (f", surely from {high}" if found["high"] else "")
    if found["where"] == "never":
        return "at none" + (f", maybe from {low}" if found["low"] else "")
    if found["where"] == "unresolved":
        return "unresolved"
    return f"{number(found['length'], 0)} ({low} to {high})"


def _ratio(ratios: Sequence[Any], spec: str, than: str, length: int | None) -> str:
    """At a length; at None, at the greatest one that both could do."""
    of_it = {ratio["length"]: ratio for ratio in ratios if (ratio["spec"], ratio["than"]) == (spec, than)}
    at = max(of_it, default=0) if length is None else length
    if at not in of_it:
        return MISSING
    found = of_it[at]
    return f"{number(found['ratio'], 2)} ({number(found['low'], 2)} to {number(found['high'], 2)})" + ("" if length else f" at {at:,}")
