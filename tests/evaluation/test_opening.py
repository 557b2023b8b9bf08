"""Opening the test split: what is logged, and what keeps it closed."""

import pandas
import pytest

from wavestack.evaluation import opening
from wavestack.evaluation.opening import open_test
from wavestack.openings import COLUMNS, count
from wavestack.params import Run
from wavestack.reading import load

RUN = Run("pydocs", "wavestack", "tiny", "base", 0)


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens the test split of a run whose code has or has not uncommitted changes."""

    def attempt(dirty):
        monkeypatch.setattr(opening, "commit", lambda: {"commit": "abc", "dirty": dirty})
        open_test(load("params/smoke.yaml"), RUN, tmp_path / "tokens", *[tmp_path] * 3, tmp_path / "openings.csv", "f1")

    return attempt


def test_uncommitted_changes_keep_it_closed(opened, tmp_path):
    with pytest.raises(ValueError, match=r"stays closed to pydocs/wavestack/tiny/base/seed0: .* uncommitted changes; commit what is to be"):
        opened(dirty=True)
    assert not (tmp_path / "openings.csv").exists()


def test_an_opening_that_fails_is_logged_all_the_same(opened, tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        opened(dirty=False)
    (row,) = pandas.read_csv(tmp_path / "openings.csv").to_dict("records")
    assert list(row) == list(COLUMNS)
    assert (row["profile"], row["run"], row["fingerprint"], row["commit"]) == ("smoke", str(RUN), "f1", "abc")


def test_openings_are_counted_by_corpus_and_by_model(tmp_path):
    log = tmp_path / "openings.csv"
    assert count(log, "a") == (0, 0)
    run, other, elsewhere = "a/x/b/base/seed0", "a/x/b/base/seed1", "aa/x/b/base/seed0"
    rows = [(run, "f1"), (run, "f1"), (run, "f2"), (other, "f1"), (elsewhere, "f1")]
    pandas.DataFrame(rows, columns=["run", "fingerprint"]).to_csv(log, index=False)
    assert count(log, "a") == (4, 3)
    assert count(log, "aa") == (1, 1)
