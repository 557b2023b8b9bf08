"""Honest models pass; planted mutants are caught and named."""

import re
from unittest import mock

import pytest
import torch

from wavestack import budget as budgets
from wavestack import contract, registry
from wavestack.artifacts import write_json
from wavestack.lanes import projection
from wavestack.lanes.attention import Attention
from wavestack.lanes.fourier import Fourier
from wavestack.lanes.recall import Recall
from wavestack.lanes.wavelet import Wavelet
from wavestack.models.stack import ResidualStack
from wavestack.params import ModelSpec
from wavestack.reading import load
from wavestack.schema import Budget
from wavestack.studies import contracts

BUDGET = Budget(hidden=16, blocks=2, context=256, parameters=14_000, tokens=1)
MEDIUM = BUDGET.model_copy(update={"hidden": 64, "parameters": 180_000})
NUMERIC = list(contract.CHECKS)
STREAMING = {"prefix consistency", "step equals parallel", "chunk carry"}


def broken(spec, budget=BUDGET):
    """The checks that do not pass in float32, and no others are made: what is planted is as wrong in either precision."""
    with mock.patch.dict(contract.TOLERANCE):
        del contract.TOLERANCE["bfloat16"]
        return {finding.check: finding for finding in contract.check(spec, budget) if not finding.passed}


def registered(name):
    """A spec of params/models.yaml; of the published WaveStack, which takes no budget, a narrower one."""
    spec = load("params/smoke.yaml").specs[name]
    return ModelSpec(spec.model, spec.knobs | {"hidden": 32}) if spec.model == "reference" else spec


# Those that most others are made of. The rest is checked nightly, and each before it trains.
KINDS = (
    "wavestack",
    "transformer-convolution",
    "gated-linear-attention",
    "reference",
    "reference-transformer",
)
SPECS = [pytest.param(name, marks=() if name in KINDS else pytest.mark.nightly) for name in load("params/smoke.yaml").specs]


@pytest.mark.parametrize("name", SPECS)
def test_every_registered_spec_passes(name):
    spec = registered(name)
    findings = contract.check(spec, MEDIUM)
    assert [finding.detail for finding in findings if not finding.passed] == []
    assert [f.check for f in findings if f.precision == "float32"] == [*NUMERIC, "save and load", "parameter count"]
    declared = {f.check for f in findings if f.declared}
    assert declared == (STREAMING if spec.model == "reference" and spec.knobs["stretched"] == "input" else set())
    assert [f.check for f in findings if f.precision == "bfloat16"] == [check for check in NUMERIC if check not in declared]


OFTEN = ("fourier", "wavelet", "recall", "attention")
LANES = [pytest.param(name, marks=() if name in OFTEN else pytest.mark.nightly) for name in registry.LANES]


@pytest.mark.parametrize("name", LANES)
def test_every_registered_lane_passes(name):
    findings = contract.check(contracts._wavestack([name], "gated"), contracts.SMALL)
    assert [finding.detail for finding in findings if not finding.passed] == []


MIXERS = [pytest.param(name, marks=() if name in ("gated", "sequence") else pytest.mark.nightly) for name in registry.MIXERS]


@pytest.mark.parametrize("name", MIXERS)
def test_every_registered_mixer_passes(name):
    findings = contract.check(contracts._wavestack(["fourier", "wavelet"], name), contracts.SMALL)
    assert [finding.detail for finding in findings if not finding.passed] == []


# --- planted mutants ---------------------------------------------------------------------------------------------------------------


def test_a_wavelet_one_step_ahead_is_caught(wavestack, monkeypatch):
    honest = Wavelet.forward

    def ahead(self, x, state=None):
        y, state = honest(self, x, state)
        return torch.cat([y[:, 1:], y[:, -1:]], 1), state

    monkeypatch.setattr(Wavelet, "forward", ahead)
    found = broken(wavestack)
    assert {"causality by perturbation", "causality by gradient", *STREAMING} == set(found)
    for check in ("causality by perturbation", "causality by gradient"):
        assert found[check].position is not None
        assert found[check].difference > 1e-3


