"""The rungs of the audit, and what they say in two units."""

import math

import pandas
import pytest
from scipy import stats

from wavestack.artifacts import write_json
from wavestack.reading import load
from wavestack.studies.audit import write_audit

AUDIT = (
    "studies.audit={corpora: [pydocs], ours: reference, theirs: reference-transformer, budget: tiny, seeds: [0, 1, 2],"
    " training: {rows: documents, padding: true, documents: 100}, replay: {batch: 2, batches: 1}, tokens: 9, mends: ["
    "{name: padding-trained, training: {padding: false}}, {name: padding-scored, replay: {padding: false}},"
    " {name: scale, replay: {scale: 1.0}}, {name: baseline, theirs: transformer}]}"
)


def test_the_rungs_of_the_audit():
    parameters = load("params/smoke.yaml", [AUDIT])
    rungs = parameters.rungs()
    assert [(rung.kind, rung.name) for rung in rungs] == [
        ("cumulative", "as published"), ("cumulative", "padding-trained"), ("cumulative", "padding-scored"), ("cumulative", "scale"),
        ("cumulative", "baseline"), ("alone", "padding-trained"), ("alone", "padding-scored"), ("alone", "scale"), ("alone", "baseline"),
    ]  # fmt: skip
    assert [rung.variant for rung in rungs[:3]] == ["mended=none", "mended=padding-trained", "mended=padding-trained"]
    assert (rungs[4].ours, rungs[4].theirs, rungs[4].replay.scale, rungs[4].replay.padding) == ("reference", "transformer", 1.0, False)
    assert (rungs[7].variant, rungs[7].replay.scale, rungs[7].replay.padding) == ("mended=none", 1.0, True)
    assert [rung.name for rung in load("params/smoke.yaml", [AUDIT.replace("scale: 1.0}", "scale: 1.0}, alone: false")]).rungs()][5:] == [
        "padding-trained", "padding-scored", "baseline"
    ]  # fmt: skip
    # three models with padding and without, three seeds each: what is scored otherwise is trained once
    assert len(parameters.audit_runs()) == 3 * 2 * 3
    published, mended = (parameters.training(rungs[place].runs("pydocs", [0])[0][0]) for place in (0, 1))
    assert (published.padding, mended.padding, published.documents, published.learning_rate) == (True, False, 100, 0.003)


def replayed(folder, run, nats, padding, lost=False):
    """Three rows of 10 tokens of text and 30 of padding each; text and padding cost so many nats a token."""
    row = {"document": [0, 1, 2], "text_nats": [10 * nats] * 3, "text_tokens": [10] * 3}
    row |= {"padding_nats": [30 * padding] * 3, "padding_tokens": [30] * 3, "compared_nats": [8 * nats] * 3, "compared_tokens": [8] * 3}
    rows = pandas.concat([pandas.DataFrame(row).assign(split=split) for split in ("valid", "held out")])
    (folder / "measures" / str(run)).mkdir(parents=True, exist_ok=True)
    rows.to_parquet(folder / "measures" / str(run) / "rows.parquet")
    summary = {"status": "ok", "reason": None, "parameters": 1000, "non_embedding_parameters": 400}
    write_json(folder / "runs" / str(run) / "replay.json", summary)
    status = {"status": "diverged", "reason": "nan"} if lost else {"status": "ok", "reason": None}
    write_json(folder / "runs" / str(run) / "training.json", status)


def test_padding_that_is_scored_turns_the_order_round(tmp_path):
    """Ours is worse on text by 0.2 nats, and better on padding, of which there is three times as much."""
    parameters = load("params/smoke.yaml", [AUDIT])
    for run in parameters.audit_runs():
        ours = run.spec == "reference"
        replayed(tmp_path, run, 3.2 if ours else 3.0 + 0.001 * run.seed, 0.1 if ours else 0.5)
    rows = write_audit(parameters, tmp_path, tmp_path)["rows"]
    first, scored, scale = rows[0], rows[2], rows[3]
    assert first["published_ours"] == first["held_out_ours"] == pytest.approx(0.7 * (3.2 + 3 * 0.1) / 4)
    assert first["published_theirs"] == pytest.approx(0.7 * (3.001 + 3 * 0.5) / 4)
    assert first["published_gap"] < first["published_high"] < 0 < first["nats_low"] < first["nats_gap"]
    assert scored["published_gap"] == pytest.approx(0.7 * 0.199)
    assert [scale["published_gap"], scale["nats_gap"]] == pytest.approx([0.199, 0.199])
    table = pandas.read_csv(tmp_path / "studies" / "audit.csv")
    assert table["mended"].tolist()[:2] == ["as published", "padding-trained"]


def test_the_published_unit_is_uncertain_over_batches_too(tmp_path):
    """Seeds that agree, and three batches whose gaps are 0.1, 0.2 and 0.3: by hand, a standard error of 0.1 / sqrt(3) of their mean."""
    parameters = load("params/smoke.yaml", [AUDIT.replace("{batch: 2, batches: 1}", "{batch: 1, batches: 3, padding: false, scale: 0.5}")])
    for run in parameters.audit_runs():
        replayed(tmp_path, run, 3.0, 0.1)
        if run.spec == "reference":
            path = tmp_path / "measures" / str(run) / "rows.parquet"
            rows = pandas.read_parquet(path)
            rows.assign(text_nats=rows["text_nats"] + 1.0 + rows["document"]).to_parquet(path)
    first = write_audit(parameters, tmp_path, tmp_path)["rows"][0]
    reach = 0.5 * stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert [first["published_low"], first["published_gap"], first["published_high"]] == pytest.approx([0.1 - reach, 0.1, 0.1 + reach])


