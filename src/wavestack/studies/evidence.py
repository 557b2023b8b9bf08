"""Evidence for or against a claim: a measured effect with its interval, the protocol it was measured under, and what it says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pandas

from wavestack import steps
from wavestack.artifacts import read_json
from wavestack.params import Parameters
from wavestack.statistics import percent
from wavestack.studies.calibration import uncalibrated

Verdict = Literal["supported", "refuted", "undecided"]


@dataclass(frozen=True)
class Evidence:
    """One effect. It `decides` its claim where the comparison was a fair one; other evidence is shown beside it.

    The interval is None where there is none, and `reason` says why nothing follows from the effect.
    """

    protocol: str  # what was compared, on what, and how
    measure: str  # of value, low and high, with its unit
    value: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    reason: str | None
    file: str  # that the numbers stand in, relative to the profile's reports
    decides: bool
    case: str = ""  # of the claim, where it has several


class Results:
    """What findings are drawn from: a profile's parameters, and the files of its studies and of the benchmarks."""

    def __init__(self, parameters: Parameters, reports: Path):
        self.parameters = parameters
        self.reports = reports
        self.benchmarks = reports.parent / "benchmarks"  # of the code and no profile: beside the profiles' results

    def study(self, name: str) -> Any:
        """The content of a study's file; None where the profile has no such study, or it has not run."""
        asked_for = getattr(self.parameters.profile.studies, name, None) is not None
        path = self.reports / "studies" / f"{name}.json"
        return read_json(path) if asked_for and path.is_file() else None

    def tested(self) -> Any:
        """The comparison on the test split; None where it is not of the models and the code of today, and of validation's checkpoints."""
        path, runs = self.reports / "studies" / "test.json", self.parameters.comparison_runs()
        if not path.is_file() or self._made("studies/test").get("fingerprint") != steps.study(self.parameters, "test").fingerprint:
            return None
        for run in runs:
            tested, validated = (self._made(f"runs/{run}/{step}") for step in ("test", "evaluate"))
            if tested.get("fingerprint") != steps.open_test(self.parameters, run).fingerprint or tested["inputs"] != validated.get(
                "inputs"
            ):
                return None
        return read_json(path)

    def _made(self, step: str) -> dict[str, Any]:
        """The provenance of a step's results; nothing where it has none."""
        path = self.reports / f"{step}.provenance.json"
        return read_json(path) if path.is_file() else {}

    def benchmark(self, name: str, *columns: str) -> list[dict[str, Any]]:
        """The rows of a benchmark, which have these columns; none where it was not run.

        Raises:
            ValueError: the file is another one.
        """
        path = self.benchmarks / f"{name}.csv"
        if not path.is_file():
            return []
        rows = pandas.read_csv(path)
        if lacking := [column for column in columns if column not in rows]:
            raise ValueError(f"{path} is no such benchmark (it lacks {', '.join(lacking)}); delete it and run benchmarks/ again")
        return rows.to_dict("records")

    def corpora(self, beginning: str) -> list[str]:
        """The profile's corpora whose names begin like this."""
        return [corpus for corpus in self.parameters.profile.corpora if corpus.startswith(beginning)]


def judged(low: float | None, high: float | None, limit: float, missing: str | None) -> tuple[Verdict, str | None]:
    """What an interval says of the claim that the effect lies below a limit, and why it says nothing.

    Args:
        missing: why there is no verdict whatever the interval; None where there may be one.
    """
    if missing is not None or low is None or high is None:
        return "undecided", missing or "there is no interval"
    if high < limit:
        return "supported", None
    return ("refuted", None) if low > limit else ("undecided", f"the interval holds {limit:g}")


def not_measured(what: str, measure: str, file: str, decides: bool) -> Evidence:
    """What a profile asks for and a file lacks. A part of what decides may refute a claim; it takes all of it to support it."""
    return Evidence(what, measure, None, None, None, "undecided", "not measured yet", file, decides)