def test_a_basis_that_depends_on_the_length_at_hand_is_caught(wavestack, monkeypatch):
    """Causal at every length, and inconsistent between lengths."""

    def stretched(self, position, end):
        return self.table[torch.linspace(0, self.context - 1, end - position).long()]

    monkeypatch.setattr(projection.Projection, "basis", stretched)
    found = broken(wavestack)
    assert set(found) == STREAMING
    assert min(finding.difference for finding in found.values()) > 8e-3


def test_state_carried_across_batch_rows_is_caught(wavestack, monkeypatch):
    honest = Fourier.forward

    def mixed(self, x, state=None):
        y, state = honest(self, x, state)
        return y, state._replace(sums=state.sums.mean(0, keepdim=True).expand_as(state.sums))

    monkeypatch.setattr(Fourier, "forward", mixed)
    found = broken(wavestack)
    assert "batch invariance" in found
    assert "in chunks" in found["batch invariance"].detail
    assert not {"causality by perturbation", "causality by gradient", "prefix consistency"} & set(found)


def test_an_fft_convolution_without_padding_is_caught(wavestack, monkeypatch):
    """It is circular: the end of the sequence comes back at its start."""

    def circular(self, x, state=None):
        kernel = torch.zeros_like(x[:1])
        kernel[:, : len(self.filters.T)] = self.filters.T @ self.weights
        return torch.fft.irfft(torch.fft.rfft(x, dim=1) * torch.fft.rfft(kernel, dim=1), x.shape[1], dim=1), state

    monkeypatch.setattr(Wavelet, "forward", circular)
    sample = ModelSpec("wavestack", {**wavestack.knobs, "lanes": {"wavelet": {"wavelet": "haar", "levels": 1}}})
    monkeypatch.setattr(
        contract, "CHECKS", {name: contract.CHECKS[name] for name in ("causality by perturbation", "causality by gradient")}
    )
    found = broken(sample)
    assert {"causality by perturbation", "causality by gradient"} == set(found)
    assert found["causality by perturbation"].position == 0


def test_an_unmasked_attention_is_caught(transformer, monkeypatch):
    attention = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", lambda q, k, v, **_: attention(q, k, v))
    assert {"causality by perturbation", "causality by gradient"} <= set(broken(transformer))


def test_a_memory_that_a_new_chunk_forgets_is_caught(monkeypatch):
    honest = Recall.forward
    monkeypatch.setattr(Recall, "forward", lambda self, x, state=None: honest(self, x))
    spec = ModelSpec("wavestack", {"lanes": {"recall": {"features": 4, "heads": 1}}})
    assert set(broken(spec)) == {"step equals parallel", "chunk carry"}


def test_a_weight_that_is_not_saved_is_caught(wavestack, monkeypatch):
    honest, constructor = Fourier.forward, Fourier.__init__

    def with_hidden_weight(self, *arguments, **knobs):
        constructor(self, *arguments, **knobs)
        self.hidden_weight = torch.randn(()) + 2  # no parameter and no buffer

    monkeypatch.setattr(Fourier, "__init__", with_hidden_weight)
    monkeypatch.setattr(Fourier, "forward", lambda self, x, state=None: honest(self, x * self.hidden_weight.abs().sqrt() + 0.1, state))
    assert set(broken(wavestack)) == {"save and load"}


def test_an_untied_head_that_the_declared_count_leaves_out_is_caught(transformer, monkeypatch):
    """As the published count did. 101 entries x 16 channels."""
    assert contract.parameter_count(transformer, BUDGET, 101).passed
    honest = ResidualStack.__init__

    def untied(self, vocabulary, hidden, context, blocks):
        honest(self, vocabulary, hidden, context, blocks)
        self.head = torch.nn.Linear(hidden, vocabulary, bias=False)

    def flattering(self):
        total = sum(p.numel() for name, p in self.named_parameters() if not name.startswith("head"))
        return total, total - self.embedding.weight.numel()

    monkeypatch.setattr(ResidualStack, "__init__", untied)
    monkeypatch.setattr(ResidualStack, "parameter_counts", flattering)
    finding = contract.parameter_count(transformer, BUDGET, 101)
    assert not finding.passed
    assert finding.difference == 1616


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_does_not_pass(transformer, monkeypatch, value):
    honest = ResidualStack.forward
    monkeypatch.setattr(ResidualStack, "forward", lambda self, t: honest(self, t) * (value if t.shape[1] < 20 else 1))
    assert "prefix consistency" in broken(transformer)


