"""Figures: the same bytes for the same numbers, every failure drawn, and safe to put side by side on one page."""

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace

import pytest
from matplotlib.figure import Figure
from synthetic import length_row, run_row, swept, worth

from wavestack.params import Run
from wavestack.report import length_figure
from wavestack.report.panel import DARK_PALETTE, MARKERS, PALETTE, file_name, looks
from wavestack.report.sections import ablation, audit, comparison, complementarity, curves, lengths, slices, tuning, worths
from wavestack.report.sections.curves import Curve

LOOKS = looks(["wavestack", "transformer"])
LANES = {"lanes=none": (), "lanes=fourier": ("fourier",), "base": ("fourier", "wavelet")}


def rows(diverged: bool = False) -> list[dict]:
    runs = [Run("pydocs", spec, "tiny", "base", seed) for spec in LOOKS for seed in (0, 1)]
    return [run_row(run, diverged and run.seed == 1) for run in runs]


def draw_comparison(path: Path) -> str:
    return comparison.figure(path, "pydocs", rows(diverged=True), LOOKS)


def draw_curves(path: Path) -> str:
    lines = [Curve(spec, 1, [0, 100, 200], [7.6, 5.0, 4.5], spec == "transformer") for spec in LOOKS]
    return curves.figure(path, "pydocs", lines, LOOKS)


def draw_gaps(path: Path) -> str:
    lines = [Curve(spec, seed, [0, 100, 200], [7.6, 5.0 + seed, 4.5 - 0.1 * seed], False) for spec in LOOKS for seed in (0, 1, 2)]
    return curves.gap_figure(path, "pydocs", "wavestack", lines, LOOKS)


def draw_ablation(path: Path) -> str:
    found = [run_row(Run("pydocs", "wavestack", "tiny", variant, 0), variant == "lanes=fourier") for variant in LANES]
    reference = {"transformer": (4.2, LOOKS["transformer"])}
    return ablation.figure(path, "pydocs", found, LANES, ("fourier", "wavelet"), LOOKS["wavestack"], reference)


def draw_lengths(path: Path) -> str:
    found = [length_row(spec, length) for spec in LOOKS for length in (256, 4096, 16384)]
    measure = lambda row: (row["peak_bytes"],) * 3 if row["status"] == "ok" else None  # noqa: E731
    return length_figure.figure(path, "memory", found, measure, LOOKS, {"wavestack": math.sqrt}, [("transformer", 2048)])


def draw_worths(path: Path) -> str:
    lost = worth("pydocs", ("wavelet",), 0.0, [0]) | {"nats": None, "nats_per_token": None}
    found = [worth("pydocs", ("fourier",), 0.25, [0, 1, 2], low=0.125), worth("pydocs", ("fourier", "wavelet"), -0.5, [0]), lost]
    return worths.figure(path, "pydocs", found, LOOKS["wavestack"])


def rung(kind: str, gap: float | None, low: float | None = None) -> dict:
    high = None if gap is None or low is None else 2 * gap - low
    return {"kind": kind, "nats_gap": gap, "nats_gaps": None if gap is None else [gap, gap], "nats_low": low, "nats_high": high}


def draw_audit(path: Path) -> str:
    found = [rung("cumulative", -0.3, low=-0.4), rung("cumulative", 0.1), rung("alone", -0.2), rung("alone", None)]
    return audit.figure(path, "pydocs", "nats", "nats per token", found, ["as published", "+ a", "a alone", "b alone"])


def draw_tuning(path: Path) -> str:
    choices = [{"spec": "wavestack", "expected_best": [None, 3.2, 3.1]}, {"spec": "transformer", "expected_best": [3.4, 3.3, 3.2]}]
    return tuning.figure(path, "pydocs", choices, LOOKS)


def draw_slices(path: Path) -> str:
    found = [{"spec": spec, "least": least, "nats_per_token": 3.0 + 0.1 * least} for spec in LOOKS for least in (0, 1, 2, 4, 8)]
    return slices.figure(path, "pydocs", "tokens back", found, LOOKS)


DRAWN = (draw_comparison, draw_curves, draw_gaps, draw_ablation, draw_lengths, draw_worths, draw_audit, draw_tuning, draw_slices)


@pytest.mark.parametrize("draw", DRAWN)
def test_bytes_are_the_same_again(draw, tmp_path):
    inline = [draw(tmp_path / folder / "figure.svg") for folder in ("one", "two")]
    assert inline[0] == inline[1]
    assert (tmp_path / "one/figure.svg").read_bytes() == (tmp_path / "two/figure.svg").read_bytes()


