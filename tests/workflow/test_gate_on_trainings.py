"""The gate on two dozen real trainings that differ in nothing but their seed, and on ones that are really worse."""

import itertools
import math
import shutil

import pytest
import yaml
from project import ROOT, copy_of_the_project, snakemake

from wavestack.gate import exit_status, judge
from wavestack.operations.versions import Version

SEEDS = 24
PARAMS = "params/seeds.yaml"


class Seeds(Version):
    """The version that some of the trainings would have made."""

    def __init__(self, reports, seeds, worse=0.0, named=None):
        super().__init__(reports)
        self.seeds, self.worse, self.named = list(seeds), worse, named or seeds

    def losses(self):
        losses = super().losses()
        chosen = losses[losses["seed"].isin(self.seeds)].copy()
        chosen["nats"] += self.worse * chosen["tokens"]
        return chosen.assign(seed=chosen["seed"].map(dict(zip(self.seeds, self.named, strict=True))))

    def metrics(self):
        losses = self.losses()
        mean = losses["nats"].sum() / losses["tokens"].sum()
        return {"pydocs": {"wavestack": {"nats_per_token": float(mean), "failed_seeds": 0}}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    project = copy_of_the_project(tmp_path_factory.mktemp("seeds") / "project")
    profile = yaml.safe_load((ROOT / "params/smoke.yaml").read_text())
    profile["studies"] = {"comparison": {**profile["studies"]["comparison"], "specs": ["wavestack"], "seeds": list(range(SEEDS))}}
    (project / PARAMS).write_text(yaml.safe_dump(profile))
    done = snakemake(project, "--cores", "2", "reports/seeds/metrics.json", params=PARAMS)
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.mark.nightly
def test_versions_that_differ_in_their_seeds_alone_are_not_refused(trained):
    """Eight versions of three seeds each, every one against every other: as they are, and with seeds that are taken for pairs."""
    reports = trained / "reports/seeds"
    threes = [range(start, start + 3) for start in range(0, SEEDS, 3)]
    for named in (None, [0, 1, 2]):
        versions = [Seeds(reports, three, named=named) for three in threes]
        ends = [exit_status(judge(*pair)) for pair in itertools.permutations(versions, 2)]
        counts = {status: ends.count(status) for status in (0, 1, 2)}
        print(f"{SEEDS} trainings, {len(ends)} comparisons of versions, {'paired' if named else 'unpaired'}: {counts}")
        assert counts[1] <= 0.1 * len(ends)  # of 56, of which half mirror the others; 5% are expected at most


@pytest.mark.nightly
def test_two_percent_worse_is_found_as_often_as_is_told(trained):
    """Every one of eight versions against every other, whose losses are made 2% worse than they were."""
    reports = trained / "reports/seeds"
    threes = [range(start, start + 3) for start in range(0, SEEDS, 3)]
    for named in (None, [0, 1, 2]):
        found, told = [], []
        for before, now in itertools.permutations(threes, 2):
            pair = Seeds(reports, before, named=named), Seeds(reports, now, worse=math.log(1.02), named=named)
            (verdict,) = [verdict for verdict in judge(*pair) if verdict.power is not None]
            found.append(verdict.verdict == "regression")
            told.append(verdict.power)
        share, power = sum(found) / len(found), sum(told) / len(told)
        print(f"2% worse, {'paired' if named else 'unpaired'}: found in {share:.0%} of {len(found)}, power told {power:.2f}")
        assert abs(share - power) <= 0.25  # the versions are eight


@pytest.mark.nightly
def test_a_worse_model_is_refused_and_a_renamed_metric_is_not_judged(trained, tmp_path):
    """A tenth of the learning rate, the same seeds."""
    worse = ("--config", "studies={comparison: {seeds: [0, 1, 2]}}", "training={learning_rate: 0.0003}")
    project = shutil.copytree(trained, tmp_path / "project")
    done = snakemake(project, "--cores", "2", "reports/seeds/metrics.json", *worse, params=PARAMS)
    assert done.returncode == 0, done.stdout + done.stderr
    before = trained / "reports/seeds"
    verdicts = judge(Seeds(before, range(3)), Seeds(project / "reports/seeds", range(3)))
    assert exit_status(verdicts) == 1
    renamed = Seeds(before, range(3))
    renamed.metrics = lambda: {"pydocs": {"wavestack": {"nats_per_token": 5.6}, "wavestick": {"nats_per_token": 5.6}}}
    assert exit_status(judge(renamed, Seeds(before, range(3)))) == 2
