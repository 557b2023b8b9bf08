"""The gate on planted versions: what it refuses, what it passes, what it does not judge, and how often it errs."""

import json
import math
import subprocess
from dataclasses import dataclass, field

import numpy
import pandas
import pytest

from wavestack.artifacts import write_csv, write_json
from wavestack.gate import FLOOR, Difference, exit_status, judge, to_json
from wavestack.operations.versions import Version, version
from wavestack.report.verdicts import lines
from wavestack.studies.metrics import LOSSES

TEXT = {"tokenizer": "t", "vocabulary": 512, "train split": "a", "valid split": "b"}
DOCUMENTS = 40


@dataclass
class Planted:
    """A version with seeds whose nats a token are `nats` + noise; documents of 500 tokens, each as hard as it is in all versions."""

    nats: float = 4.0
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    noise: float = 0.004
    chance: int = 0
    models: tuple[str, ...] = ("wavestack",)
    parameters: int = 1000
    failed: int = 0
    text_of: dict = field(default_factory=lambda: TEXT)
    changed: dict = field(default_factory=dict)

    def __post_init__(self):
        generator, hardness = numpy.random.default_rng(self.chance), numpy.random.default_rng(7).normal(0, 0.5, DOCUMENTS)
        self.rows, self.found = [], {}
        for model in self.models:
            for seed in self.seeds:
                level = self.nats + self.noise * generator.standard_normal()
                own = 0.01 * generator.standard_normal(DOCUMENTS)
                nats = 500 * (level + hardness - hardness.mean() + own - own.mean())
                self.rows += [dict(zip(LOSSES, ("c", model, seed, d, 500, n), strict=True)) for d, n in enumerate(nats)]
            mean = sum(row["nats"] for row in self.rows if row["model"] == model) / len(self.seeds) / 500 / DOCUMENTS
            self.found[model] = {
                "nats_per_token": mean, "perplexity": math.exp(mean), "parameters": self.parameters, "training_tokens": 5,
                "failed_seeds": self.failed, "seeds": len(self.seeds), **self.changed,
            }  # fmt: skip

    def metrics(self):
        return {"c": self.found}

    def losses(self):
        return pandas.DataFrame(self.rows)

    def text(self, corpus):
        return self.text_of


def verdict_of(verdicts, measure="nats_per_token", model="wavestack"):
    return next(verdict for verdict in verdicts if verdict.metric == f"c.{model}.{measure}")


def test_a_version_against_itself_passes():
    verdicts = judge(Planted(), Planted())
    judged = ("failed_seeds", "nats_per_token", "parameters", "training_tokens")
    assert [verdict.metric for verdict in verdicts] == [f"c.wavestack.{name}" for name in judged]
    assert {verdict.verdict for verdict in verdicts} == {"pass"}
    assert exit_status(verdicts) == 0
    assert verdict_of(verdicts).effect == 0


def test_a_worsening_is_refused_and_an_improvement_is_not():
    worse = judge(Planted(chance=1), Planted(nats=4.03, chance=2))
    found = verdict_of(worse)
    assert (found.verdict, exit_status(worse)) == ("regression", 1)
    assert found.effect == pytest.approx(100 * math.expm1(0.03), abs=1)
    assert 0 < found.low < found.effect < found.high
    better = judge(Planted(chance=1), Planted(nats=3.97, chance=2))
    assert exit_status(better) == 0
    assert verdict_of(better).effect < 0


def test_a_worsening_below_the_floor_is_none():
    """0.3% of perplexity with next to no noise is certain, and too little to matter."""
    found = verdict_of(judge(Planted(noise=0, chance=1), Planted(nats=4.003, noise=0, chance=1)))
    assert found.low > 0
    assert found.effect < FLOOR
    assert found.verdict == "pass"


def test_seeds_are_paired_where_three_are_shared():
    """Seeds that differ by 5% each and by nothing between the versions would hide 2% if they were not paired."""
    before, now = Planted(noise=0.05, chance=3), Planted(noise=0.05, chance=3, nats=4.02)
    assert verdict_of(judge(before, now)).verdict == "regression"
    alone = Planted(noise=0.05, chance=4, nats=4.02, seeds=(7,))
    assert verdict_of(judge(before, alone)).verdict == "cannot judge"


def test_one_seed_is_held_against_the_spread_of_the_baseline():
    before = Planted(seeds=tuple(range(20)), chance=1)
    assert verdict_of(judge(before, Planted(seeds=(0,), chance=2))).verdict == "pass"
    assert verdict_of(judge(before, Planted(seeds=(0,), chance=2, nats=4.04))).verdict == "regression"


@pytest.mark.nightly
def test_the_family_is_refused_in_one_of_twenty_cases_at_most():
    """Three models, 200 versions that are no worse: at most 5% of them, 10, and chance may add 3 times 3.1."""
    models = ("a", "b", "c")
    before = Planted(seeds=tuple(range(20)), chance=1, models=models)
    refused = sum(exit_status(judge(before, Planted(seeds=(50,), chance=chance, models=models))) == 1 for chance in range(2, 202))
    assert refused <= 19


@pytest.mark.parametrize("error", [0.0, 1e-300, 1e-16, 1e-9])
def test_what_differs_by_no_chance_is_found_for_sure(error):
    assert Difference(0.0, error, 2).power(0.02, 0.95) == 1.0


