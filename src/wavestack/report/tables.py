"""Tables of the report: from the content of result files to cells of text, every number at a fixed precision.

A table drops nothing. A run that the parameters want and the file does not have is a row that says so; a run that diverged or a
measurement that failed is a row with its status, and a note with its reason. MISSING stands for a value that there is not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wavestack.params import Run
from wavestack.variants import Variant

MISSING = "–"
SPLITS = ("train", "valid", "test")  # in the order of a reader; JSON files have them by name
CHECKS = (  # of the contract, in its order
    "causality by perturbation",
    "causality by gradient",
    "prefix consistency",
    "step equals parallel",
    "chunk carry",
    "batch invariance",
    "save and load",
    "parameter count",
)
OF_A_BENCHMARK = (
    *("case", "length", "contender", "unit", "median", "low", "high"),
    *("against", "against_median", "ratio_of", "ratio", "target", "met"),
)
KINDS_OF_SLICES = {
    "seen": "tokens that are seen before it",
    "count": "times in the train split",
    "back": "tokens back to the same pair (0: it is new)",
}
AS = {"speed": "as fast", "cost": "as much"}  # what a benchmark's ratio says
Content = Mapping[str, Any]  # of a JSON file, or a row of one


@dataclass(frozen=True)
class Column:
    title: str
    unit: str = ""
    numeric: bool = True  # right-aligned


@dataclass(frozen=True)
class Row:
    cells: tuple[str, ...]
    kind: str = ""  # mean, failed, or marked: how the row is set off
    spec: str | None = None  # whose colour stands before the row


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()  # what is missing or failed, with reasons


@dataclass(frozen=True)
class Measure:
    """A measure of a run: its key in the files, and how it is shown."""

    key: str
    column: Column
    decimals: int

    def text(self, row: Content) -> str:
        return number(row.get(self.key), self.decimals)


PARAMETERS = Measure("parameters", Column("parameters"), 0)
TRAINING_TOKENS = Measure("training_tokens", Column("training tokens"), 0)
NATS = Measure("nats_per_token", Column("nats ↓", "per token"), 4)
BITS = Measure("bits_per_byte", Column("bits ↓", "per byte"), 4)
PERPLEXITY = Measure("perplexity", Column("perplexity ↓", "per token"), 2)
WORD_PERPLEXITY = Measure("word_perplexity", Column("perplexity ↓", "per word"), 2)
SECONDS = Measure("seconds", Column("training ↓", "s"), 1)
SPEED = Measure("tokens_per_second", Column("speed ↑", "tokens/s"), 0)
OF_A_RUN = (PARAMETERS, TRAINING_TOKENS, NATS, BITS, PERPLEXITY, WORD_PERPLEXITY, SECONDS, SPEED)


def number(value: float | None, decimals: int) -> str:
    """A number with thousands separators; MISSING for None."""
    return MISSING if value is None else f"{value:,.{decimals}f}".replace("-", "−")


def signed(value: float | None, decimals: int, unit: str = "") -> str:
    """A difference, its sign always shown."""
    return MISSING if value is None else f"{value:+,.{decimals}f}{unit}".replace("-", "−")


def share(value: float | None) -> str:
    """A share as a percentage; one below the precision is not shown as zero."""
    if value is None:
        return MISSING
    return "< 0.1%" if 0 < value < 0.0005 else f"{value:.1%}"


def count(number_of: int, noun: str) -> str:
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"


def run_of(row: Content) -> Run:
    return Run(row["corpus"], row["spec"], row["budget"], row["variant"], row["seed"])


def failure(row: Content | None, reason: str | None) -> str | None:
    """What became of a run or measurement without numbers; None for one that is ok."""
    if row is None:
        return "missing: no result"
    if row["status"] == "ok":
        return None
    return f"{row['status']}: {reason or 'no reason recorded'}"


def comparison(content: Content, runs: Sequence[Run], reasons: Mapping[Run, str]) -> Table:
    """The runs of one corpus, every seed, each spec followed by its mean.

    Args:
        content: of `studies/comparison.json`.
        runs: what the parameters want of this corpus; a run that only the file has is shown too.
        reasons: why runs are not ok.
    """
    corpus = runs[0].corpus
    found = {run_of(row): row for row in content["rows"] if row["corpus"] == corpus}
    means = {row["spec"]: row for row in content["means"] if row["corpus"] == corpus}
    wanted = list(dict.fromkeys([*runs, *found]))
    rows, notes = [], []
    for spec in dict.fromkeys(run.spec for run in wanted):
        for run in (run for run in wanted if run.spec == spec):
            row = found.get(run)
            failed = failure(row, reasons.get(run))
            cells = [measure.text(row or {}) for measure in OF_A_RUN]
            status = "" if failed is None else f", {failed.partition(':')[0]}"
            rows.append(Row((spec, f"{run.seed}{status}", *cells), "failed" if failed else "", spec))
            notes += [f"{run}: {failed}"] if failed else []
        mean = means.get(spec, {})
        over = "mean, missing" if not mean else "no mean" if mean["nats_per_token"] is None else f"mean of {len(mean['seeds'])}"
        rows.append(Row((spec, over, *(measure.text(mean) for measure in OF_A_RUN)), "mean", spec))
    columns = (Column("model", numeric=False), Column("seed", numeric=False))
    return Table((*columns, *(measure.column for measure in OF_A_RUN)), tuple(rows), tuple(notes))


def differences(content: Content) -> Table:
    """The paired differences and what may be said of them."""
    rows = [
        Row(
            (
                entry["corpus"],
                f"{entry['spec']} − {entry['against']}",
                _by_seed(entry),
                signed(entry["perplexity_percent"], 1, "%"),
                interval(entry),
                MISSING if entry.get("level") is None else f"{entry['level']:.1%}",
                MISSING if entry.get("p") is None else f"{entry['p']:.2g}",
                _seeds_needed(entry),
                verdict(entry),
            )
        )
        for entry in content["differences"]
    ]
    columns = (
        Column("corpus", numeric=False),
        Column("difference", numeric=False),
        Column("nats", "per token, by seed", numeric=False),
        Column("perplexity", "%"),
        Column("interval", "%"),
        Column("level", "of the interval"),
        Column("p", "of no difference"),
        Column("seeds", "to see 1%"),
        Column("verdict", numeric=False),
    )
    return Table(columns, tuple(rows))


def interval(entry: Content) -> str:
    """Of a difference in perplexity; older files have none."""
    if entry.get("low_percent") is None:
        return MISSING
    return f"{signed(entry['low_percent'], 1)} to {signed(entry['high_percent'], 1, '%')}"


def _seeds_needed(entry: Content) -> str:
    if entry.get("level") is None:
        return MISSING
    return "needs more text" if entry["seeds_for_one_percent"] is None else number(entry["seeds_for_one_percent"], 0)


def _by_seed(entry: Content) -> str:
    pairs = zip(entry["seeds"], entry["nats"], strict=True)
    return ", ".join(f"{MISSING if nats is None else signed(nats, 4)} (seed {seed})" for seed, nats in pairs)


def verdict(entry: Content) -> str:
    """What a difference says, of the first model against the second, and why where it decides nothing."""
    return f"undecided: {entry['reason']}" if entry["verdict"] == "undecided" else entry["verdict"]


def slices(found: Sequence[Content], specs: Sequence[str]) -> Table:
    """Losses of the slices of one corpus, the models side by side.

    Args:
        found: the corpus's entries under `slices` of `studies/comparison.json`.
        specs: in their order; the difference is of the first two.
    """
    nats = {(row["kind"], row["least"], row["spec"]): row["nats_per_token"] for row in found}
    sizes = {(row["kind"], row["least"]): row["tokens"] for row in found}
    whole = sum(tokens for (kind, _), tokens in sizes.items() if kind == "seen")
    rows = []
    for (kind, least), tokens in sizes.items():
        values = [nats.get((kind, least, spec)) for spec in specs]
        first, second, *_ = [*values, None, None]
        gap = None if first is None or second is None else first - second
        named = f"{least:,}" if least < 2 else f"{least:,} to {2 * least - 1:,}"
        cells = (KINDS_OF_SLICES[kind], named, share(tokens / whole), *(number(value, 3) for value in values), signed(gap, 3))
        rows.append(Row(cells))
    columns = (
        Column("slice", numeric=False),
        Column("from, to"),
        Column("of all tokens", "%"),
        *(Column(f"{spec} ↓", "nats per token") for spec in specs),
        Column("difference", "of the first two"),
    )
    return Table(columns, tuple(rows))


def tuning(content: Content) -> Table:
    """Every trial, the chosen one of each spec on each corpus set off."""
    rows, notes = [], []
    for choice in content["choices"]:
        for trial in choice["trials"]:
            failed = failure(trial, trial["reason"])
            settings = (f"{trial[key]:g}" for key in ("learning_rate", "weight_decay", "dropout"))
            chosen = choice["chosen"].items() <= trial.items()
            status = "chosen" if chosen else "" if failed is None else failed.partition(":")[0]
            cells = (choice["corpus"], choice["spec"], *settings, number(trial["seeds"], 0), NATS.text(trial), status)
            rows.append(Row(cells, "failed" if failed else "mean" if chosen else "", choice["spec"]))
        notes += [f"{choice['spec']} on {choice['corpus']}: {edge}, and what lies beyond was not tried" for edge in choice["at_the_edge"]]
    columns = (
        Column("corpus", numeric=False),
        Column("model", numeric=False),
        Column("learning rate"),
        Column("weight decay"),
        Column("dropout"),
        Column("seeds"),
        Column("nats ↓", "lowest of validation"),
        Column("", numeric=False),
    )
    return Table(columns, tuple(rows), tuple(notes))


def calibration(content: Content) -> Table:
    """The run of known outcome."""
    row = content["row"]
    cells = (row["corpus"], row["spec"], *(measure.text(row) for measure in (PARAMETERS, TRAINING_TOKENS, NATS)))
    result = "passed" if content["passed"] else "failed"
    columns = (
        Column("corpus", numeric=False),
        Column("model", numeric=False),
        *(measure.column for measure in (PARAMETERS, TRAINING_TOKENS, NATS)),
        Column("known", "at most"),
        Column("result", numeric=False),
    )
    return Table(columns, (Row((*cells, f"{content['at_most']:g}", result), "" if content["passed"] else "failed", row["spec"]),))


def ablation(
    content: Content,
    corpus: str,
    variants: Sequence[str],
    lanes: Sequence[str],
    runs: Sequence[Run],
    reasons: Mapping[Run, str],
) -> Table:
    """All subsets of the lanes on one corpus, with what each mean has over that of all of them.

    Args:
        content: of `studies/ablation.json`.
        variants: the subsets, from none of the lanes to all of them.
        lanes, runs: what the parameters want.
        reasons: why runs are not ok.
    """
    found = {run_of(row): row for row in content["rows"] if row["corpus"] == corpus}
    means = {row["variant"]: row for row in content["means"] if row["corpus"] == corpus}
    wanted = [run for run in dict.fromkeys([*runs, *found]) if run.corpus == corpus]
    seeds = sorted({run.seed for run in wanted})
    full = means.get(variants[-1], {}).get("nats_per_token")
    rows, notes = [], []
    for variant in dict.fromkeys([*variants, *means]):
        mean = means.get(variant, {})
        held = lanes_of(variant, lanes)
        by_seed = []
        for seed in seeds:
            run = next((run for run in wanted if (run.variant, run.seed) == (variant, seed)), None)
            row = found.get(run) if run else None
            failed = failure(row, reasons.get(run) if run else None)
            by_seed.append(NATS.text(row or {}) if failed is None else failed.partition(":")[0])
            notes += [f"{run or f'{corpus}/{variant}/seed{seed}'}: {failed}"] if failed else []
        nats = mean.get("nats_per_token")
        against = None if nats is None or full is None or variant == variants[-1] else nats - full
        label = "all lanes" if len(held) == len(lanes) else " + ".join(held) or "no lane"
        measured = (
            NATS.text(mean),
            signed(against, 4),
            *(measure.text(mean) for measure in (BITS, PERPLEXITY, WORD_PERPLEXITY, SPEED)),
        )
        kind = "failed" if nats is None else "marked" if variant in (variants[0], variants[-1]) else ""
        rows.append(Row((label, PARAMETERS.text(mean), *by_seed, *measured), kind))
    columns = (
        Column("lanes", numeric=False),
        PARAMETERS.column,
        *(Column("nats ↓", f"seed {seed}") for seed in seeds),
        Column("nats ↓", "mean"),
        Column("against all", "nats"),
        *(measure.column for measure in (BITS, PERPLEXITY, WORD_PERPLEXITY, SPEED)),
    )
    return Table(columns, tuple(rows), tuple(notes))


def worths(found: Sequence[Content]) -> Table:
    """What each lane and each pair of lanes is worth on one corpus.

    Args:
        found: the corpus's entries under `worths` of `studies/ablation.json`.
    """
    rows, notes = [], []
    for entry in found:
        by_seed = MISSING if entry["nats"] is None else _by_seed(entry)
        sure = MISSING if entry["low"] is None else f"{signed(entry['low'], 4)} to {signed(entry['high'], 4)}"
        level = MISSING if entry["level"] is None else f"{entry['level']:.1%}"
        named = f"{entry['lanes'][0]}, alone" if entry["of"] == "lane" else f"{' with '.join(entry['lanes'])}, beyond both"
        rows.append(Row((named, signed(entry["nats_per_token"], 4), by_seed, sure, level), "failed" if entry["nats"] is None else ""))
        notes += [f"{' with '.join(entry['lanes'])}: {entry['reason']}"] if entry["nats"] is None else []
    columns = (
        Column("worth of", numeric=False),
        Column("nats saved ↑", "per token"),
        Column("by seed", "nats per token", numeric=False),
        Column("interval", "nats per token"),
        Column("level", "of the interval"),
    )
    return Table(columns, tuple(rows), tuple(notes))


def audit(content: Content, corpus: str) -> Table:
    """The rungs of one corpus: what is compared, and who leads by how much in both units.

    Args:
        content: of `studies/audit.json`.
    """
    rows, notes = [], []
    for row in (row for row in content["rows"] if row["corpus"] == corpus):
        mended = rung(row)
        counts = (number(row["our_parameters"], 0), number(row["their_parameters"], 0))
        held_out = (number(row["held_out_ours"], 4), number(row["held_out_theirs"], 4))
        cells = (mended, row["ours"], row["theirs"], *counts, *_both_and_gap(row, "published"), *held_out, *_both_and_gap(row, "nats"))
        rows.append(Row(cells, "failed" if row["reason"] else ""))
        notes += [f"{mended}: {row['reason']}"] if row["reason"] else []
    columns = (
        Column("mended", numeric=False),
        Column("ours", numeric=False),
        Column("theirs", numeric=False),
        Column("our parameters"),
        Column("their parameters"),
        Column("ours ↓", "published unit"),
        Column("theirs ↓", "published unit"),
        Column("gap", "published unit"),
        Column("ours ↓", "held out of train"),
        Column("theirs ↓", "held out of train"),
        Column("ours ↓", "nats per token"),
        Column("theirs ↓", "nats per token"),
        Column("gap", "nats per token"),
    )
    return Table(columns, tuple(rows), tuple(notes))


def rung(row: Content) -> str:
    """What is mended on a row of the audit, in words."""
    if row["kind"] == "alone":
        return f"{row['mended']} alone"
    return row["mended"] if row["mended"] == "as published" else f"+ {row['mended']}"


def _both_and_gap(row: Content, unit: str) -> tuple[str, str, str]:
    low = row[f"{unit}_low"]
    sure = "" if low is None else f" ({signed(low, 3)} to {signed(row[f'{unit}_high'], 3)})"
    return number(row[f"{unit}_ours"], 4), number(row[f"{unit}_theirs"], 4), signed(row[f"{unit}_gap"], 4) + sure


def lanes_of(variant: str, lanes: Sequence[str]) -> tuple[str, ...]:
    """The lanes that a variant has, in the order of the spec."""
    chosen = Variant.parse(variant).lanes
    return tuple(lane for lane in lanes if chosen is None or lane in chosen)


def lengths(content: Content, wanted: Iterable[tuple[str, int]]) -> Table:
    """Every measurement of a training step; those that failed with their status.

    Args:
        content: of `studies/lengths.json`.
        wanted: (spec, length) of the parameters.
    """
    found = {(row["spec"], row["length"]): row for row in content["rows"]}
    rows, notes = [], []
    for spec, length in dict.fromkeys([*wanted, *found]):
        row = found.get((spec, length), {})
        failed = failure(row or None, row.get("reason"))
        low, high = row.get("seconds_quartiles") or (None, None)
        peak = row.get("peak_bytes")
        rows.append(
            Row(
                (
                    spec,
                    number(length, 0),
                    number(row.get("batch"), 0),
                    "ok" if failed is None else failed.partition(":")[0],
                    number(row.get("steps"), 0),
                    number(row.get("seconds_median"), 4),
                    MISSING if low is None else f"{number(low, 4)} to {number(high, 4)}",
                    number(row.get("tokens_per_second"), 0),
                    number(None if peak is None else peak / 2**20, 1),
                ),
                "failed" if failed else "",
                spec,
            )
        )
        notes += [f"{spec} at length {length:,}: {failed}"] if failed else []
    columns = (
        Column("model", numeric=False),
        Column("length", "tokens"),
        Column("batch", "sequences"),
        Column("status", numeric=False),
        Column("timed steps"),
        Column("step ↓", "s, median"),
        Column("quartiles", "s"),
        Column("speed ↑", "tokens/s"),
        Column("peak memory ↓", "MiB"),
    )
    return Table(columns, tuple(rows), tuple(notes))


def ledger(content: Content) -> Table:
    """What every model is made of, beside what its budget asks for."""
    rows = []
    for row in content["rows"]:
        total, inner = (_off(row, key) for key in ("parameters", "non_embedding_parameters"))
        counts = ("vocabulary", "mlp", "parameters", "target_parameters")
        cells = (row["spec"], row["variant"], row["corpus"], row["budget"], *(number(row[key], 0) for key in counts))
        inner_counts = (number(row[key], 0) for key in ("non_embedding_parameters", "target_non_embedding_parameters"))
        deviations = (signed(total, 2, "%"), *inner_counts, signed(inner, 2, "%"))
        rows.append(Row((*cells, *deviations), "failed" if any(abs(off or 0) > 1 for off in (total, inner)) else "", row["spec"]))
    columns = (
        *(Column(title, numeric=False) for title in ("model", "variant", "corpus", "budget")),
        Column("vocabulary", "tokens"),
        Column("MLP width"),
        Column("parameters"),
        Column("target"),
        Column("deviation", "%"),
        Column("without embedding"),
        Column("target"),
        Column("deviation", "%"),
    )
    notes = tuple(f"{row.cells[0]}/{row.cells[1]} on {row.cells[2]} is more than 1% off its target" for row in rows if row.kind)
    return Table(columns, tuple(rows), notes)


def _off(row: Content, key: str) -> float | None:
    """Percent off the target; a published model, which names its own size, has none."""
    target = row[f"target_{key}"]
    return None if target is None else 100 * (row[key] / target - 1)


def contract(contents: Mapping[tuple[str, str, str], Content | None]) -> Table:
    """A row a model and precision, a column a check: whether it holds, with the largest difference seen.

    Args:
        contents: of `contract/<spec>/<budget>/<variant>.json` by that triple; None where it is missing. Older files name no precision,
            which was float32, and no declared breaks, of which there were none.
    """
    found = {finding["check"] for content in contents.values() if content is not None for finding in content["findings"]}
    checks = [*CHECKS, *sorted(found - set(CHECKS))]
    rows, notes = [], []
    for (spec, budget, variant), content in contents.items():
        findings = content["findings"] if content is not None else []
        if content is None:
            notes.append(f"{spec}/{budget}/{variant}: missing, no contract was checked")
        notes += [f"{spec}/{variant} {_broken(finding)}" for finding in findings if not finding["passed"]]
        by_precision: dict[str, list[Content]] = {}
        for finding in findings:
            by_precision.setdefault(finding.get("precision", "float32"), []).append(finding)
        names, colour = (spec, variant, budget), spec  # once a model
        for precision, these in by_precision.items() or [(MISSING, [])]:
            cells = [_held([finding for finding in these if finding["check"] == check]) for check in checks]
            bad = not these or not all(finding["passed"] for finding in these)
            declared = any(finding.get("declared") for finding in these)
            rows.append(Row((*names, precision, *cells), "failed" if bad else "marked" if declared else "", colour))
            names, colour = ("", "", ""), ""
    named = (Column(title, numeric=False) for title in ("model", "variant", "budget", "precision"))
    return Table((*named, *(Column(check) for check in checks)), tuple(rows), tuple(notes))


def _held(findings: Sequence[Content]) -> str:
    """What was found of one check, in words, and the largest difference."""
    if not findings:
        return MISSING
    worst = max(findings, key=lambda finding: (not finding["passed"], finding["difference"] is None, abs(finding["difference"] or 0)))
    size = worst["difference"]
    if size is None:  # infinite or no number, which JSON has not
        return "BROKEN, not finite"
    shown = f"{size:.1e}" if isinstance(size, float) else f"{size:,}"
    said = ("holds", "declared break") if worst["passed"] else ("BROKEN", "NO BREAK")
    return f"{said[bool(worst.get('declared'))]} {shown}"


def _broken(finding: Content) -> str:
    at = "" if finding["position"] is None else f" from position {finding['position']:,} on"
    named = f"{finding['check']} ({finding.get('precision', 'float32')}){at}: {finding['detail']}"
    missed = finding.get("declared") and finding["difference"] is not None
    return f"declares a break that does not occur, {named}" if missed else f"breaks {named}"


def benchmark(rows: Sequence[Content]) -> Table:
    """The comparisons of one benchmark. What others are compared with stands in their rows and has none of its own.

    Args:
        rows: of `benchmarks/<name>.csv`.
    """
    theirs = {(row["case"], row["against"]) for row in rows if row["against"] is not None}
    bounded = any(row.get("bound") is not None for row in rows)  # by FLOPs, of the ratio
    shown = []
    for row in rows:
        if row["against"] is None and (row["case"], row["contender"]) in theirs:
            continue
        ratio, bound = row["ratio"], row.get("bound")
        limit = (share(None if ratio is None or bound is None else ratio / bound), number(bound, 2)) if bounded else ()
        result = MISSING if row["met"] is None else "met" if row["met"] else "missed"
        cells = (
            row["case"],
            number(row["length"], 0),
            row["contender"],
            _amount(row["median"], row["unit"]),
            f"{_amount(row['low'], row['unit'])} to {_amount(row['high'], row['unit'])}",
            row["against"] or MISSING,
            _amount(row["against_median"], row["unit"]),
            MISSING if ratio is None else f"{number(ratio, 2)} × {AS[row['ratio_of']]}",
            *limit,
            row["target"] or MISSING,
            result,
        )
        shown.append(Row(cells, "failed" if result == "missed" else ""))
    columns = (
        Column("case", numeric=False),
        Column("length", "tokens"),
        Column("ours", numeric=False),
        Column("median ↓", "of ours"),
        Column("quartiles", "of ours"),
        Column("theirs", numeric=False),
        Column("median ↓", "of theirs"),
        Column("ratio", "ours to theirs"),
        *((Column("of the bound ↑", "by FLOPs alone"), Column("bound", "by FLOPs alone")) if bounded else ()),
        Column("target", numeric=False),
        Column("result", numeric=False),
    )
    return Table(columns, tuple(shown))


def _amount(value: float | None, unit: str) -> str:
    scale, shown = {"s": (1e3, "ms"), "bytes": (2**-20, "MiB")}[unit]
    return MISSING if value is None else f"{number(value * scale, 2)} {shown}"


def sources(corpora: Mapping[str, Content | None], tokens: Mapping[str, Content | None]) -> Table:
    """Where each corpus comes from, and how it was encoded.

    Args:
        corpora: content of `corpora/<corpus>/manifest.json` by corpus; None where it is missing.
        tokens: likewise of `tokens/<corpus>/manifest.json`.
    """
    rows, notes = [], []
    for name, manifest in corpora.items():
        encoded = tokens.get(name)
        source = manifest["source"] if manifest else {}
        facts = "; ".join(_fact(key, value) for key, value in source.items() if key not in ("kind", "revision") and value is not None)
        cells = (
            name,
            f"{source['kind']} ({facts})" if source else "missing",
            source.get("revision") or MISSING,
            manifest["licence"] if manifest else MISSING,
            number(manifest["limit"], 0) if manifest and manifest["limit"] is not None else "none" if manifest else MISSING,
            encoded["tokenizer"]["kind"] if encoded else "missing",
            number(encoded["vocabulary"], 0) if encoded else MISSING,
        )
        rows.append(Row(cells, "" if manifest and encoded else "failed"))
        lost = [f"{kind}/{name}/manifest.json" for kind, found in (("corpora", manifest), ("tokens", encoded)) if found is None]
        notes += [f"{path}: missing" for path in lost]
    titles = ("corpus", "source", "revision", "licence")
    columns = (*(Column(title, numeric=False) for title in titles), Column("train limit", "bytes"))
    return Table((*columns, Column("tokenizer", numeric=False), Column("vocabulary", "tokens")), tuple(rows), tuple(notes))


def _fact(key: str, value: Any) -> str:
    if isinstance(value, Mapping):  # files and their hashes
        return ", ".join(f"{name} {str(digest)[:12]}…" for name, digest in value.items())
    return f"{key} {value}"


def splits(corpora: Mapping[str, Content | None], tokens: Mapping[str, Content | None]) -> Table:
    """The sizes of every split, and how much of valid and test also stands in train. Arguments as in `sources`."""
    rows = []
    for name, manifest in corpora.items():
        encoded = tokens.get(name)
        sizes = manifest["splits"] if manifest else {}
        for split in sorted(sizes, key=SPLITS.index):
            size = sizes[split]
            overlap = manifest["overlap"].get(split, {}) if manifest else {}
            counts = (number(size.get(key), 0) for key in ("documents", "bytes", "words"))
            length = encoded["splits"].get(split, {}).get("tokens") if encoded else None
            kept = share(size["bytes"] / size["source_bytes"]) if size.get("source_bytes") else MISSING
            shares = (share(overlap.get("document_share")), share(overlap.get("ngram_share")))
            rows.append(Row((name, split, *counts, number(length, 0), kept, *shares)))
    columns = (
        Column("corpus", numeric=False),
        Column("split", numeric=False),
        Column("documents"),
        Column("text", "bytes"),
        Column("words"),
        Column("tokens"),
        Column("kept of the source", "% of bytes"),
        Column("documents in train ↓", "%"),
        Column("13-word sequences in train ↓", "%"),
    )
    return Table(columns, tuple(rows))


def provenance(records: Mapping[str, tuple[Content | None, Content | None]]) -> Table:
    """Which commit, parameters and command made each result, and what it took.

    Args:
        records: content of (`X.provenance.json`, `X.timing.json`) by X, a path below the reports; None where missing.
    """
    rows, notes = [], []
    for path, (made, timing) in records.items():
        timing = timing or {}
        peak = timing.get("peak_memory_bytes")
        took = (number(timing.get("seconds"), 1), number(None if peak is None else peak / 2**20, 0))
        if made is None:
            rows.append(Row((path, "missing", *(MISSING,) * 3, *took), "failed"))
            notes.append(f"{path}.provenance.json: missing")
            continue
        cells = (path, commit(made), made["fingerprint"], made["finished"], made["command"], *took)
        rows.append(Row(cells, "failed" if made["dirty"] or made["commit"] is None else ""))
    titles = ("result", "commit", "fingerprint", "finished", "command")
    columns = tuple(Column(title, numeric=False) for title in titles)
    return Table((*columns, Column("time", "s"), Column("peak memory", "MiB")), tuple(rows), tuple(notes))


def commit(made: Content) -> str:
    """The commit of a provenance file, with a mark where the code was not the commit's."""
    if made["commit"] is None:
        return "not a git checkout"
    return made["commit"][:10] + (" + uncommitted changes" if made["dirty"] else "")
