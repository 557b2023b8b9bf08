"""Lanes join a trained model, are trained alone, and leave it again; what the model was stays what it was, to the bit."""

import copy
from typing import Annotated

import pytest
import torch
import yaml
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from wavestack import budget as budgets
from wavestack import contract, registry
from wavestack.artifacts import read_json
from wavestack.lanes.lane import Lane
from wavestack.models.wavestack import WaveStack
from wavestack.params import ModelSpec
from wavestack.reading import ParameterError, load
from wavestack.schema import Training
from wavestack.training.checkpoint import Architecture, load_model, save, save_model
from wavestack.training.checkpoint import load as load_checkpoint
from wavestack.training.optimizer import adamw


class SomeLane(Lane):
    """A lane of a user's own: `y_t = scale * n_t` with n_t = keep n_{t-1} + x_t."""

    def __init__(self, hidden: int, context: int, *, keep: Annotated[float, Field(gt=0, lt=1)] = 0.5):
        super().__init__(hidden, context)
        self.keep = keep
        self.scale = nn.Parameter(torch.ones(hidden))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        sums = x.new_zeros(len(x), self.hidden, dtype=torch.float32) if state is None else state
        steps = []
        for step in x.float().unbind(1):
            sums = self.keep * sums + step
            steps.append(sums)
        return (self.scale * torch.stack(steps, 1)).to(x.dtype), sums

    def state_bytes(self, positions: int) -> int:
        return 4 * self.hidden

    def flops(self, length: int) -> int:
        return 2 * length * self.hidden


MINE = f"{__name__}:SomeLane"
BASE = {"chebyshev": {"order": 4}, "fourier": {"frequencies": 5}, "wavelet": {"wavelet": "db2", "levels": 2}}
JOINING = {
    "recall": {"features": 4},
    "oscillator": {"modes": 3},
    "attention": {"head_width": 2},
    "slow": {"lane": "fourier", "frequencies": 2},  # a second one of a kind that is there
    "mine": {"lane": MINE, "keep": 0.7},
}
GOING_ON = ("gated", "sigmoid", "across")  # mixers that can do without a lane
VOCABULARY = 50
TOKENS = torch.randint(VOCABULARY, (4, 32), generator=torch.Generator().manual_seed(0))


def loss_of(model):
    return cross_entropy(model(TOKENS[:, :-1]).flatten(0, 1), TOKENS[:, 1:].flatten())


def train(model, steps):
    """Some steps on one batch, the losses before each and after the last."""
    optimizer = adamw(model, Training(batch=4, learning_rate=1e-2))
    losses = []
    for _ in range(steps):
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return [*losses, loss_of(model).item()]


def built(mixer, context=32):
    torch.manual_seed(1)
    return WaveStack(VOCABULARY, 16, 2, context, 8, lanes=BASE, mixer=mixer)


@pytest.fixture(scope="session")
def trained_ones():
    """One briefly trained model a mixer; tests get copies."""
    models = {}
    for mixer in registry.MIXERS:
        models[mixer] = built(mixer)
        train(models[mixer], 5)
    return models


@pytest.fixture(params=registry.MIXERS)
def mixer(request):
    return request.param


@pytest.fixture
def model(trained_ones, mixer):
    return copy.deepcopy(trained_ones[mixer])


