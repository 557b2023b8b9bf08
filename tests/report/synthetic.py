"""A folder of results as the other steps leave it, with numbers that can be checked by hand."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, geometric_mean
from types import MappingProxyType
from typing import Any

from wavestack import steps
from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.params import ModelSpec, Parameters, Run
from wavestack.report.sections.contract import CHECKS
from wavestack.schema import Corpus, Profile
from wavestack.studies.findings import write_findings

LENGTHS = (256, 1024, 4096, 16384)
SPECS = {
    "wavestack": ModelSpec("wavestack", {"lanes": {"chebyshev": {}, "fourier": {}, "wavelet": {}}, "mixer": "gated"}),
    "transformer": ModelSpec("transformer", {"head_width": 32, "window": None, "explicit_mask": False, "convolution": 0}),
}
HASH = "0123456789abcdef" * 4


def make_parameters(
    corpora: tuple[str, ...] = ("pydocs", "pycode"), ablation: bool = True, complementarity: bool = False, sizes: bool = False,
    lengths: bool = True,
    seeds: tuple[int, ...] = (0, 1),
) -> Parameters:  # fmt: skip
    studies: dict[str, Any] = {"comparison": {"corpora": list(corpora), "specs": list(SPECS), "budget": "tiny", "seeds": list(seeds)}}
    if ablation:
        studies["ablation"] = {"corpora": [corpora[0]], "spec": "wavestack", "budget": "tiny", "seeds": list(seeds)}
    if complementarity:
        studies["complementarity"] = {"corpora": [corpora[0]], "spec": "wavestack", "budget": "tiny", "seeds": list(seeds)}
    if sizes:
        studies["sizes"] = {
            "corpora": [corpora[0]],
            "specs": list(SPECS),
            "budgets": ["tiny"],
            "tokens": [750_000, 1_500_000],
            "seeds": [0],
        }
    if lengths:
        studies["lengths"] = {
            "specs": list(SPECS), "budget": "tiny", "vocabulary": 2048, "sweeps": [{"lengths": list(LENGTHS), "tokens": 4096}]
        }  # fmt: skip
    profile = {
        "corpora": {name: {"limit": 2_000_000} for name in corpora},
        "tokenizer": {"kind": "bpe", "vocabulary": 2048},
        "budgets": {"tiny": {"hidden": 128, "blocks": 4, "context": 256, "parameters": 800_000, "tokens": 1_500_000}},
        "training": {"batch": 8},
        "studies": studies,
    }
    return Parameters(
        name="quick",
        profile=Profile.model_validate(profile),
        corpora={name: Corpus(licence="PSF-2.0", python="docs") for name in corpora},
        specs=SPECS,
    )


def run_nats(run: Run) -> float:
    """Losses that are near each other, as those of models of equal size are."""
    lanes = 3 if run.variant == "base" else 0 if run.variant == "lanes=none" else run.variant.count("+") + 1
    nats = {"pydocs": 4.2, "pycode": 2.75}.get(run.corpus, 3.0) + 0.125 * run.seed + 0.25 * (3 - lanes)
    return nats - (0.0625 if run.spec == "transformer" else 0)


def run_row(run: Run, diverged: bool = False) -> dict[str, Any]:
    nats = None if diverged else run_nats(run)
    words = nats is not None and run.corpus == "pydocs"
    return {
        "corpus": run.corpus, "spec": run.spec, "budget": run.budget, "variant": run.variant, "seed": run.seed,
        "status": "diverged" if diverged else "ok",
        "parameters": 1_062_144 if run.spec == "wavestack" else 1_062_400,
        "non_embedding_parameters": 800_000 if run.spec == "wavestack" else 800_256,
        "training_tokens": 1_501_184, "best_step": 700, "steps": 733,
        "nats_per_token": nats, "bits_per_byte": None if nats is None else nats / 2, "perplexity": None if nats is None else math.exp(nats),
        "word_perplexity": 1234.5678 + run.seed if words else None,
        "seconds": 61.26 + run.seed, "tokens_per_second": 24_512.4 if run.spec == "wavestack" else 31_007.8,
    }  # fmt: skip


def mean_of(rows: list[dict[str, Any]], **key: Any) -> dict[str, Any]:
    measures = (
        "parameters",
        "training_tokens",
        "nats_per_token",
        "bits_per_byte",
        "perplexity",
        "word_perplexity",
        "seconds",
        "tokens_per_second",
    )
    average = {m: geometric_mean if m.endswith("perplexity") else fmean for m in measures}
    mean = {m: None if any(row[m] is None for row in rows) else average[m](row[m] for row in rows) for m in measures}
    return {**key, "seeds": [row["seed"] for row in rows], **mean}


def provenance(folder: Path, step: str, dirty: bool = False, settings: Mapping[str, Any] = MappingProxyType({})) -> None:
    write_json(
        folder / f"{step}.provenance.json",
        {
            "command": f"wavestack {step} --profile quick", "settings": dict(settings), "fingerprint": "feedc0de12345678",
            "inputs": {"data/quick/tokens/manifest.json": HASH}, "finished": "2026-01-02T03:04:05+00:00",
            "commit": "5ca1ab1e" * 5, "dirty": dirty, "versions": {"python": "3.11.7", "torch": "2.6.0"},
            "machine": {"system": "Linux x86_64", "processor": "Test CPU", "cores": 2, "accelerator": None},
        },
    )  # fmt: skip
    write_json(folder / f"{step}.timing.json", {"seconds": 12.34, "peak_memory_bytes": 512 * 2**20})


def write_results(parameters: Parameters, reports: Path, diverged: tuple[Run, ...] = ()) -> None:
    """Everything that a report reads."""
    for run in parameters.runs():
        folder = reports / "runs" / str(run)
        bad = run in diverged
        reason = "loss is nan at step 301 <script>alert(1)</script>" if bad else None
        write_json(folder / "metrics.json", {"status": "diverged" if bad else "ok", "reason": reason})
        curve = []
        for step in range(0, 740 if not bad else 300, 10):
            valid = run_nats(run) + 3.4 * math.exp(-step / 120) + 0.4 * math.exp(-step / 400) - 0.064 if step % 70 == 0 else None
            curve.append({"step": step, "tokens": step * 2048, "learning_rate": 3e-3, "train_nats": 5.0, "valid_nats": valid})
        write_csv(folder / "curve.csv", curve, ("step", "tokens", "learning_rate", "train_nats", "valid_nats"))
        provenance(folder, "train", dirty=run.seed == 1)
        provenance(folder, "evaluate")
    rows = [run_row(run, run in diverged) for run in parameters.comparison_runs()]
    study = parameters.profile.studies.comparison
    cells = list(itertools.product(study.corpora, study.specs))
    by_cell = {cell: [row for row in rows if (row["corpus"], row["spec"]) == cell] for cell in cells}
    means = [mean_of(of_cell, corpus=corpus, spec=spec) for (corpus, spec), of_cell in by_cell.items()]
    differences = [
        difference(corpus, study.seeds, [run for run in diverged if (run.corpus, run.variant) == (corpus, "base")])
        for corpus in study.corpora
    ]
    slices = [
        {"corpus": corpus, "spec": spec, "kind": kind, "least": least, "tokens": 100, "nats_per_token": 4.0}
        for (corpus, spec), kind, least in itertools.product(cells, ("seen", "count", "back"), (0, 1, 2))
    ]
    write_json(reports / "studies/comparison.json", {"rows": rows, "means": means, "differences": differences, "slices": slices})
    provenance(reports / "studies", "comparison")
    if parameters.profile.studies.ablation:
        runs = parameters.ablation_runs()
        rows = [run_row(run, run in diverged) for run in runs]
        variants = list(dict.fromkeys(run.variant for run in runs))
        by_variant = {variant: [row for row in rows if row["variant"] == variant] for variant in variants}
        means = [mean_of(of, corpus=runs[0].corpus, variant=variant, lanes=[]) for variant, of in by_variant.items()]
        worths = [worth(runs[0].corpus, lanes, 0.25, study.seeds) for lanes in (("chebyshev",), ("fourier",), ("chebyshev", "fourier"))]
        write_json(reports / "studies/ablation.json", {"rows": rows, "means": means, "worths": worths})
        provenance(reports / "studies", "ablation")
    if parameters.profile.studies.complementarity:
        write_json(reports / "studies/complementarity.json", looked_at(parameters))
        provenance(reports / "studies", "complementarity")
    if parameters.profile.studies.sizes:
        write_json(reports / "studies/sizes.json", sized(parameters))
        provenance(reports / "studies", "sizes")
    if parameters.profile.studies.lengths:
        write_json(reports / "studies/lengths.json", {"threads": 2, "sweeps": [swept(parameters.profile.studies.lengths.sweeps[0].name)]})
        provenance(reports / "studies", "lengths")
        for length in LENGTHS:
            provenance(reports / "profile" / parameters.profile.studies.lengths.sweeps[0].name, f"length{length}")
    entries = []
    for corpus in parameters.profile.corpora:
        for model in dict.fromkeys((run.spec, run.variant) for run in parameters.runs() if run.corpus == corpus):
            entries.append(
                {
                    "corpus": corpus, "budget": "tiny", "spec": model[0], "variant": model[1], "vocabulary": 2048, "mlp": 312,
                    "parameters": 1_065_000, "non_embedding_parameters": 798_000,
                    "target_parameters": 1_062_144, "target_non_embedding_parameters": 800_000,
                }
            )  # fmt: skip
    write_json(reports / "budget/ledger.json", {"rows": entries})
    provenance(reports / "budget", "ledger")
    for run in parameters.runs():
        findings = [finding(check, 2.1e-7 if check != "parameter count" else 0) for check in CHECKS]
        findings += [finding(check, 3.4e-3, "bfloat16") for check in CHECKS[:6]]
        content = {"spec": run.spec, "budget": run.budget, "variant": run.variant, "findings": findings}
        write_json(reports / "contract" / run.spec / run.budget / f"{run.variant}.json", content)
        provenance(reports / "contract" / run.spec / run.budget, run.variant)
    for corpus in parameters.profile.corpora:
        write_corpus(reports, corpus)
    write_benchmarks(reports.parent / "benchmarks")
    write_findings(parameters, reports)
    provenance(reports, "findings")


def finding(check: str, difference: float, precision: str = "float32", passed: bool = True, declared: bool = False) -> dict[str, Any]:
    """As the contract writes it."""
    position = None if passed and not declared else 7
    return {
        "check": check, "precision": precision, "passed": passed, "declared": declared, "difference": difference, "position": position,
        "detail": "looked ahead" if position else "fine",
    }  # fmt: skip


def benchmark_row(case: str, length: int, contender: str, median: float, **compared: Any) -> dict[str, Any]:
    """As a benchmark writes it; alone, or compared with another one."""
    unit = "bytes" if compared.pop("bytes", False) else "s"
    row = dict.fromkeys(("against", "against_median", "ratio_of", "ratio", "target", "met", "bound"))
    spread = {"unit": unit, "median": median, "low": 0.9 * median, "high": 1.2 * median}
    return {"benchmark": "x", "case": case, "length": length, "contender": contender, **spread, **row, **compared}


def write_benchmarks(folder: Path) -> None:
    """Beside the profile's folder: one whose target is met at one length and missed at the other, and one of bytes without a bound."""
    block = []
    for length, ours, ratio in ((256, 0.125, 0.8), (8192, 0.0625, 3.2)):
        theirs = ours * ratio
        told = {"against": "transformer", "against_median": theirs, "ratio_of": "speed", "ratio": ratio, "bound": 4.0}
        least = 0.9 if length == 256 else 2.8
        block.append(benchmark_row("one block", length, "transformer", theirs))
        block.append(benchmark_row("one block", length, "wavestack", ours, **told, target=f"at least {least:g}", met=ratio >= least))
    told = {"against": "transformer", "against_median": 2**21, "ratio_of": "cost", "ratio": 1.5}
    memory = [benchmark_row("tensors", 4096, "transformer", 2**21, bytes=True)]
    memory.append(benchmark_row("tensors", 4096, "wavestack", 3 * 2**20, bytes=True, **told))
    for name, rows in (("block", block), ("memory", memory)):
        write_csv(folder / f"{name}.csv", rows, list(rows[0]))
        provenance(folder, name, settings={"about": f"What {name} compares.", "threads": [1, 2], "repeats": 7})