def test_a_rung_with_a_diverged_run_has_no_gap_and_a_reason(tmp_path):
    parameters = load("params/smoke.yaml", [AUDIT])
    for run in parameters.audit_runs():
        replayed(tmp_path, run, 3.0, 0.1, lost=run.spec == "transformer" and run.seed == 1)
    rows = write_audit(parameters, tmp_path, tmp_path)["rows"]
    assert rows[0]["nats_gap"] == 0
    assert [row["change_gap"] for row in rows] == [None, 0, 0, 0, None, 0, 0, 0, None]
    assert (rows[-1]["mended"], rows[-1]["nats_gap"]) == ("baseline", None)
    assert rows[-1]["reason"].endswith("seed1 diverged: nan")


def test_a_change_is_held_against_the_row_before_and_one_alone_against_the_first(tmp_path):
    """Ours has 2.0 nats, theirs 3.0, 2.5 where padding is not trained on, and 2.2 the better baseline: all seeds shift alike."""
    parameters = load("params/smoke.yaml", [AUDIT])
    nats = {"reference": 2.0, "reference-transformer": 3.0, "transformer": 2.2}
    for run in parameters.audit_runs():
        mended = run.variant != "mended=none" and run.spec == "reference-transformer"
        replayed(tmp_path, run, nats[run.spec] - 0.5 * mended + 0.1 * run.seed * (run.spec == "reference"), 0.1)
    rows = write_audit(parameters, tmp_path, tmp_path)["rows"]
    assert rows[0]["change_gap"] is None
    assert [row["change_gap"] for row in rows[1:]] == pytest.approx([0.5, 0, 0, 0.3, 0.5, 0, 0, 0.8], abs=1e-12)
    # the gaps themselves lie 0.1 apart from seed to seed, and the changes do not
    assert rows[1]["nats_high"] - rows[1]["nats_low"] == pytest.approx(2 * stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3))
    assert rows[1]["change_high"] - rows[1]["change_low"] == pytest.approx(0, abs=1e-12)


def test_runs_that_were_scored_on_other_rows_are_not_compared(tmp_path):
    parameters = load("params/smoke.yaml", [AUDIT])
    for run in parameters.audit_runs():
        replayed(tmp_path, run, 3.0, 0.1)
    other = tmp_path / "measures" / str(parameters.audit_runs()[-1]) / "rows.parquet"
    rows = pandas.read_parquet(other)
    rows.assign(text_tokens=9, compared_tokens=7).to_parquet(other)
    with pytest.raises(ValueError, match=r"was scored on 3 rows of 24 tokens and pydocs/.*/seed2 on 3 rows of 21 tokens"):
        write_audit(parameters, tmp_path, tmp_path)


def test_whole_rows_are_compared_where_all_hold_the_same_text(tmp_path):
    """Ours has 3 nats a token of the 8 that are compared, and of all 10 tokens 0.1 more; theirs has 3 of both."""
    parameters = load("params/smoke.yaml", [AUDIT])
    for run in parameters.audit_runs():
        replayed(tmp_path, run, 3.0, 0.1)
        if run.spec == "reference":
            path = tmp_path / "measures" / str(run) / "rows.parquet"
            rows = pandas.read_parquet(path)
            rows.assign(text_nats=rows["text_nats"] + 1.0).to_parquet(path)
    whole = write_audit(parameters, tmp_path, tmp_path)
    assert whole["text"] == {"pydocs": {"tokens": 30, "whole_rows": True}}
    assert whole["rows"][0]["nats_gap"] == pytest.approx(0.1)
    for run in parameters.audit_runs():  # a longer context holds more of the text
        path = tmp_path / "measures" / str(run) / "rows.parquet"
        rows = pandas.read_parquet(path)
        if run.spec == "transformer":
            rows.assign(text_tokens=rows["text_tokens"] + 5).to_parquet(path)
    starts = write_audit(parameters, tmp_path, tmp_path)
    assert starts["text"] == {"pydocs": {"tokens": 24, "whole_rows": False}}
    assert starts["rows"][0]["nats_gap"] == pytest.approx(0)


def test_a_fault_that_the_audit_does_not_know_is_refused():
    parameters = load("params/smoke.yaml", [AUDIT])
    with pytest.raises(ValueError, match="mended=paddin: expected some of padding-trained, padding-scored, scale, baseline"):
        parameters.run("pydocs/reference/tiny/mended=paddin/seed0")
    with pytest.raises(ValueError, match=r"this profile has no studies\.audit"):
        load("params/smoke.yaml").run("pydocs/reference/tiny/mended=none/seed0")


def test_an_audit_of_what_is_not_tuned_is_refused():
    with pytest.raises(ValueError, match=r"reference is not tuned on pydocs; add them to studies\.tuning"):
        load("params/smoke.yaml", [AUDIT.replace("{name: scale, replay: {scale: 1.0}}", "{name: scale, tuned: true}")])
