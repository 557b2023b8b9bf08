"""Numbers about the published comparison and its audit in README.md and reports/README.md, made again from the audit."""

from pathlib import Path

import pytest

from tests.readme.pages import CPU, behind_it_says, readme_says, study
from wavestack.artifacts import read_json
from wavestack.report.sections.audit import at_the_end


def test_the_published_comparison_at_its_own_size():
    ladder = {row["mended"]: row for row in study("audit", "gpu")["rows"] if row["kind"] == "cumulative"}
    first, equal = ladder["as published"], ladder["parameters"]
    ours, theirs, mended = first["published_ours"], first["published_theirs"], equal["published_theirs"]
    readme_says(f"the transformer's loss is reproduced ({theirs:.2f}), WaveStack's is not ({ours:.2f}, published 0.73)")
    readme_says(
        f"it has {first['our_parameters'] / 1e6:.0f} million parameters there, and the transformer {first['their_parameters'] / 1e6:.0f}"
    )
    readme_says(f"With {first['our_parameters'] / 1e6:.0f} million, too, the transformer has {mended:.2f}")
    nats = f"{first['nats_ours']:.2f}, {first['nats_theirs']:.2f}, {equal['nats_theirs']:.2f}"
    behind_it_says(f"In nats a token: {nats}.")


def test_the_audit_row_by_row():
    """What changed nothing shares a row, or has none."""
    rungs = [row for row in study("audit")["rows"] if row["kind"] == "cumulative"]
    by_name = {row["mended"]: row for row in rungs}
    scoring = ("loss-unit", "padding-scored", "first-batches")
    assert all(abs(by_name[name]["change_gap"]) < 1e-3 for name in (*scoring, "stretched-bases"))
    section = Path("reports/README.md").read_text(encoding="utf-8").partition("## The published comparison, mended")[2]
    _, _, *table, plain, convolution = (line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|"))
    shown = [row for row in rungs if row["mended"] not in (*scoring[1:], "stretched-bases")]
    for line, row in zip(table, shown, strict=True):
        numbers = [f"{row['nats_ours']:.3f}", f"{row['nats_theirs']:.3f}", _with_ends(row, "nats")]
        told = "none" if row["mended"] in scoring else "" if row["change_gap"] is None else _with_ends(row, "change")
        assert [cell.strip() for cell in line.split("|")[2:6]] == [*numbers, told]
    text = study("audit")["text"]["tinystories-excerpt"]
    assert text["whole_rows"]
    whole = read_json(CPU / "tokens/tinystories-excerpt/manifest.json")["splits"]["valid"]
    of_how_many = f"{text['tokens']:,} of their {whole['tokens']:,} tokens"
    behind_it_says(f"all {whole['documents']} validation stories up to the context, {of_how_many}")
    for line, end in zip((plain, convolution), at_the_end(study("comparison"), "tinystories-excerpt", rungs[-1], tuned=True), strict=True):
        numbers = [f"{end['nats_ours']:.3f}", f"{end['nats_theirs']:.3f}", _with_ends(end, "nats"), ""]
        assert [cell.strip() for cell in line.split("|")[2:6]] == numbers


def _with_ends(row, unit: str) -> str:
    gap, low, high = (f"{row[f'{unit}_{which}']:+.3f}" for which in ("gap", "low", "high"))
    return f"{gap} ({low} to {high})"


def test_what_the_audit_says():
    rows = {(row["kind"], row["mended"]): row for row in study("audit")["rows"]}
    first, equal, rows_full, modern, stacked, last = (
        rows["cumulative", name] for name in ("as published", "parameters", "rows", "weak-baseline", "one-block", "lanes")
    )
    readme_says(f"{first['nats_ours']:.2f} against {first['nats_theirs']:.2f} nats a token, with 665,000 against 387,000 parameters")
    assert [first[f"{whose}_parameters"] // 1000 for whose in ("our", "their")] == [665, 387]
    readme_says(
        f"with as many by {-equal['nats_gap']:.2f}, and both trained as is usual today on all stories by {-rows_full['nats_gap']:.2f}"
    )
    readme_says(f"ahead of it by {modern['nats_gap']:.2f} ({modern['nats_low']:.2f} to {modern['nats_high']:.2f})")
    readme_says(f"ahead by {-stacked['nats_gap']:.2f} ({-stacked['nats_high']:.2f} to {-stacked['nats_low']:.2f})")
    readme_says(f"today's lanes by {-last['nats_gap']:.2f}")
    behind_it_says(f"in the published unit as well: {first['published_ours']:.2f} against {first['published_theirs']:.2f}")
    assert all(gap < 0 for gap in (*first["nats_gaps"], *first["published_gaps"]))
    assert equal["change_gap"] / -first["nats_gap"] == pytest.approx(1 / 3, abs=0.02)
    assert [modern[f"{whose}_non_embedding_parameters"] // 1000 for whose in ("their", "our")] == [468, 272]  # 468,832
    for name, words in (("optimiser", "closes the gap by {:.3f}, and after others opens it by {:.3f}"),
                        ("few-documents", "alone open it by {:.3f}, and after others close it by {:.3f}")):  # fmt: skip
        alone, after = rows["alone", name]["change_gap"], rows["cumulative", name]["change_gap"]
        assert alone * after < 0
        behind_it_says(words.format(abs(alone), abs(after)))
