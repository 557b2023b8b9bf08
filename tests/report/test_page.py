"""The page: complete, self-contained, the same bytes for the same results, and honest about what is not there."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from math import exp

import pytest
from synthetic import make_parameters, opened, write_results

from wavestack.artifacts import read_json, write_json
from wavestack.openings import record
from wavestack.params import Run
from wavestack.report.page import write_report
from wavestack.report.sections.contract import CHECKS
from wavestack.schema import Tuning
from wavestack.studies.claims import CLAIMS

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Tags(HTMLParser):
    """Every tag with its attributes; refuses ones that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def results(tmp_path):
    """Writes results for chosen parameters; returns both."""

    def write(diverged=(), **choices):
        parameters = make_parameters(**choices)
        write_results(parameters, tmp_path / "quick", diverged)
        return parameters, tmp_path / "quick"

    return write


def written(parameters, reports) -> str:
    write_report(parameters, reports)
    return (reports / "index.html").read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    return page.partition(f'<section id="{name}">')[2].partition("</section>")[0]


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """A folder with every result and its page, only to be read."""
    parameters, reports = make_parameters(), tmp_path_factory.mktemp("complete") / "quick"
    write_results(parameters, reports)
    write_report(parameters, reports)
    return reports


@pytest.fixture
def page(complete) -> str:
    return (complete / "index.html").read_text(encoding="utf-8")


def test_page_shows_the_numbers_of_the_files(results):
    parameters, reports = results(ablation=False, lengths=False)
    path = reports / "studies/comparison.json"
    content = read_json(path)
    content["rows"][0]["nats_per_token"] = 3.14159
    content["means"][0]["perplexity"] = 1234.567
    content["differences"][0] |= {"perplexity_percent": -12.345, "nats": [0.11111, -0.22222]}
    write_json(path, content)
    text = written(parameters, reports)
    for number in ("3.1416", "1,234.57", "−12.3% perplexity", "+0.1111 (seed 0), −0.2222 (seed 1)"):
        assert number in text
    assert text.count("Undecided: 2 seeds give points, no interval.") == 2


def test_page_and_figures_are_the_same_bytes_again(results):
    parameters, reports = results()
    before = written(parameters, reports)
    drawn = {path.name: path.read_bytes() for path in (reports / "figures").iterdir()}
    assert written(parameters, reports) == before
    assert {path.name: path.read_bytes() for path in (reports / "figures").iterdir()} == drawn
    of_corpora = ("comparison", "curves", "gaps", "slices-seen", "slices-count", "slices-back")
    expected = {f"{figure}-{corpus}.svg" for figure in of_corpora for corpus in ("pydocs", "pycode")}
    assert set(drawn) == expected | {
        "ablation-pydocs.svg",
        "worths-pydocs.svg",
        "lengths-training-cpu-float32-tokens4096-time.svg",
        "lengths-training-cpu-float32-tokens4096-memory.svg",
    }


def test_old_figures_go(results):
    parameters, reports = results(corpora=("pydocs",), ablation=False, lengths=False)
    (reports / "figures").mkdir()
    (reports / "figures/comparison-gone.svg").write_text("<svg/>")
    write_report(parameters, reports)
    assert not (reports / "figures/comparison-gone.svg").exists()


def test_page_is_well_formed_and_loads_nothing(page):
    parser = Tags()
    parser.feed(page)
    assert parser.open == []
    assert not {tag for tag, _ in parser.tags} & {"script", "img", "link", "iframe", "object"}
    targets = [attributes[key] for _, attributes in parser.tags for key in ("src", "href", "xlink:href") if key in attributes]
    assert targets
    assert not [target for target in targets if re.match(r"(https?:)?//", target)]
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_links_inside_the_page_and_to_raw_files_lead_somewhere(page, complete):
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    for target in re.findall(r'<a href="([^"]+)"', page):
        assert target.removeprefix("#") in ids if target.startswith("#") else (complete / target).exists()


def test_ids_are_distinct(page):
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_diverged_runs_and_failed_measurements_are_shown_with_their_reasons(results):
    diverged = (Run("pycode", "transformer", "tiny", "base", 1), Run("pydocs", "wavestack", "tiny", "lanes=fourier", 0))
    text = written(*results(diverged=diverged))
    assert "pycode/transformer/tiny/base/seed1: diverged: loss is nan at step 301" in section(text, "comparison")
    assert "seed 1 diverged" in section(text, "curves")
    assert "pydocs/wavestack/tiny/lanes=fourier/seed0: diverged: loss is nan at step 301" in section(text, "ablation")
    assert "no difference known. Undecided: a run is missing or diverged." in text
    assert "out_of_memory: killed" in section(text, "lengths")


def test_markup_in_names_and_reasons_is_text(results):
    text = written(
        *results(corpora=("<script>alert(2)<", "pycode"), ablation=False, diverged=(Run("pycode", "transformer", "tiny", "base", 0),))
    )
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "&lt;script&gt;alert(2)" in text
    assert "killed &lt;b&gt;hard&lt;/b&gt;" in text