# --- declared breaks, and what the checks are made of --------------------------------------------------------------------------------


def test_a_declared_break_must_occur(transformer, monkeypatch):
    """The published model's breaks are known; one that is declared and no longer there is told, and so is one that is not declared."""
    monkeypatch.setattr("wavestack.models.transformer.Transformer.breaks", frozenset({"chunk carry"}))
    found = broken(transformer)
    assert set(found) == {"chunk carry"}
    assert found["chunk carry"].verdict == "DECLARED BUT HOLDS"
    monkeypatch.setattr("wavestack.models.reference.Reference.breaks", frozenset())
    assert set(broken(registered("reference"))) == STREAMING


def test_random_weights_reach_every_parameter(wavestack):
    model = budgets.build(wavestack, BUDGET, 100)
    for parameter in model.parameters():
        parameter.data.zero_()
    contract.randomise(model, 0)
    assert all(parameter.abs().max() > 0 for parameter in model.parameters())


def test_straddling_lengths_touch_both_sides_of_every_border():
    lengths = contract._straddling(3 * projection.CHUNK + 7)
    for border in (projection.CHUNK, 2 * projection.CHUNK, 3 * projection.CHUNK):
        assert {border - 1, border, border + 1} <= set(lengths)
    assert max(lengths) <= 3 * projection.CHUNK + 7
    assert min(lengths) == 1


def test_uneven_chunks_make_up_the_length_and_end_in_single_tokens():
    for length in (1, 5, 64, 199):
        cuts = contract._uneven(length)
        assert sum(cuts) == length
        assert cuts[-1] == 1


# --- faults that one check alone can see, where they are, and what is neither right nor wrong -------------------------------------


def of(lane, mixer="gated", **knobs):
    """A single block of a single lane, so that a fault's place can be told by hand."""
    return ModelSpec("wavestack", {"lanes": {lane: knobs}, "mixer": mixer}), BUDGET.model_copy(update={"blocks": 1, "parameters": 7_000})


def later(x):
    """What stands one position ahead; zeros at the end."""
    return torch.cat([x[:, 1:], torch.zeros_like(x[:, :1])], 1)


def test_a_look_ahead_is_named_with_its_place_in_both_precisions(monkeypatch):
    honest = Wavelet.forward

    def ahead(self, x, state=None):
        return honest(self, x, state)[0] + later(x), honest(self, x, state)[1]

    monkeypatch.setattr(Wavelet, "forward", ahead)
    findings = contract.check(*of("wavelet", wavelet="haar", levels=1))
    for finding in findings:
        if finding.check == "causality by perturbation":
            assert (finding.passed, finding.verdict) == (False, "BROKEN")
            assert f"after changing the tokens from {finding.position + 1} on" in finding.detail  # the last one before them
            assert 1e-2 < finding.difference < 10
        if finding.check == "causality by gradient":
            assert not finding.passed
            assert f"in the gradient of the logits at {finding.position - 1}" in finding.detail  # the first one after them
    named = {finding.precision for finding in findings if finding.check.startswith("causality") and not finding.passed}
    assert named == {"float32", "bfloat16"}


def test_a_gradient_from_the_future_is_caught_where_no_value_comes_from_it(monkeypatch):
    """A straight-through term is zero whatever the tokens are, and no perturbation sees it."""
    honest = Wavelet.forward

    def straight_through(self, x, state=None):
        y, state = honest(self, x, state)
        return y + later(x - x.detach()), state

    monkeypatch.setattr(Wavelet, "forward", straight_through)
    found = broken(*of("wavelet", wavelet="haar", levels=1))
    assert set(found) == {"causality by gradient"}
    assert found["causality by gradient"].difference > 1e-3


def test_a_value_from_the_future_is_caught_where_no_gradient_comes_from_it(monkeypatch):
    honest = Wavelet.forward

    def detached(self, x, state=None):
        y, state = honest(self, x, state)
        return y + later(x).sign().detach(), state

    monkeypatch.setattr(Wavelet, "forward", detached)
    found = broken(*of("wavelet", wavelet="haar", levels=1))
    assert set(found) == {"causality by perturbation", *STREAMING}