def difference(corpus: str, seeds: list[int], diverged: list[Run]) -> dict[str, Any]:
    """As the comparison writes it: a seed without a pair is null in `nats`."""
    return {
        "corpus": corpus, "spec": "wavestack", "against": "transformer", "seeds": seeds,
        "nats": [None if seed in {run.seed for run in diverged} else 0.0625 for seed in seeds],
        "perplexity_percent": None if diverged else 100 * math.expm1(0.0625),
        "verdict": "undecided",
        "reason": "a run is missing or diverged" if diverged else f"{len(seeds)} seeds give points, no interval",
    }  # fmt: skip


def opened(parameters: Parameters, reports: Path, better: float = 0.5) -> None:
    """The comparison on the test split, where every run's loss is lower by `better`, opened by today's code."""
    content = read_json(reports / "studies/comparison.json")
    for row in [*content["rows"], *content["means"]]:
        row["nats_per_token"] -= better
        row["perplexity"] = math.exp(row["nats_per_token"])
    for entry in content["differences"]:
        entry["perplexity_percent"] = 12.5
    write_json(reports / "studies/test.json", {**content, "slices": []})
    made = {reports / "studies": steps.study(parameters, "test")}
    made |= {reports / "runs" / str(run): steps.open_test(parameters, run) for run in parameters.comparison_runs()}
    for folder, step in made.items():
        provenance(folder, "test")
        path = folder / "test.provenance.json"
        write_json(path, {**read_json(path), "fingerprint": step.fingerprint})


