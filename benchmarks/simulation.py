"""How often an interval leaves zero out, where it should not and where it should: known differences, at the numbers of seeds in use.

    python benchmarks/simulation.py [--families 2000] [--reports reports/simulation]

A difference has an effect (percent of perplexity), something of each seed, something of each document that all seeds share, and noise of
both. Comparisons are looked at in families; "found" is the share of comparisons that are called a difference, "any_found" the share of
families in which one is.
"""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from math import log1p
from pathlib import Path

import numpy

from wavestack.artifacts import read_json, write_csv, write_json
from wavestack.provenance import fingerprint, recorded
from wavestack.statistics import Paired, family, paired, verdict

SEEDS = (2, 3, 5, 8)
EFFECTS = (0.0, 1.0, 3.0)  # percent of perplexity
COMPARISONS = (1, 9)  # in a family: alone, or three pairs of models on three corpora
SEED_DEVIATIONS = (0.005, 0.03)  # nats a token; of WaveStack and the transformer with convolution 0.02 to 0.03, in reports/findings-cpu
DOCUMENT_DEVIATIONS = (0.01, 0.05)  # nats a token
DOCUMENTS = 60
NOISE = 0.02  # nats a token, of each seed on each document


@dataclass(frozen=True)
class Row:
    """What came of many draws."""

    seeds: int
    effect_percent: float
    comparisons: int
    seed_deviation: float
    document_deviation: float
    families: int
    found: float
    any_found: float


def simulated(
    seeds: int, effect: float, draws: int, seed_deviation: float, document_deviation: float, generator: numpy.random.Generator
) -> list[Paired]:
    """Differences of two models, in nats a token."""
    tokens = generator.integers(200, 8000, DOCUMENTS).astype(float)
    found = []
    for _ in range(draws):
        a_token = effect + generator.normal(0, seed_deviation, (seeds, 1)) + generator.normal(0, document_deviation, DOCUMENTS)
        a_token = a_token + generator.normal(0, NOISE, (seeds, DOCUMENTS))
        found.append(paired(a_token * tokens, numpy.zeros((seeds, DOCUMENTS)), tokens))
    return found


def called_different(differences: Sequence[Paired]) -> list[bool]:
    """Which of a family are, by the intervals that a report shows."""
    return [verdict(held.low, held.high) != "no difference" for held in family(differences) if held is not None]


def rows(families: int) -> Iterator[Row]:
    generator = numpy.random.default_rng(0)
    for seeds, effect, comparisons, by_seed, by_document in product(SEEDS, EFFECTS, COMPARISONS, SEED_DEVIATIONS, DOCUMENT_DEVIATIONS):
        found = [
            called_different(simulated(seeds, log1p(effect / 100), comparisons, by_seed, by_document, generator)) for _ in range(families)
        ]
        of_all, of_any = sum(map(sum, found)) / (families * comparisons), sum(map(any, found)) / families
        yield Row(seeds, effect, comparisons, by_seed, by_document, families, of_all, of_any)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=2000)
    parser.add_argument("--reports", type=Path, default=Path("reports/simulation"))
    options = parser.parse_args()
    settings = {"families": options.families}
    with recorded(options.reports, "simulation", settings, fingerprint(settings, ["wavestack.statistics"]), [Path(sys.argv[0])]):
        found = list(rows(options.families))
        write_csv(options.reports / "simulation.csv", [asdict(row) for row in found], [field.name for field in fields(Row)])
    path = options.reports / "simulation.provenance.json"
    write_json(path, {**read_json(path), "command": shlex.join(["python", *sys.argv])})  # a script's, not the workflow's
    for row in found:
        print(
            f"{row.seeds} seeds, {row.effect_percent:g}% of perplexity, {row.comparisons} in a family, seeds vary by "
            f"{row.seed_deviation:g} and documents by {row.document_deviation:g} nats: {row.found:.1%} found, any in {row.any_found:.1%}"
        )


if __name__ == "__main__":
    main()
