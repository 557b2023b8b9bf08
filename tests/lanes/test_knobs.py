"""Knobs that do not fit are refused: by the schema in parameter files, by the constructor in Python."""

import pytest
from annotated_types import Ge
from pydantic import ValidationError

from wavestack import registry
from wavestack.lanes.fourier import Fourier
from wavestack.lanes.recall import Recall
from wavestack.lanes.wavelet import Wavelet
from wavestack.schema import knob_schema


def knobs_with_a_least_value() -> list[tuple[str, str, int]]:
    """(lane, knob, least value) of every registered lane, from the knobs' own annotations."""
    return [
        (lane, name, limit.ge)
        for lane, entry in registry.LANES.items()
        for name, field in knob_schema(entry).model_fields.items()
        for limit in field.metadata
        if isinstance(limit, Ge)
    ]


@pytest.mark.parametrize(("lane", "knob", "least"), knobs_with_a_least_value())
def test_a_knob_below_its_least_value(lane, knob, least):
    entry = registry.LANES[lane]
    with pytest.raises(ValidationError, match=knob):
        knob_schema(entry)(**{knob: least - 1})
    with pytest.raises(ValueError, match=f"{lane} lane: {knob} is {least - 1}, and must be at least {least}"):
        registry.load(entry)(8, 64, **{knob: least - 1})


@pytest.mark.parametrize("lane", registry.LANES)
def test_the_schema_fills_in_the_constructors_own_defaults(lane):
    knobs = knob_schema(registry.LANES[lane])().model_dump()
    assert registry.lane(lane, knobs)(32, 64, **knobs).hidden == 32


def test_an_unknown_wavelet():
    with pytest.raises(ValueError, match=r"'bior2.2' is no orthogonal wavelet.*haar"):
        Wavelet(4, 64, wavelet="bior2.2")
    with pytest.raises(ValidationError, match=r"'symm4' is no orthogonal wavelet"):
        knob_schema(registry.LANES["wavelet"])(wavelet="symm4")


def test_a_level_that_looks_beyond_the_context():
    with pytest.raises(ValueError, match=r"db4 with 4 levels looks back 105 positions, beyond a context of 64; use fewer levels"):
        Wavelet(4, 64, wavelet="db4", levels=4)
    with pytest.raises(ValueError, match=r"a width of 9 reaches beyond a context of 8; use at most 8"):
        registry.lane("convolution", {})(4, 8, width=9)


def test_more_frequencies_than_positions_tell_apart():
    with pytest.raises(ValueError, match=r"6 frequencies.*context of 8.*at most 5"):
        Fourier(4, 8, frequencies=6)


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match=r"3 heads do not divide a width of 8; change one of them"):
        Recall(8, 64, heads=3)