def test_a_profile_without_ablation_and_lengths_says_so(results):
    text = written(*results(ablation=False, lengths=False))
    absent = "Tuning; Calibration; The published comparison, mended; Lanes, and what is left without them"
    absent += "; What trained lanes do; Quality against size; Sequence length"
    assert f"Not part of this profile: {absent}." in text
    for name in ("ablation", "lengths"):
        assert f'id="{name}"' not in text


def test_nothing_of_a_complete_folder_is_said_to_be_missing(page):
    assert not re.search("missing", page, re.IGNORECASE)


def test_what_is_missing_is_said_to_be_missing(results):
    parameters, reports = results()
    told = {
        "studies/ablation.json": ("ablation", "Missing: studies/ablation.json does not exist"),
        "studies/lengths.json": ("lengths", "Missing: studies/lengths.json does not exist"),
        "budget/ledger.json": ("ledger", "Missing: budget/ledger.json does not exist"),
        "contract/transformer/tiny/base.json": ("contract", "transformer/tiny/base: missing"),
        "corpora/pydocs/manifest.json": ("corpora", "corpora/pydocs/manifest.json: missing"),
        "tokens/pycode/manifest.json": ("corpora", "tokens/pycode/manifest.json: missing"),
        "runs/pydocs/wavestack/tiny/base/seed1/curve.csv": ("curves", "missing: no curve.csv"),
        "studies/comparison.provenance.json": ("comparison", "studies/comparison.provenance.json: missing"),
    }
    for file in told:
        (reports / file).unlink()
    text = written(parameters, reports)
    for name, words in told.values():
        assert words in section(text, name)
    assert re.search(r"Of \d+ steps 1 left no provenance", text)


def test_an_empty_folder_gives_a_page_of_what_is_missing(tmp_path):
    text = written(make_parameters(), tmp_path / "quick")
    assert "Missing: studies/comparison.json does not exist" in text
    assert "The difference is missing." in text
    assert "No provenance was found." in text
    assert "No benchmark was run" in section(text, "speed")


def test_a_broken_result_is_an_error_that_names_the_file(results):
    parameters, reports = results(corpora=("pydocs",), ablation=False, lengths=False)
    curve = reports / "runs/pydocs/wavestack/tiny/base/seed1/curve.csv"
    curve.write_text("nothing\n")
    with pytest.raises(ValueError, match=r"seed1/curve\.csv"):
        write_report(parameters, reports)
    (reports / "studies/comparison.json").write_text("{")
    with pytest.raises(ValueError, match=r"comparison\.json"):
        write_report(parameters, reports)


def test_benchmarks_stand_in_the_page_with_what_made_them(page):
    speed = section(page, "speed")
    for words in ("0.80 × as fast", "at least 0.9", "missed", "3.20 × as fast", ">met<", "1.50 × as much", "3.00 MiB"):
        assert words in speed
    assert "What block compares. Threads: 1 and 2. Repeats: 7." in speed
    assert "../benchmarks/memory" in speed.partition("<summary>Provenance: 2 steps")[2]


def test_a_benchmark_that_is_broken_or_lacks_a_column_is_named(results):
    parameters, reports = results(corpora=("pydocs",), ablation=False, lengths=False)
    path = reports.parent / "benchmarks/block.csv"
    for text in ("case,length\nx,1\n", "", '"'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"block\.csv is no benchmark"):
            write_report(parameters, reports)


def test_a_benchmark_without_its_provenance_says_so(results):
    parameters, reports = results(corpora=("pydocs",), ablation=False, lengths=False)
    (reports.parent / "benchmarks/block.provenance.json").unlink()
    assert "../benchmarks/block.provenance.json: missing" in section(written(parameters, reports), "speed")


def test_contracts_show_every_check_in_both_precisions(page):
    contract = section(page, "contract")
    for words in (*CHECKS, "holds 2.1e-07", "holds 3.4e-03", "holds 0", "float32", "bfloat16"):
        assert words in contract


def test_uncommitted_changes_are_marked(page):
    # 8 runs, each trained and evaluated, and the study itself: 17 steps; the four trainings of seed 1 had uncommitted changes
    assert "uncommitted changes in 4 of 17" in section(page, "comparison")
    assert "5ca1ab1e5c + uncommitted changes" in page
    assert "feedc0de12345678" in page
    assert "wavestack train --profile quick" in page
    assert "Test CPU" in page


def test_the_first_screen_has_every_claim_with_its_verdict(page):
    first, _, rest = page.partition("<main>")
    assert first.count('<dt class="') == len(CLAIMS)
    for claim in CLAIMS:
        assert claim.text.replace("'", "&#39;") in first
    assert '<dt class="undecided">undecided</dt>' in first
    assert "it takes a comparison of a stack of lanes with the transformer on TinyStories" in first
    assert "too few seeds or documents for an interval" in section(rest, "findings")