@pytest.mark.parametrize("draw", DRAWN)
def test_files_are_xml_without_a_date(draw, tmp_path):
    draw(tmp_path / "figure.svg")
    text = (tmp_path / "figure.svg").read_text()
    ElementTree.fromstring(text)
    assert "dc:date" not in text


def test_ids_on_one_page_are_distinct_and_every_reference_is_met(tmp_path):
    page = "".join(draw(tmp_path / f"figure{i}.svg") for i, draw in enumerate(DRAWN))
    page += draw_comparison(tmp_path / "figure9.svg")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page))
    assert references
    assert references <= set(ids)


def test_inline_colours_follow_the_page(tmp_path):
    inline = draw_comparison(tmp_path / "figure.svg")
    assert "var(--spec-0)" in inline
    assert "var(--spec-1)" in inline
    assert not re.search("#[0-9a-f]{6}", inline)
    assert LOOKS["wavestack"].colour in (tmp_path / "figure.svg").read_text()


def test_every_seed_is_a_point(tmp_path):
    comparison.figure(tmp_path / "two.svg", "pydocs", rows(), LOOKS)
    comparison.figure(tmp_path / "one.svg", "pydocs", [row for row in rows() if row["seed"] == 0], LOOKS)
    markers = [(tmp_path / name).read_text().count("<use ") for name in ("one.svg", "two.svg")]
    assert markers[1] > markers[0]


def test_every_rung_is_a_row_and_a_lost_one_a_cross(tmp_path):
    text = draw_audit(tmp_path / "a.svg")
    for name in ("as published", "+ a", "a alone", "b alone"):
        assert f">{name}</text>" in text
    found = [rung("cumulative", -0.3), rung("cumulative", 0.1)]
    whole = audit.figure(tmp_path / "b.svg", "pydocs", "nats", "nats", found, ["a", "b"])
    lost = audit.figure(tmp_path / "c.svg", "pydocs", "nats", "nats", [found[0], rung("cumulative", None)], ["a", "b"])
    assert whole.count("<use ") > lost.count("<use ")


def test_gaps_are_of_pairs_of_a_seed(tmp_path):
    """Ours is 0.5 behind at 100 tokens and 0.25 ahead at 200; a seed of one model alone, or that diverged, is left out."""
    ours = [Curve("wavestack", seed, [0, 100, 200], [7.0, 5.5 + seed, 4.0], False) for seed in (0, 1, 2, 3)]
    theirs = [Curve("transformer", seed, [0, 100, 200, 300], [7.5, 5.0 + seed, 4.25, 4.0], seed == 2) for seed in (0, 1, 2)]
    gaps = curves.gaps_by_seed([*ours, *theirs], "wavestack", "transformer")
    assert [gap.to_dict() for gap in gaps] == 2 * [{100: 0.5, 200: -0.25}]
    wide = [curve if curve.seed else Curve(curve.spec, 0, curve.tokens, [nats - 1 for nats in curve.nats], False) for curve in ours]
    drawn = [curves.gap_figure(tmp_path / "a.svg", "pydocs", "wavestack", [*ours, *theirs[:2]], LOOKS)]
    drawn.append(
        curves.gap_figure(
            tmp_path / "b.svg", "pydocs", "wavestack", [*wide, *theirs, Curve("transformer", 3, [0, 100, 200], [7, 5, 4], False)], LOOKS
        )
    )
    assert ["PolyCollection" in text for text in drawn] == [False, True]  # from three pairs on there is a band
    assert "wavestack − transformer" in drawn[0]


def test_tuning_begins_where_a_loss_is_sure(tmp_path):
    """The expected loss of one trial is unknown where one of the trials diverged: there is no point for it, and its line begins at two."""
    points, frame = [], {"spec": "transformer", "expected_best": [3.4, 3.2, 3.0]}  # beyond all others: the same ticks for all
    for expected in ([3.3, 3.2, 3.1], [None, 3.2, 3.1], [None, None, 3.1]):
        text = tuning.figure(tmp_path / "a.svg", "pydocs", [{"spec": "wavestack", "expected_best": expected}, frame], LOOKS)
        points.append(text.count("<use "))
    assert [points[0] - points[1], points[1] - points[2]] == [1, 1]


def test_failures_are_named_in_the_figure(tmp_path):
    assert "seed 1 diverged" in draw_comparison(tmp_path / "a.svg")
    assert "seed 1 diverged" in draw_curves(tmp_path / "b.svg")
    assert "seed 0 diverged" in draw_ablation(tmp_path / "c.svg")
    assert "out of memory" in draw_lengths(tmp_path / "d.svg")