def difference(content: Mapping[str, Any], corpus: str, ours: str, theirs: str) -> dict[str, Any] | None:
    """The comparison's entry for two specs, as ours against theirs, whichever of them it names first; None where it has none.

    Seen from the other side a perplexity that is p% higher is 100 p / (100 + p) % lower. Of a bound that is 100% lower in all digits, None.
    """
    for entry in content["differences"]:
        if (entry["corpus"], entry["spec"], entry["against"]) == (corpus, ours, theirs):
            return dict(entry)
        if (entry["corpus"], entry["spec"], entry["against"]) == (corpus, theirs, ours):
            percents = {key: entry.get(key) for key in ("perplexity_percent", "low_percent", "high_percent")}
            turned = {key: _from_the_other_side(percent) for key, percent in percents.items()}
            turned["low_percent"], turned["high_percent"] = turned["high_percent"], turned["low_percent"]
            return {**entry, **turned, "spec": ours, "against": theirs}
    return None


def _from_the_other_side(percent: float | None) -> float | None:
    return None if percent is None or percent <= -100 else -100 * percent / (100 + percent)


def compared(results: Results, corpora: Iterable[str], ours: str, theirs: str, limit: float, decides: bool) -> list[Evidence]:
    """What the comparison says of the claim that our perplexity is less than `limit` percent above theirs, corpus by corpus.

    Where the test split was opened it decides, and validation, on which models were chosen, stands beside it.
    """
    validated, tested = results.study("comparison"), results.tested()
    trained = "each tuned by the same trials" if results.parameters.profile.studies.comparison.tuned else "the same training"
    found = []
    for corpus in (corpus for corpus in corpora if corpus in results.parameters.profile.studies.comparison.corpora):
        for content, split, file in ((tested, "test", "studies/test.json"), (validated, "validation", "studies/comparison.json")):
            if content is None:
                continue
            last = content is tested or tested is None
            entry = difference(content, corpus, ours, theirs)
            if entry is None:
                what = f"{corpus}: {ours} against {theirs}, {split} split"
                found.append(not_measured(what, "% of perplexity", file, decides and last))
                continue
            missing = entry["reason"] if entry["verdict"] == "undecided" else None
            verdict, reason = judged(entry.get("low_percent"), entry.get("high_percent"), limit, missing)
            protocol = f"{corpus}: {ours} against {theirs}, equal parameters and tokens, {trained}, whole {split} split"
            values = (entry["perplexity_percent"], entry.get("low_percent"), entry.get("high_percent"))
            found.append(Evidence(protocol, "% of perplexity", *values, verdict, reason, file, decides and last))
    return found


def audited(results: Results, corpora: Iterable[str], limit: float) -> list[Evidence]:
    """The claim under the protocol that it was made by, with all that was changed in it, and where a change between turned the verdict.

    None decides: on the first rung models of unequal size are compared, and on the others intervals hold one by one.
    """
    content, uncertain = results.study("audit"), uncalibrated(results.parameters, results.reports)
    found = []
    for corpus in corpora:
        ladder = [row for row in content["rows"] if (row["corpus"], row["kind"]) == (corpus, "cumulative")] if content else []
        rungs = [_rung(row, place, corpus, limit, uncertain) for place, row in enumerate(ladder)]
        turns = [after for before, after in pairwise(rungs) if after.verdict != before.verdict]
        found += [rung for rung in rungs if rung in (*rungs[:1], *turns, *rungs[-1:])]
    return found


def _rung(row: Mapping[str, Any], place: int, corpus: str, limit: float, uncertain: str | None) -> Evidence:
    """The first in the unit that was published, all others in nats a token."""
    under = f"the published protocol after {place} changes, the last of them {row['mended']}" if place else "the published protocol"
    sizes = f"{row['our_parameters']:,} against {row['their_parameters']:,} parameters"
    unit, measure = ("nats", "% of perplexity") if place else ("published", "% of the published loss")
    gap, low, high = (_percent(row, unit, row[f"{unit}_{which}"]) for which in ("gap", "low", "high"))
    verdict, reason = judged(low, high, limit, row["reason"] or uncertain)
    protocol = f"{corpus}: {row['ours']} against {row['theirs']} under {under}, {sizes}"
    return Evidence(protocol, measure, gap, low, high, verdict, reason, "studies/audit.json", False)


def _percent(row: Mapping[str, Any], unit: str, gap: float | None) -> float | None:
    """Of their published loss, or of their perplexity."""
    if gap is None:
        return None
    return 100 * gap / row["published_theirs"] if unit == "published" else percent(gap)