def worth(corpus: str, lanes: tuple[str, ...], nats: float, seeds: list[int], low: float | None = None) -> dict[str, Any]:
    """As the ablation writes it; with an interval from `low` to as far above `nats` where it is given."""
    high, level = (None, None) if low is None else (2 * nats - low, 0.95)
    return {
        "corpus": corpus, "of": "lane" if len(lanes) == 1 else "pair", "lanes": list(lanes), "seeds": seeds, "nats": [nats for _ in seeds],
        "nats_per_token": nats, "reason": "too few seeds or documents for an interval" if low is None else None,
        "low": low, "high": high, "level": level,
    }  # fmt: skip


def looked_at(parameters: Parameters) -> dict[str, Any]:
    """As the complementarity study writes it: of one corpus, two lanes and two blocks, in the first of which they are not alike at all."""
    corpus = parameters.profile.studies.complementarity.corpora[0]
    knockouts = [
        worth(corpus, (lane,), nats, [0, 1], low=low) | {"lane": lane}
        for lane, nats, low in (("fourier", 0.25, 0.125), ("wavelet", 0.5, None))
    ]
    part = {"tokens": 500, "lanes": {"fourier": 0.375, "wavelet": 0.625}}
    weights = {
        "effective_lanes": 1.875,
        "weights": {**part, "tokens": 1000},
        "by_class": [{"class": "digits", **part}, {"class": "punctuation", **part}],
    }
    weights |= {"by_octave": [{"least": 1, **part}, {"least": 2, **part}]}
    names = ["input", "fourier", "wavelet"]
    cka = [[[1.0, 0.125, 0.5], [0.125, 1.0, alike], [0.5, alike, 1.0]] for alike in (0.0, 0.75)]
    blocks = [{"corpus": corpus, "block": i, "names": names, "cka": matrix, **weights} for i, matrix in enumerate(cka)]
    return {"knockouts": knockouts, "blocks": blocks}


