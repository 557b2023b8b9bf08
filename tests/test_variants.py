"""Names of variants: each is read as what it says, and spelt in one way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavestack.variants import Variant

NUMBERS = st.floats(0, 10).map(lambda value: float(f"{value:g}"))
VARIANTS = st.builds(
    Variant,
    st.none() | st.lists(st.sampled_from(["fourier", "recall", "my-own"]), unique=True).map(tuple),
    st.none() | st.lists(st.sampled_from(["padding", "schedule"]), unique=True).map(tuple),
    st.none() | st.integers(1, 10**12),
    st.dictionaries(st.sampled_from(["learning_rate", "weight_decay", "dropout"]), NUMBERS),
    st.booleans(),
)


@given(VARIANTS)
def test_a_name_is_read_as_what_was_spelt(variant):
    assert Variant.parse(str(variant)) == variant


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("base", Variant()),
        ("tuned", Variant(tuned=True)),
        ("lanes=none", Variant(lanes=())),
        ("mended=none", Variant(mended=())),
        ("mended=padding+schedule", Variant(mended=("padding", "schedule"))),
        ("lanes=fourier+wavelet,tuned", Variant(lanes=("fourier", "wavelet"), tuned=True)),
        ("lr=0.003,wd=0.1,dropout=0", Variant(training={"learning_rate": 0.003, "weight_decay": 0.1, "dropout": 0.0})),
    ],
)
def test_names(name, variant):
    assert Variant.parse(name) == variant
    assert str(variant) == name


def test_only_lanes_make_another_model():
    assert Variant.parse("lanes=fourier,lr=0.1,tuned").model == "lanes=fourier"
    assert Variant.parse("lr=0.1").model == "base"
    assert Variant.parse("lanes=fourier,tokens=5,lr=0.1,tuned").recipe == "lr=0.1,tuned"


@pytest.mark.parametrize("name", ["", "bas", "base,tuned", "lr=fast", "rate=1", "lanes", "lr", "lanes=a,lanes=b", "tuned=yes"])
def test_what_is_no_variant_is_refused(name):
    with pytest.raises(ValueError, match=r"variant '.*': expected base, or lanes=, mended=, tokens=, lr=, wd=, dropout= and tuned"):
        Variant.parse(name)


@pytest.mark.parametrize(("name", "spelt"), [("lr=3e-3", "lr=0.003"), ("tuned,lr=1", "lr=1,tuned"), ("lr=0.30", "lr=0.3")])
def test_another_spelling_is_refused_with_the_one(name, spelt):
    with pytest.raises(ValueError, match=f"this one is spelt '{spelt}'"):
        Variant.parse(name)


@pytest.mark.parametrize("name", ["tokens=1e6", "tokens=01", "tokens=", "lr=0.1,tokens=5", "tokens=1_000"])
def test_a_number_of_tokens_has_one_spelling(name):
    with pytest.raises(ValueError, match="expected base, or lanes=, mended=, tokens=, lr=, wd=, dropout= and tuned in this order"):
        Variant.parse(name)


def test_a_number_of_tokens():
    assert Variant.parse("lanes=fourier,tokens=1000,lr=0.1") == Variant(lanes=("fourier",), tokens=1000, training={"learning_rate": 0.1})