def test_the_power_that_is_told_is_the_one_there_is():
    """Seeds that vary by 0.8%: a worsening of 2% is found as often as is said."""
    verdicts = [
        verdict_of(
            judge(Planted(seeds=tuple(range(20)), noise=0.008, chance=chance), Planted(4 + math.log(1.02), (50,), 0.008, -chance + 999))
        )
        for chance in range(300)
    ]
    told = numpy.median([verdict.power for verdict in verdicts])
    assert 0.5 < told < 0.9
    assert sum(verdict.verdict == "regression" for verdict in verdicts) / 300 == pytest.approx(told, abs=0.12)


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        (Planted(), Planted(models=("renamed",)), "it has no value in the current version"),
        (Planted(models=("renamed",)), Planted(), "it has no value in the baseline"),
        (Planted(), Planted(changed={"nats_per_token": None}), "it has no value in the current version"),
        (Planted(), Planted(changed={"nats_per_token": math.nan}), "it is no number"),
        (Planted(), Planted(changed={"nats_per_token": "low"}), "it is no number"),
        (Planted(), Planted(text_of={**TEXT, "valid split": "x"}), "the valid split is another one (b before, x now)"),
        (Planted(), Planted(text_of={**TEXT, "tokenizer": "x"}), "the tokenizer is another one"),
        (Planted(), Planted(text_of=None), "which text it is of is not known in the current version"),
        (Planted(seeds=(0, 1)), Planted(), "too few seeds: 2 before, 5 now"),
        (Planted(noise=0.1, chance=1), Planted(seeds=(9,), noise=0.1), "more seeds are needed"),
    ],
)
def test_what_cannot_be_judged_is_no_pass(before, now, reason):
    verdicts = judge(before, now)
    (found,) = [verdict for verdict in verdicts if reason in verdict.reason and verdict.metric.endswith("nats_per_token")]
    assert found.verdict == "cannot judge"
    assert exit_status(verdicts) == 2
    json.dumps(to_json(verdicts), allow_nan=False)
    assert any(reason in line for line in lines(verdicts, "before", "now"))


def test_other_budgets_and_failed_seeds_are_refused():
    assert verdict_of(judge(Planted(), Planted(parameters=1011)), "parameters").verdict == "regression"
    assert verdict_of(judge(Planted(), Planted(parameters=1009)), "parameters").verdict == "pass"
    assert verdict_of(judge(Planted(), Planted(changed={"training_tokens": 6})), "training_tokens").verdict == "regression"
    assert verdict_of(judge(Planted(), Planted(failed=1)), "failed_seeds").verdict == "regression"
    assert verdict_of(judge(Planted(failed=1), Planted()), "failed_seeds").verdict == "pass"


def test_what_is_better_for_sure_passes_though_little_would_be_seen():
    """Seeds that lie 10% apart hide a worsening of 2%; this model is better by about 60%."""
    found = verdict_of(judge(Planted(noise=0.1, chance=1, seeds=(0, 1, 2)), Planted(nats=3.0, noise=0.1, chance=2, seeds=(0, 1, 2))))
    assert found.power < 0.5
    assert (found.verdict, found.reason) == ("pass", "")


def test_nothing_is_no_pass():
    assert exit_status([]) == 2


# --- versions -----------------------------------------------------------------------------------------------------------------------


def write_version(reports, planted):
    write_json(reports / "metrics.json", planted.metrics())
    write_csv(reports / "losses.csv", planted.rows, LOSSES)
    splits = {"train": {"sha256": "a"}, "valid": {"sha256": "b"}}
    write_json(reports / "tokens/c/manifest.json", {"tokenizer": {"kind": "bpe", "sha256": "t"}, "vocabulary": 512, "splits": splits})


def test_a_folder_a_file_and_a_revision_are_versions(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").mkdir()
    write_version(tmp_path / "reports", Planted())
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b commit -qm first", "tag old"):
        subprocess.run(["git", *command.split()], check=True)
    write_version(tmp_path / "reports", Planted(nats=4.05, chance=1))
    reports = (tmp_path / "reports").relative_to(tmp_path)
    old = version("old", reports)
    assert old.text("c") == TEXT
    assert exit_status(judge(old, Version(reports))) == 1
    assert exit_status(judge(old, old)) == 0
    assert version("old", tmp_path / "reports").metrics() == old.metrics()
    with pytest.raises(ValueError, match=r"is not in .*, whose revisions git has"):
        version("old", tmp_path.parent / "reports")
    write_version(tmp_path / "before", Planted())
    for name in ("before", "before/metrics.json"):
        assert exit_status(judge(version(name, reports), Version(reports))) == 1
    for name in ("reports", "reports/metrics.json", f"{tmp_path}/before/../reports"):
        with pytest.raises(ValueError, match=r"is what is judged, and no baseline; name another version's folder, or a revision in git"):
            version(name, reports)
    (tmp_path / "reports/old.json").write_bytes((tmp_path / "before/metrics.json").read_bytes())
    with pytest.raises(ValueError, match=r"reports/old.json is no metrics.json; name that of another version"):
        version("reports/old.json", reports)  # the current losses lie beside it
    with pytest.raises(ValueError, match="'nothing' is neither a file nor a revision in git"):
        version("nothing", reports)


@pytest.mark.parametrize(("text", "said"), [("{", "is no JSON"), ("[]", r"is not \{corpus: \{model: \{measure"), ('{"c": 1}', "is not")])
def test_a_broken_file_is_refused(tmp_path, text, said):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        Version(tmp_path).metrics()


def test_a_version_without_metrics_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"there is no metrics.json; it is written by `snakemake --cores`"):
        Version(tmp_path).metrics()