def test_nothing_but_failures_can_be_drawn(tmp_path):
    failed = [run_row(Run("pydocs", spec, "tiny", "base", 0), diverged=True) for spec in LOOKS]
    assert "diverged" in comparison.figure(tmp_path / "a.svg", "pydocs", failed, LOOKS)
    assert curves.figure(tmp_path / "b.svg", "pydocs", [Curve("wavestack", 0, [], [], True)], LOOKS)
    found = [length_row("transformer", 16384)]
    assert "out of memory" in length_figure.figure(tmp_path / "c.svg", "speed", found, lambda row: None, LOOKS)


def test_a_fitted_curve_goes_through_the_middle_of_its_points(tmp_path):
    """Whatever its factor; and a straight line without a constant is the power law of exponent 1."""

    def drawn(curve) -> str:
        found = [length_row("wavestack", length) for length in (256, 4096, 16384)]
        return length_figure.figure(
            tmp_path / "a.svg", "seconds", found, lambda row: (row["seconds_median"],) * 3, LOOKS, {"wavestack": curve}
        )

    straight = drawn(lambda length: length)
    assert drawn(lambda length: 1024 * length) == straight
    assert drawn(lambda length: length**2) != straight
    assert drawn(lengths._power_law(1)) == drawn(lengths._polynomial([0.0, 1.0])) == straight


def test_curves_are_the_chosen_ones_and_power_laws_where_none_was_chosen():
    content = swept("training")
    chosen = lengths._curves(content, "time")["wavestack"]
    assert chosen(10) == pytest.approx(1.0 + 0.5 * 10)
    assert lengths._per_token(chosen)(10) == pytest.approx(0.6)
    assert lengths._curves(content, "memory")["wavestack"](10) == pytest.approx(10**1.01)


def test_a_name_is_text_and_no_path_or_markup(tmp_path):
    inline = comparison.figure(tmp_path / file_name("a", "<script>/../$x$"), "<script>$x$", rows(), LOOKS)
    assert "<script>" not in inline
    assert "&lt;script&gt;$x$" in inline
    assert [path.name for path in tmp_path.iterdir()] == ["a-_script_.._x_.svg"]


def test_looks_are_stable_and_distinct():
    assert [look.colour for look in LOOKS.values()] == list(PALETTE[:2])
    assert len(set(PALETTE)) == len(DARK_PALETTE) == len(MARKERS)


def test_a_lane_of_some_blocks_stands_in_its_own_row_and_weighs_nothing_where_it_is_not(tmp_path, monkeypatch):
    """Attention is in the second block alone, before wavelet; likeness of the n-th and the m-th name is 0.n + m / 100."""
    blocks = [
        {"block": number, "names": names, "cka": [[n / 10 + m / 100 for m in range(len(names))] for n in range(len(names))]}
        for number, names in enumerate((["input", "fourier", "wavelet"], ["input", "fourier", "attention", "wavelet"]))
    ]
    drawn = []
    monkeypatch.setattr(complementarity, "panel", lambda path, width, height, paint: drawn.append(paint) or "")
    complementarity.alignment_figure(tmp_path / "likeness.svg", "pydocs", blocks)
    axes = Figure().subplots()
    drawn[0](axes)
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows == ["input", "fourier", "wavelet", "attention"]
    start = len(rows) + 0.7  # of the second block
    told = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert ((2.5, 2.5), "0.22") in told  # wavelet with itself, in the first block
    for first, second, alike in (("attention", "attention", "0.22"), ("wavelet", "attention", "0.32"), ("wavelet", "wavelet", "0.33")):
        x, y = sorted((rows.index(first), rows.index(second)))
        assert ((start + x + 0.5, y + 0.5), alike) in told

    lanes = {"fourier": (0.5, 0.25), "wavelet": (0.5, 0.25), "attention": (None, 0.5)}
    for number, block in enumerate(blocks):
        part = {"tokens": 9, "lanes": {lane: weights[number] for lane, weights in lanes.items() if weights[number] is not None}}
        block |= {"weights": part, "by_class": [part | {"class": "letters"}], "by_octave": [part | {"least": 1}]}
    context = SimpleNamespace(figures=SimpleNamespace(path=lambda *names: tmp_path / "-".join(names)))
    shown = []
    monkeypatch.setattr(complementarity, "weights_figure", lambda path, title, names, weights: shown.append(weights) or "")
    complementarity._weights_figures(context, "pydocs", blocks)
    depth, by_class, by_octave = shown
    assert depth["fourier"] == [0.5, 0.25]
    assert math.isnan(depth["attention"][0])
    assert by_class == by_octave == {"fourier": [0.375], "wavelet": [0.375], "attention": [0.5]}