def test_a_mask_that_is_wrong_after_a_past_is_caught_by_chunk_carry_alone(transformer, monkeypatch):
    """A causal mask laid from the first key on, as PyTorch's `is_causal` is: right without a past, and for a single token."""
    honest = torch.nn.functional.scaled_dot_product_attention

    def from_the_first_key(q, k, v, attn_mask=None, is_causal=False):
        return honest(q, k, v, is_causal=is_causal or attn_mask is not None)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", from_the_first_key)
    found = broken(transformer)
    assert set(found) == {"chunk carry"}
    assert found["chunk carry"].position == contract.CHUNKS[0]  # the first one of the second chunk
    assert "in chunks of" in found["chunk carry"].detail


def test_positions_that_start_again_with_each_chunk_are_caught(monkeypatch):
    honest = Attention.forward

    def restarted(self, x, state=None):
        y, state = honest(self, x, state)
        return y, state._replace(position=0)

    monkeypatch.setattr(Attention, "forward", restarted)
    assert set(broken(*of("attention", head_width=6))) == {"step equals parallel", "chunk carry"}


def test_a_state_kept_in_the_module_is_caught(monkeypatch):
    """What one call leaves there, the next one finds, whosever it is."""
    honest = Wavelet.forward

    def kept(self, x, state=None):
        y, self.last = honest(self, x, getattr(self, "last", None) if state is None else state)
        return y, self.last

    monkeypatch.setattr(Wavelet, "forward", kept)
    found = broken(*of("wavelet", wavelet="haar", levels=1))
    assert {"causality by perturbation", "prefix consistency", "batch invariance"} <= set(found)
    assert found["causality by perturbation"].position == 0
    # rows that do not fit the state that was kept: an error is a finding like any other, and the other checks are still done
    assert "where it fails with: " in found["batch invariance"].detail
    assert found["batch invariance"].position is None


def test_any_error_of_a_lane_is_a_finding(monkeypatch):
    honest = Wavelet.forward

    def fails_with_a_state(self, x, state=None):
        return honest(self, x, state if state is None else {}["past"])

    monkeypatch.setattr(Wavelet, "forward", fails_with_a_state)
    found = broken(*of("wavelet", wavelet="haar", levels=1))
    assert {"step equals parallel", "chunk carry"} <= set(found)
    assert "where it fails with: KeyError: 'past'" in found["chunk carry"].detail


def test_a_small_model_has_as_many_blocks_as_its_lanes_name():
    wide = contracts._wavestack(["fourier"], "gated")
    assert contracts._deep_enough(wide) == contracts.SMALL
    wide.knobs["lanes"]["fourier"] |= {"blocks": [1, 3]}
    budget = contracts._deep_enough(wide)
    assert (budget.blocks, budget.parameters) == (4, 2 * contracts.SMALL.parameters)
    assert len(budgets.build(wide, budget, 50).blocks) == 4


def test_rows_that_hear_one_another_are_caught_in_parallel_too(monkeypatch):
    honest = Recall.forward
    monkeypatch.setattr(Recall, "forward", lambda self, x, state=None: honest(self, x - x.mean(0, keepdim=True), state))
    found = broken(*of("recall", features=4, heads=1))
    assert "batch invariance" in found
    assert found["batch invariance"].position == 0


def test_a_tensor_under_two_names_cannot_be_saved(monkeypatch):
    constructor = Wavelet.__init__

    def doubled(self, *arguments, **knobs):
        constructor(self, *arguments, **knobs)
        self.again = self.weights

    monkeypatch.setattr(Wavelet, "__init__", doubled)
    found = broken(*of("wavelet", wavelet="haar", levels=1))
    assert set(found) == {"save and load"}  # and it is counted once
    assert "where it fails with: " in found["save and load"].detail


class Published(torch.nn.Module):
    """A model of two parameters; `factor` is what it multiplies its logits with."""

    context = 70
    breaks = frozenset()

    def __init__(self, factor=lambda tokens, state: 1.0):
        super().__init__()
        self.embedding = torch.nn.Embedding(7, 4)
        self.factor = factor

    def embed(self, tokens):
        self.tokens = tokens
        return self.embedding(tokens)

    def advance_embedded(self, x, state=None):
        return x @ self.embedding.weight.T * self.factor(self.tokens, state), (state or 0) + x.shape[1]

    def advance(self, tokens, state=None):
        return self.advance_embedded(self.embed(tokens), state)

    def forward(self, tokens):
        return self.advance(tokens)[0]