def sized(parameters: Parameters) -> dict[str, Any]:
    """As the sizes study writes it: of one pair and budget, on two numbers of tokens."""
    rows = [run_row(run) | {"training_flops": 5e6 * parameters.budget(run).tokens} for run in parameters.sizes_runs()]
    pair = {"corpus": parameters.profile.studies.sizes.corpora[0], "spec": "wavestack", "against": "transformer"}
    ends = {"low_percent": -20.25, "high_percent": -2.5, "level": 0.975, "verdict": "better", "reason": None}
    equal = [{**pair, "budget": "tiny", "tokens": 750_000, "seeds": [0], "nats": [-0.125], "perplexity_percent": -11.75, **ends}]
    nothing = dict.fromkeys(("perplexity_percent", *ends)) | {"verdict": "undecided", "reason": "a run is missing or diverged"}
    equal.append({**pair, "budget": "tiny", "tokens": 1_500_000, "seeds": [0], "nats": [None], **nothing})
    flops = [{**pair, "training_flops": 7.5e12, "ours": 4.0, "theirs": 4.25, "nats": -0.25, "perplexity_percent": -22.12}]
    cost = {"parameters": 1_062_144, "non_embedding_parameters": 800_000, "flops_per_token": 2e6}
    cost |= {"of_the_output_layer": 5e5, "over_the_sequence": 2e5}
    costs = [{"corpus": pair["corpus"], "spec": spec, "budget": "tiny", **cost} for spec in SPECS]
    return {"rows": rows, "costs": costs, "equal_size": equal, "equal_flops": flops}