@pytest.fixture
def trained(trained_ones):
    """With a gated mixer."""
    return copy.deepcopy(trained_ones["gated"])


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """A lane in a file of the working directory, which is not on the path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lane_of_a_user.py").write_text(
        "from wavestack.lanes.identity import Identity\n\n\n"
        "class Louder(Identity):\n"
        "    def __init__(self, hidden, context, *, factor: float = 2.0):\n"
        "        super().__init__(hidden, context)\n"
        "        self.factor = factor\n\n"
        "    def forward(self, x, state=None):\n"
        "        return self.factor * x.abs(), None\n"
    )
    return "lane_of_a_user:Louder"


def snapshot(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("name", JOINING)
class TestAdding:
    def test_changes_no_logit_and_learns(self, model, name):
        """At the moment of adding the output layer alone has a gradient; after one step everything of the lane has."""
        before = model(TOKENS)
        model.add_lane(name, **JOINING[name])
        assert torch.equal(model(TOKENS), before)
        loss_of(model).backward()
        for block in model.blocks:
            assert block.added[name].out.weight.grad.abs().max() > 0
        model.zero_grad()
        train(model, 1)
        loss_of(model).backward()
        for block in model.blocks:
            for part, parameter in block.added[name].named_parameters():
                assert parameter.grad.abs().max() > 0, part

    def test_trained_alone_and_removed(self, model, name):
        base, before = snapshot(model), model(TOKENS)
        model.add_lane(name, **JOINING[name])
        model.freeze_except(name)
        assert {part for part, parameter in model.named_parameters() if parameter.requires_grad} == set(snapshot(model)) - set(base)
        losses = train(model, 8)
        assert losses[-1] < losses[0]
        assert not torch.equal(model(TOKENS), before)
        for part, parameter in model.named_parameters():
            if part in base:
                assert torch.equal(parameter, base[part]), part
                assert parameter.grad is None
        model.remove_lane(name)
        assert torch.equal(model(TOKENS), before)
        assert model.added == {}
        assert set(snapshot(model)) == set(base)


class TestAddingMore:
    def test_a_lane_of_the_working_directory(self, trained, own_module):
        before = trained(TOKENS)
        trained.add_lane("loud", lane=own_module, factor=3)
        assert torch.equal(trained(TOKENS), before)
        assert trained.added == {"loud": {"factor": 3.0, "lane": own_module}}
        assert [block.added["loud"].lane.factor for block in trained.blocks] == [3.0, 3.0]

    def test_knobs_are_filled_in(self, trained):
        trained.add_lane("mine", lane=MINE)
        assert trained.added == {"mine": {"keep": 0.5, "lane": MINE}}

    def test_two_lanes_one_after_another(self, trained):
        """Each is itself whatever the other one is; the first to come may be the first to go."""
        base = trained(TOKENS)
        trained.add_lane("recall", **JOINING["recall"])
        trained.freeze_except("recall")
        train(trained, 4)
        one = trained(TOKENS)
        trained.add_lane("mine", **JOINING["mine"])
        assert torch.equal(trained(TOKENS), one)
        trained.freeze_except("mine")
        recall = snapshot(trained.blocks[0].added["recall"])
        train(trained, 4)
        for part, parameter in trained.blocks[0].added["recall"].named_parameters():
            assert torch.equal(parameter, recall[part]), part
        without_second = copy.deepcopy(trained)
        without_second.remove_lane("mine")
        assert torch.equal(without_second(TOKENS), one)
        trained.remove_lane("recall")
        assert not torch.equal(trained(TOKENS), base)
        trained.remove_lane("mine")
        assert torch.equal(trained(TOKENS), base)

    def test_several_may_train_together(self, trained):
        trained.add_lane("recall", **JOINING["recall"])
        trained.freeze_except("recall", "fourier")
        training = {part.split(".")[3] for part, parameter in trained.named_parameters() if parameter.requires_grad}
        assert training == {"recall", "fourier"}

    def test_a_gradient_left_by_an_earlier_training_moves_nothing(self, trained):
        """Loops that clear gradients after the step, not before, would take one step with it."""
        loss_of(trained).backward()
        base = snapshot(trained)
        trained.add_lane("mine", **JOINING["mine"])
        trained.freeze_except("mine")
        train(trained, 1)
        for part, tensor in base.items():
            assert torch.equal(trained.get_parameter(part), tensor), part

    def test_copies_are_apart(self, trained):
        twin = copy.deepcopy(trained)
        twin.add_lane("mine", **JOINING["mine"])
        twin.remove_lane("wavelet")
        assert (list(trained.lanes), trained.added, trained.removed) == (list(BASE), {}, [])
        assert [len(block.added) for block in trained.blocks] == [0, 0]

    def test_it_joins_the_model_as_that_is(self, trained):
        """In its dtype, and in evaluation where that is evaluated."""
        half = copy.deepcopy(trained).bfloat16().eval()
        before = half(TOKENS)
        half.add_lane("convolution", width=2)
        assert {parameter.dtype for parameter in half.blocks[0].added.parameters()} == {torch.bfloat16}
        assert not any(module.training for module in half.modules())
        assert torch.equal(half(TOKENS), before)

    def test_what_it_costs_is_counted(self, model):
        """The state's bytes are those of the tensors in it, and the lane's own matrices are in the operations."""
        cheaper, position = model.flops(32), 0
        model.add_lane("attention", **JOINING["attention"])
        model.add_lane("mine", **JOINING["mine"])
        added = [branch for block in model.blocks for branch in block.added.values()]
        layers = sum(m.weight.numel() for branch in added for m in branch.modules() if isinstance(m, nn.Linear))
        filters = sum(branch.convolution.flops(32) + branch.lane.flops(32) for branch in added)
        assert model.flops(32) - cheaper == 2 * 32 * layers + filters
        state = None
        for length in (5, 1, 9):
            position += length
            _, state = model.advance(TOKENS[:1, position - length : position], state)
            assert model.state_bytes(position) == bytes_of(state)
        assert model.parameter_counts()[0] == sum(parameter.numel() for parameter in model.parameters())


def bytes_of(state):
    if isinstance(state, Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return sum(bytes_of(part) for part in parts)


class TestRemovingABaseLane:
    @pytest.mark.parametrize("mixer", GOING_ON)
    @pytest.mark.parametrize("name", BASE)
    def test_the_model_goes_on(self, model, name):
        before = model(TOKENS)
        model.remove_lane(name)
        assert not torch.equal(model(TOKENS), before)
        assert name not in model.lanes
        assert model.removed == [name]
        assert model.gates(TOKENS).shape == (2, *TOKENS.shape, 2)
        losses = train(model, 4)
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize("place", range(3))
    def test_gated_weights_are_renormalised(self, trained, place):
        before = trained.gates(TOKENS)[0]  # what comes into the first block stays the same
        trained.remove_lane(list(BASE)[place])
        kept = before[..., [lane for lane in range(3) if lane != place]]
        torch.testing.assert_close(trained.gates(TOKENS)[0], kept / kept.sum(-1, keepdim=True))

    def test_the_gates_of_a_frozen_model_stay_frozen(self, trained):
        trained.freeze_except()
        trained.remove_lane("fourier")
        assert not any(parameter.requires_grad for parameter in trained.parameters())

    @pytest.mark.parametrize("mixer", [name for name in registry.MIXERS if name not in GOING_ON])
    def test_refused_where_weights_were_trained_on_all_together(self, model, mixer):
        before = model(TOKENS)
        with pytest.raises(ValueError, match="combines exactly the lanes that it was trained with; train anew"):
            model.remove_lane("fourier")
        assert torch.equal(model(TOKENS), before)
        assert (list(model.lanes), model.removed) == (list(BASE), [])

    def test_the_last_one_stays(self, trained):
        trained.add_lane("mine", **JOINING["mine"])
        trained.remove_lane("chebyshev")
        trained.remove_lane("wavelet")
        with pytest.raises(ValueError, match="'fourier' is the last lane that block 0 was built with"):
            trained.remove_lane("fourier")
        trained(TOKENS)

    def test_its_name_may_come_back(self, trained):
        trained.remove_lane("fourier")
        without = trained(TOKENS)
        trained.add_lane("fourier", frequencies=3)
        assert torch.equal(trained(TOKENS), without)
        assert (list(trained.lanes), trained.removed) == (["chebyshev", "wavelet"], ["fourier"])
        assert trained.added == {"fourier": {"frequencies": 3}}
        trained.freeze_except("fourier")
        train(trained, 2)
        assert not torch.equal(trained(TOKENS), without)
        trained.remove_lane("fourier")
        assert torch.equal(trained(TOKENS), without)
        assert (trained.removed, trained.added) == (["fourier"], {})


@pytest.mark.nightly
def test_a_model_with_added_and_removed_lanes_passes_the_contract(mixer):
    """Beyond a chunk of 64, from random weights in every parameter."""
    model, twin = built(mixer, 72), built(mixer, 72)
    for each in (model, twin):
        if mixer in GOING_ON:
            each.remove_lane("chebyshev")
        for name in ("recall", "attention", "mine"):
            each.add_lane(name, **JOINING[name])
    broken = [finding for finding in contract.check_model(model, twin, VOCABULARY) if not finding.passed]
    assert not broken


class TestCheckpoints:
    @pytest.fixture
    def architecture(self, wavestack, budget):
        return Architecture(wavestack, budget, VOCABULARY)

    def test_added_and_removed_lanes_are_remembered(self, architecture, tmp_path, own_module):
        model = architecture.build()
        model.remove_lane("chebyshev")
        model.remove_lane("fourier")
        model.add_lane("mine", **JOINING["mine"])
        model.add_lane("loud", lane=own_module, factor=3)
        model.add_lane("fourier", frequencies=2)
        model.add_lane("recall", **JOINING["recall"])
        model.remove_lane("recall")
        train(model, 2)
        save_model(tmp_path / "best", model, architecture, {"step": 7})
        twin = load_model(tmp_path / "best")
        assert torch.equal(twin(TOKENS), model.eval()(TOKENS))
        assert not twin.training
        assert twin.lanes == {"wavelet": BASE["wavelet"]}
        assert twin.removed == ["chebyshev", "fourier"]
        assert twin.added == {"mine": JOINING["mine"], "loud": {"lane": own_module, "factor": 3.0}, "fourier": {"frequencies": 2}}
        assert list(twin.added) == ["mine", "loud", "fourier"]  # sums are taken in this order
        assert read_json(tmp_path / "best.json")["step"] == 7
        # and once more, from what was loaded
        twin.remove_lane("loud")
        save_model(tmp_path / "again", twin, Architecture.from_json(read_json(tmp_path / "best.json")["architecture"]), {})
        assert torch.equal(load_model(tmp_path / "again")(TOKENS), twin(TOKENS))

    def test_tensors_of_other_lanes_are_refused(self, architecture, tmp_path):
        model = architecture.build()
        model.remove_lane("chebyshev")
        model.add_lane("mine", **JOINING["mine"])
        save_model(tmp_path / "one", model, architecture, {})
        save_model(tmp_path / "other", architecture.build(), architecture, {})
        tensors, _ = load_checkpoint(tmp_path / "other")
        save(tmp_path / "one", tensors, {"architecture": read_json(tmp_path / "one.json")["architecture"]})  # the hash is right
        expected = (
            r"one does not fit the architecture in its JSON: it holds the lanes chebyshev, fourier, wavelet, "
            r"and fourier, mine \(added\), wavelet are expected; restore both files from one run"
        )
        with pytest.raises(ValueError, match=expected):
            load_model(tmp_path / "one")

    def test_a_base_lane_that_was_added_again_is_another_one(self, architecture, tmp_path):
        model = architecture.build()
        save_model(tmp_path / "last", model, architecture, {})
        tensors, _ = load_checkpoint(tmp_path / "last")
        model.remove_lane("fourier")
        model.add_lane("fourier", frequencies=5)
        save(tmp_path / "last", tensors, {"architecture": architecture.of(model).to_json()})
        with pytest.raises(ValueError, match=r"the lanes chebyshev, fourier, wavelet, and chebyshev, fourier \(added\), wavelet are"):
            load_model(tmp_path / "last")


class TestBadInput:
    @pytest.fixture(autouse=True)
    def _refused_without_a_trace(self, trained):
        before = trained(TOKENS)
        names = list(trained.state_dict())
        yield
        assert torch.equal(trained(TOKENS), before)
        assert list(trained.state_dict()) == names
        assert (list(trained.lanes), trained.added, trained.removed) == (list(BASE), {}, [])

    def test_a_name_that_is_taken(self, trained):
        with pytest.raises(ValueError, match=r"'fourier' is there already \(lanes: chebyshev, fourier, wavelet\); add it under another"):
            trained.add_lane("fourier", frequencies=3)

    def test_an_unknown_lane(self, trained):
        known = ", ".join(registry.LANES)
        for name, knobs in (("furier", {}), ("mine", {"lane": "furier"})):
            with pytest.raises(ValueError, match=f"'furier' is no lane; known: {known}, or 'module:Class'"):
                trained.add_lane(name, **knobs)

    @pytest.mark.parametrize(("entry", "cause"), [("nowhere:Lane", "No module named 'nowhere'"), (f"{__name__}:Nothing", "no attribute")])
    def test_a_lane_that_cannot_be_loaded(self, trained, entry, cause):
        with pytest.raises(ValueError, match=f"'{entry}' cannot be loaded .*{cause}"):
            trained.add_lane("mine", lane=entry)

    @pytest.mark.parametrize(("text", "cause"), [("class Lane(Missing): ...", "NameError: name 'Missing'"), ("class", "SyntaxError: ")])
    def test_a_module_of_ones_own_that_cannot_be_run(self, trained, tmp_path, monkeypatch, text, cause):
        (tmp_path / "cannot_be_run.py").write_text(text)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=f"'cannot_be_run:Lane' cannot be loaded .*{cause}"):
            trained.add_lane("mine", lane="cannot_be_run:Lane")

    def test_a_class_that_is_no_lane(self, trained):
        with pytest.raises(ValueError, match=r"'torch\.nn:Identity' is no lane; expected a class derived from"):
            trained.add_lane("mine", lane="torch.nn:Identity")

    @pytest.mark.parametrize(
        ("knobs", "message"), [({"keeep": 0.5}, "keeep"), ({"keep": 1.5}, "less than 1"), ({"keep": "half"}, "valid number")]
    )
    def test_a_bad_knob(self, trained, knobs, message):
        with pytest.raises(ValueError, match=message):
            trained.add_lane("mine", lane=MINE, **knobs)

    def test_a_knob_that_does_not_fit_the_model(self, trained):
        with pytest.raises(ValueError, match="a width of 6 is no multiple of head_width 4; change one of them"):
            trained.add_lane("attention", head_width=4)

    @pytest.mark.parametrize("name", ["", "Mine", "my.lane", "a/b", "-a", "a+b", "mine\n", "none", "keys", "pop", "training"])
    def test_a_name_that_cannot_name_a_lane(self, trained, name):
        with pytest.raises(ValueError, match=r"cannot name a lane[;,] "):
            trained.add_lane(name, lane=MINE)
        with pytest.raises(ValueError, match=r"cannot name a lane[;,] "):
            WaveStack(VOCABULARY, 16, 1, 32, 8, lanes={name: {"lane": MINE}})

    def test_no_such_lane(self, trained):
        for act in (trained.remove_lane, trained.freeze_except):
            with pytest.raises(ValueError, match=r"there is no lane named 'recall' to (remove|train); lanes: chebyshev, fourier, wavelet"):
                act("recall")
        assert all(parameter.requires_grad for parameter in trained.parameters())

    def test_a_transformer_has_no_lanes(self, transformer, budget):
        model = budgets.build(transformer, budget, VOCABULARY)
        with pytest.raises(ValueError, match="Transformer has no lanes, so 'fourier' cannot join it"):
            model.add_lane("fourier", frequencies=3)
        with pytest.raises(ValueError, match="Transformer has no lanes, so 'fourier' cannot be removed"):
            model.remove_lane("fourier")


class TestModelsFile:
    """A lane of one's own in a parameter file."""

    @staticmethod
    def load(tmp_path, root, lanes):
        (tmp_path / "models.yaml").write_text(yaml.safe_dump({"a": {"model": "wavestack", "lanes": lanes}}))
        profile = yaml.safe_load((root / "params/smoke.yaml").read_text())
        profile |= {"models": str(tmp_path / "models.yaml"), "catalogue": str(root / "params/corpora.yaml")}
        profile["studies"] = {"comparison": {"corpora": ["pydocs"], "specs": ["a"], "budget": "tiny", "seeds": [0]}}
        (tmp_path / "profile.yaml").write_text(yaml.safe_dump(profile))
        return load(tmp_path / "profile.yaml")

    def test_it_is_built(self, tmp_path, pytestconfig, own_module, budget):
        lanes = {"mine": {"lane": MINE, "keep": 0.9}, "loud": {"lane": own_module}, "fourier": {"frequencies": 3}}
        spec = self.load(tmp_path, pytestconfig.rootpath, lanes).specs["a"]
        assert spec.knobs["lanes"] == {**lanes, "loud": {"lane": own_module, "factor": 2.0}}
        model = budgets.build(spec, budget, VOCABULARY)
        assert list(model.blocks[1].branches) == ["fourier", "loud", "mine"]
        assert model.blocks[1].branches["mine"].lane.keep == 0.9
        assert model.blocks[1].branches["loud"].lane.factor == 2.0
        losses = train(model, 2)
        assert losses[-1] < losses[0]

    @pytest.mark.parametrize(
        ("knobs", "message"),
        [
            ({"lane": "nowhere:Lane"}, "models.yaml: a.lanes.mine.lane: 'nowhere:Lane' cannot be loaded (No module named 'nowhere')"),
            ({"lane": MINE, "keep": 2}, "models.yaml: a.lanes.mine.keep: expected less than 1, found 2"),
            ({"lane": MINE, "kept": 0.2}, "models.yaml: a.lanes.mine.kept: unknown key; did you mean 'keep'?"),
            ({"lane": "furier"}, "models.yaml: a.lanes.mine.lane: unknown 'furier'; did you mean 'fourier'?"),
        ],
    )
    def test_faults_name_file_and_key(self, tmp_path, pytestconfig, knobs, message):
        with pytest.raises(ParameterError) as caught:
            self.load(tmp_path, pytestconfig.rootpath, {"mine": knobs})
        assert [error.replace(f"{tmp_path}/", "")[: len(message)] for error in caught.value.errors] == [message]


def test_a_spec_of_lanes_of_ones_own_says_what_it_is_made_of():
    """A run's fingerprint covers these entries."""
    spec = ModelSpec("wavestack", {"lanes": {"mine": {"lane": MINE}, "slow": {"lane": "fourier"}}, "mixer": "gated"})
    assert spec.entries == [registry.MODELS["wavestack"], MINE, registry.LANES["fourier"], registry.MIXERS["gated"]]