def test_the_small_model_of_these_tests_is_right():
    findings = contract.check_model(Published(), Published(), 7)
    assert all(finding.passed for finding in findings)
    assert len(findings) == 13  # six in each precision, and save and load


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_passes_no_check(value):
    for finding in contract.check_model(Published(lambda tokens, state: value), Published(lambda tokens, state: value), 7):
        assert (finding.passed, finding.verdict) == (False, "BROKEN"), finding.check
        assert finding.difference == float("inf")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_no_declared_break_either(monkeypatch, value):
    monkeypatch.setattr(Published, "breaks", frozenset({"step equals parallel"}))

    def factor(tokens, state):
        return value if state == 40 else 1.0

    findings = contract.check_model(Published(factor), Published(factor), 7)
    (finding,) = (finding for finding in findings if finding.check == "step equals parallel")
    assert (finding.passed, finding.verdict, finding.position) == (False, "BROKEN", 40)


def test_a_gradient_that_overflows_hides_nothing(monkeypatch):
    """Relative to an infinite gradient, one that comes from the future would be nothing."""

    def overflowing(self, x, state=None):
        y = x + 1e-3 * (later(x) - later(x).detach())
        y.register_hook(lambda gradient: gradient * torch.finfo(torch.float32).max * 1e3)
        return y @ self.embedding.weight.T, state

    monkeypatch.setattr(Published, "advance_embedded", overflowing)
    model, twin = Published(), Published()
    assert not next(f for f in contract.check_model(model, twin, 7) if f.check == "causality by gradient").passed


def test_logits_that_no_token_reaches_do_not_pass_as_causal(monkeypatch):
    monkeypatch.setattr(Published, "advance_embedded", lambda self, x, state=None: (0 * x @ self.embedding.weight.T + 1, state))
    findings = contract.check_model(Published(), Published(), 7)
    found = {finding.check: finding for finding in findings if not finding.passed and finding.precision == "float32"}
    assert set(found) == {"causality by gradient"}
    assert "no gradient of the logits" in found["causality by gradient"].detail


def test_a_declared_break_that_occurs_passes_under_its_name():
    findings = contract.check(registered("reference"), MEDIUM)
    declared = {finding.check: finding for finding in findings if finding.declared}
    assert set(declared) == STREAMING
    for finding in declared.values():
        assert (finding.passed, finding.verdict) == (True, "declared break")
        assert finding.difference > 8e-3


# --- what is told ------------------------------------------------------------------------------------------------------------------


def test_the_table_and_the_lines_name_check_position_and_size(monkeypatch):
    honest = Wavelet.forward
    monkeypatch.setattr(Wavelet, "forward", lambda self, x, state=None: (later(x), honest(self, x, state)[1]))
    rows = {"mine": contracts._check(*of("wavelet", wavelet="haar", levels=1))}
    lines = contracts.broken(rows)
    assert any(
        re.match(r"mine: causality by perturbation \(float32\) BROKEN, position \d+, largest relative difference \d\.\de[-+]\d\d", line)
        for line in lines
    )
    head, single, half, legend = contracts.table(rows).splitlines()
    assert head.split() == [str(n) for n in range(1, 9)]
    assert [cell.endswith("!") for cell in single.split()[2:]] == [True] * 5 + [False] * 3
    assert half.split()[-2:] == ["-", "-"]  # both are looked at once
    assert legend.startswith("1 causality by perturbation, 2 causality by gradient, ")


def test_what_is_not_finite_can_be_written_and_told(tmp_path, monkeypatch):
    honest = Wavelet.forward
    monkeypatch.setattr(Wavelet, "forward", lambda self, x, state=None: (honest(self, x, state)[0] * float("nan"), None))
    rows = {"mine": contracts._check(*of("wavelet", wavelet="haar", levels=1))}
    write_json(tmp_path / "found.json", rows)
    assert "inf!" in contracts.table(rows)
    assert all("position 0, " in line for line in contracts.broken(rows))


@pytest.mark.nightly
def test_everything_that_is_registered_passes():
    rows = contracts.check_registered(load("params/smoke.yaml"))
    assert len(rows) == len(load("params/smoke.yaml").specs) + len(registry.LANES) + len(registry.MIXERS)
    assert contracts.broken(rows) == []