def swept(name: str) -> dict[str, Any]:
    """A sweep where WaveStack overtakes the transformer at 2,048, whose memory it always takes less of."""
    fit = {"spec": "wavestack", "measure": "time", "range": "all", "value": 1.01, "low": 0.99, "high": 1.03, "lengths": list(LENGTHS)}
    pair = {"spec": "wavestack", "against": "transformer"}
    return {
        "name": name, "first_round": name, "mode": "training", "device": "cpu", "precision": "float32", "compile": False,
        "matrix_peak": {"4096": 4e10}, "other_cores": {"1024": 0.04, "4096": 0.35},
        "yardsticks": [
            {"at": 4096, "spec": "wavestack", "length": 1024, "reason": None, "ratio": 1.016, "low": 0.99, "high": 1.03, "pairs": 12},
        ],
        "rows": [length_row(spec, length) for length in LENGTHS for spec in SPECS],
        "ratios": [
            {"spec": "transformer", "length": length, "than": "wavestack", "ratio": ratio, "low": 0.9 * ratio, "high": None, "pairs": 5}
            for length, ratio in ((1024, 0.9), (4096, 1.4))
        ],
        "fits": [fit, {**fit, "measure": "memory"}, {**fit, "range": "upper half", "value": None, "low": None, "high": None}],
        "shapes": [
            {"spec": "wavestack", "measure": "time", "chosen": "linear", "advantage": 3.21, "quadratic_share": 0.01, "terms": [1.0, 0.5]},
        ],
        "crossovers": [
            {**pair, "measure": "time", "length": 2048.0, "low": 1500.0, "high": None, "where": "inside"},
            {**pair, "measure": "memory", "length": None, "low": None, "high": None, "where": "always"},
        ],
    }  # fmt: skip


def length_row(spec: str, length: int) -> dict[str, Any]:
    if spec == "transformer" and length == 16384:
        return {"spec": spec, "length": length, "batch": 1, "status": "out_of_memory", "reason": "killed <b>hard</b>"}
    tokens = max(4096, length)
    seconds = tokens / 40_000 * (1 + length / 4096 if spec == "transformer" else 1.5)
    return {
        "spec": spec, "length": length, "batch": max(1, 4096 // length), "status": "ok", "reason": None, "calls": 20,
        "mode": "training", "parameters": 1_062_144, "state_bytes": None, "attention": ["flash_attention_for_cpu"],
        "accounted_bytes": 2**20 * 200, "flops_per_second": 1e10,
        "seconds_median": seconds, "seconds_quartiles": [0.97 * seconds, 1.06 * seconds], "tokens_per_second": tokens / seconds,
        "peak_bytes": 2**20 * (200 + (length // 16 if spec == "transformer" else 4) * tokens // 4096),
    }  # fmt: skip


def write_corpus(reports: Path, corpus: str) -> None:
    sizes = {"train": (412, 1_998_765), "valid": (21, 101_234), "test": (23, 99_876)}
    splits = {
        split: {
            "documents": documents, "bytes": size, "words": None if corpus == "pycode" else size // 6, "sha256": HASH,
            "source_documents": 2 * documents, "source_bytes": 2 * size,
        }
        for split, (documents, size) in sizes.items()
    }  # fmt: skip
    overlap = {
        split: {
            "documents": sizes[split][0], "documents_in_train": 0, "document_share": 0.0, "ngrams": 10_000,
            "ngrams_in_train": ngrams, "ngram_share": ngrams / 10_000,
        }
        for split, ngrams in (("valid", 321), ("test", 2))
    }  # fmt: skip
    source = {"kind": "python", "part": "docs", "python": "3.11.7", "revision": None}
    facts = {"corpus": corpus, "licence": "PSF-2.0", "source": source, "limit": 2_000_000, "word_convention": "whitespace"}
    write_json(reports / "corpora" / corpus / "manifest.json", {**facts, "splits": splits, "overlap": overlap})
    encoded = {
        split: {"tokens": size // 3, "documents": documents, "bytes": size, "words": 1, "sha256": HASH}
        for split, (documents, size) in sizes.items()
    }
    tokenizer = {"kind": "bpe", "sha256": HASH}
    manifest = {"corpus": corpus, "tokenizer": tokenizer, "vocabulary": 2048, "end_of_text": 0, "dtype": "uint16", "splits": encoded}
    write_json(reports / "tokens" / corpus / "manifest.json", manifest)
    provenance(reports / "corpora" / corpus, "corpus")
    provenance(reports / "tokens" / corpus, "tokens")