def test_sizes_at_equal_size_at_equal_flops_and_what_they_cost(results):
    text = section(written(*results(sizes=True, lengths=False)), "sizes")
    differences = (
        "wavestack − transformer",
        "−0.1250 (seed 0)",
        "−11.8%",
        "−20.2 to −2.5%",
        "97.5%",
        ">better<",
        "undecided: a run is missing or diverged",
    )
    for words in (*differences, "7.5e+12", "−22.1%"):
        assert words in text
    assert text.count(">25.0%<") == text.count(">10.0%<") == 2  # of two models' forward pass


def test_what_trained_lanes_do(results):
    parameters, reports = results(complementarity=True, lengths=False)
    text = section(written(parameters, reports), "complementarity")
    for words in ("without fourier", "+0.2500 (seed 0), +0.2500 (seed 1)", "+0.1250 to +0.3750", "digits", "50.0%", "0.375", "1.88"):
        assert words in text
    assert text.count(">0.75</text>") == 1  # of the second block; the first has 0.00 there
    assert text.count(">0.50</text>") == 2


def test_weights_are_left_out_where_a_mixer_has_none(results):
    parameters, reports = results(complementarity=True, lengths=False)
    path = reports / "studies/complementarity.json"
    content = read_json(path)
    content["blocks"] = [{key: block[key] for key in ("corpus", "block", "names", "cka")} for block in content["blocks"]]
    write_json(path, content)
    text = section(written(parameters, reports), "complementarity")
    assert "how alike lanes are" in text
    assert "what lanes count" not in text


def test_a_corpus_that_was_asked_for_later_is_missing(results):
    parameters, reports = results(complementarity=True, lengths=False)
    parameters.profile.studies.complementarity.corpora.append("pycode")
    text = section(written(parameters, reports), "complementarity")
    assert "pycode: without a lane" in text
    assert "Missing." in text


def test_a_model_that_was_tuned_and_compared_nowhere_has_a_colour(results):
    parameters, reports = results(ablation=False, lengths=False)
    trials = [{"learning_rate": 0.01, "weight_decay": 0.1, "dropout": 0.0}]
    asked = {"corpora": ["pydocs"], "specs": ["state-space"], "budget": "tiny", "seeds": [0], "trials": trials}
    studies = parameters.profile.studies.model_copy(update={"tuning": Tuning.model_validate(asked)})
    parameters = replace(parameters, profile=parameters.profile.model_copy(update={"studies": studies}))
    tried = [trials[0] | {"seeds": 1, "nats_per_token": 3.5, "status": "ok", "reason": None}]
    found = {"corpus": "pydocs", "spec": "state-space", "trials": tried, "chosen": trials[0], "at_the_edge": [], "expected_best": [3.5]}
    write_json(reports / "studies/tuning.json", {"choices": [found]})
    assert "state-space" in section(written(parameters, reports), "tuning")


def test_openings_of_the_test_split_are_counted(results):
    parameters, reports = results(ablation=False, lengths=False)
    assert "the test split is closed." in written(parameters, reports)
    for run, mark in (("pydocs/wavestack/tiny/base/seed0", "a"), ("pydocs/wavestack/tiny/base/seed0", "b"), ("pydocs/x/y/base/seed0", "b")):
        record(reports.parent / "openings.csv", "quick", run, mark, None)
    text = written(parameters, reports)
    assert "the test split of pydocs was opened 3 times, to 3 models" in text
    assert "the test split is closed" not in text


def test_where_the_test_split_was_opened_it_is_what_counts(results):
    parameters, reports = results(ablation=False, lengths=False)
    before = written(parameters, reports)
    opened(parameters, reports)
    text = written(parameters, reports)
    validated, tested = f"{exp(4.2625):.2f}", f"{exp(4.2625 - 0.5):.2f}"
    cards = [page[page.index('<ul class="cards">') : page.index("</ul>")] for page in (before, text)]
    assert [(validated in card, tested in card, "+12.5%" in card) for card in cards] == [(True, False, False), (False, True, True)]
    assert ("whole test split" in before, "whole test split" in text, "whole validation split" in text) == (False, True, False)
    shown = section(text, "comparison")
    assert validated in shown
    assert tested in shown
    assert "Differences on the test split" in shown
    assert "pycode: test split" in shown
    assert "pycode: test split" not in section(before, "comparison")


@pytest.mark.parametrize("changed", ["model", "checkpoint", "study"])
def test_a_test_of_other_models_is_not_shown(results, changed):
    """Of older code, of a training since replaced, or of fewer corpora: the results stay, and the page tells of the validation split."""
    parameters, reports = results(ablation=False, lengths=False)
    before = written(parameters, reports)
    opened(parameters, reports)
    assert written(parameters, reports) != before
    last = reports / "runs" / str(parameters.comparison_runs()[-1])
    path = {"study": reports / "studies", "model": last, "checkpoint": last}[changed] / "test.provenance.json"
    key, value = ("inputs", {"best.json": "another"}) if changed == "checkpoint" else ("fingerprint", "of older code")
    write_json(path, {**read_json(path), key: value})
    assert written(parameters, reports) == before


def test_limits_are_stated(page):
    for words in ("What this does not show", "validation split", "test split is closed", "800,000 parameters", "2\nseeds"):
        assert words in page
