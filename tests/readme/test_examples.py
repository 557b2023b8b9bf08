"""What the README shows works as it stands there."""

import re
import sys
import textwrap
import types
from pathlib import Path

import pytest
import torch
import yaml

from wavestack import contract, registry
from wavestack.artifacts import read_json
from wavestack.params import ModelSpec
from wavestack.reading import load
from wavestack.schema import Budget, Corpus

README = Path("README.md").read_text(encoding="utf-8")
BEHIND = Path("reports/README.md").read_text(encoding="utf-8")  # what stands behind what the README says
STUDIES = Path("reports/findings-cpu/studies")
CORPORA = {"python-functions": "Python functions", "tinystories-excerpt": "TinyStories, an excerpt", "wikitext-2": "WikiText-2"}


def block_with(start: str) -> str:
    """The indented block of the README that contains `start`."""
    blocks = re.findall(r"(?:^(?:    .*)?\n)+", README, re.MULTILINE)
    (found,) = [block for block in blocks if start in block]
    return textwrap.dedent(found)


@pytest.fixture
def mean_lane(monkeypatch) -> type:
    """The lane of the README, registered as the README says."""
    module = types.ModuleType("readme_lane")
    exec(block_with("class Mean(Lane)"), module.__dict__)
    monkeypatch.setitem(sys.modules, "readme_lane", module)
    monkeypatch.setitem(registry.LANES, "mean", "readme_lane:Mean")
    return module.Mean


def test_the_lane_of_the_readme_is_a_lane(mean_lane):
    lane = mean_lane(4, 32)
    x = torch.randn(2, 30, 4)
    whole, _ = lane(x)
    torch.testing.assert_close(whole[:, 9], x[:, :10].mean(1))
    first, state = lane(x[:, :7])
    second, _ = lane(x[:, 7:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), whole)


@pytest.mark.usefixtures("mean_lane")
def test_the_lane_of_the_readme_passes_the_contract_in_a_model():
    spec = ModelSpec("wavestack", {"lanes": {"mean": {}}})
    findings = contract.check(spec, Budget(hidden=16, blocks=1, context=64, parameters=6000, tokens=1))
    assert all(finding.passed for finding in findings)


def test_the_corpus_of_the_readme_is_an_entry():
    (entry,) = yaml.safe_load(block_with("my-letters:")).values()
    assert Corpus.model_validate(entry).files.separator == "-----"


def test_files_and_profiles_that_the_readme_names_are_there():
    named = set(re.findall(r"params/[\w.-]+\.yaml|src/wavestack/[\w/]*(?:\.py)?|reports/report\.png|workflow/rules", README))
    assert {"params/quick.yaml", "params/smoke.yaml", "params/findings-cpu.yaml"} <= named
    assert not [name for name in named if not Path(name).exists()]
    for corpus in re.findall(r"`((?:tinystories|wikitext|codesearchnet)[\w-]*)`", README):
        assert corpus in load("params/smoke.yaml").corpora


def test_links_and_reports_that_are_named_are_there():
    pages = [("README.md", README), ("reports/README.md", BEHIND)]
    linked = [Path(page).parent / link for page, text in pages for link in re.findall(r"\]\(([^)#]+)\)", text)]
    assert {Path("reports/README.md"), Path("reports/../README.md")} <= set(linked)
    assert not [path for path in linked if not path.exists()]
    reports = set(re.findall(r"`reports/([\w-]+)/", README)) | set(re.findall(r"`([\w-]+)/[\w/]*`", BEHIND))
    assert {"findings-cpu", "gpu", "hybrids-cpu", "quick"} <= reports
    assert not [name for name in reports if not Path("reports", name).is_dir()]


@pytest.mark.parametrize(("study", "page"), [("test", README), ("comparison", BEHIND)])
def test_perplexities_are_those_of_the_split_that_is_named(study, page):
    found = read_json(STUDIES / f"{study}.json")
    perplexity = {(mean["corpus"], mean["spec"]): f"{mean['perplexity']:.1f}" for mean in found["means"]}
    differences = {(row["corpus"], row["against"]): row for row in found["differences"] if row["spec"] == "wavestack"}
    lower = {
        key: f"{-row['perplexity_percent']:.1f}% lower ({-row['high_percent']:.1f} to {-row['low_percent']:.1f})"
        for key, row in differences.items()
    }
    for corpus, name in CORPORA.items():
        cells = [name, perplexity[corpus, "wavestack"]]
        for other in ("transformer-convolution", "transformer"):
            cells += perplexity[corpus, other], lower[corpus, other]
        assert f"| {' | '.join(cells)} |" in page
    assert {row["verdict"] for row in differences.values()} == {"better"}  # as the README's first sentence says


def test_what_the_readme_says_of_each_lane_is_what_the_ablation_found():
    worths = {(row["corpus"], *row["lanes"]): row for row in read_json(STUDIES / "ablation.json")["worths"] if row["of"] == "lane"}
    for corpus in {corpus for corpus, _ in worths}:
        rows = [worths[corpus, lane] for lane in ("recall", "fourier", "lookup", "wavelet")]
        cells = [CORPORA[corpus], *(f"{row['nats_per_token']:.3f} ({row['low']:.3f} to {row['high']:.3f})" for row in rows)]
        assert f"| {' | '.join(cells)} |" in README
