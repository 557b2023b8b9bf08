"""Lanes in some blocks and not in others: what the blocks then have, cost, weigh, gain and lose."""

import copy

import pytest
import torch
import yaml
from torch import Tensor

from wavestack import budget as budgets
from wavestack import contract
from wavestack.models.wavestack import WaveStack
from wavestack.params import ModelSpec
from wavestack.reading import ParameterError, load
from wavestack.studies.ledger import ledger_rows
from wavestack.training.checkpoint import Architecture, load_model, save, save_model
from wavestack.training.checkpoint import load as load_checkpoint

VOCABULARY, HIDDEN, CONTEXT, WIDTH = 50, 32, 72, 12
EVERYWHERE = {"fourier": {"frequencies": 3}, "wavelet": {"wavelet": "haar", "levels": 1}}
ONCE = {"attention": {"head_width": 6, "blocks": [1]}, **EVERYWHERE}
APART = {"fourier": {"frequencies": 3, "blocks": [2]}, "wavelet": {"wavelet": "haar", "levels": 1, "blocks": [0, 2]}}  # none in block 1
TOKENS = torch.randint(VOCABULARY, (3, 40), generator=torch.Generator().manual_seed(0))


def built(lanes, mixer="gated", blocks=3) -> WaveStack:
    torch.manual_seed(1)
    return WaveStack(VOCABULARY, HIDDEN, blocks, CONTEXT, 8, lanes=lanes, mixer=mixer)


def random(lanes, mixer="gated", blocks=3) -> WaveStack:
    """With weights that hide nothing."""
    model = built(lanes, mixer, blocks)
    contract.randomise(model, 0)
    return model.eval()


def held(model) -> list[list[str]]:
    return [list(block.every_branch) for block in model.blocks]


def bytes_of(state) -> int:
    if isinstance(state, Tensor):
        return state.nbytes
    return sum(map(bytes_of, state)) if isinstance(state, list | tuple) else 0


class TestBlocks:
    def test_each_has_its_lanes_and_one_without_any_passes_on(self):
        assert held(built(ONCE)) == [["fourier", "wavelet"], ["attention", "fourier", "wavelet"], ["fourier", "wavelet"]]
        assert held(built(APART)) == [["wavelet"], ["identity"], ["fourier", "wavelet"]]

    def test_all_of_them_named_is_none_named(self):
        """The same tensors under the same names, and the same logits, to the bit."""
        named = {name: {**knobs, "blocks": [2, 0, 1]} for name, knobs in EVERYWHERE.items()}
        one, other = built(named), built(EVERYWHERE)
        assert list(one.state_dict()) == list(other.state_dict())
        assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())
        assert torch.equal(one(TOKENS), other(TOKENS))

    def test_a_block_without_the_lane_is_that_of_a_model_without_it(self):
        with_it, without = random(ONCE), random(EVERYWHERE)
        without.blocks[0].load_state_dict(with_it.blocks[0].state_dict())
        x = torch.randn(2, 9, HIDDEN)
        assert torch.equal(with_it.blocks[0](x)[0], without.blocks[0](x)[0])
        assert not torch.equal(with_it.blocks[1](x)[0], without.blocks[1](x)[0])

    def test_gains_start_where_the_gates_of_a_block_need_them(self):
        gains = [{branch.gain[0].item() for branch in block.branches.values()} for block in built(ONCE).blocks]
        assert gains == [{2.0}, {3.0}, {2.0}]

    def test_a_variant_keeps_the_places_of_its_lanes(self, budget):
        spec = ModelSpec("wavestack", {"lanes": ONCE})
        for variant, expected in {
            "lanes=attention": [["identity"], ["attention"]],
            "lanes=attention+fourier": [["fourier"], ["attention", "fourier"]],
            "lanes=fourier": [["fourier"], ["fourier"]],
            "lanes=none": [["identity"], ["identity"]],
        }.items():
            assert held(budgets.build(spec.variant(variant), budget, VOCABULARY)) == expected


@pytest.mark.parametrize("mixer", ["gated", "sequence"])
@pytest.mark.parametrize("lanes", [ONCE, APART], ids=["once", "apart"])
def test_the_contract_holds(lanes, mixer):
    """Over chunk borders: causal, consistent, streamed as in parallel; with a lane that joined one block."""
    model, twin = built(lanes, mixer), built(lanes, mixer)
    for each in (model, twin):
        each.add_lane("recall", features=8, blocks=[1])
    assert [finding for finding in contract.check_model(model, twin, VOCABULARY) if not finding.passed] == []


class TestCosts:
    @pytest.mark.parametrize(
        ("lanes", "mixer", "growing"),
        [(EVERYWHERE, "gated", 0), (ONCE, "gated", 1), (EVERYWHERE, "sequence", 3 * 2), (ONCE, "sequence", 1 + 7)],
    )
    def test_state_bytes_are_those_of_the_state(self, lanes, mixer, growing):
        """It grows by a key and a value of each lane's width: for a lane of attention, and for each lane that a mixer looks back along."""
        model, state, position = random(lanes, mixer), None, 0
        for length in (5, 1, 20):
            _, state = model.advance(TOKENS[:1, position : position + length], state)
            position += length
            assert model.state_bytes(position) == bytes_of(state)
        assert model.state_bytes(31) - model.state_bytes(30) == 4 * 2 * WIDTH * growing

    def test_a_lane_in_one_block_by_hand(self):
        """Queries, keys and values of W, z and out, a gate; four taps a channel, a gain, norms of a head's width; pairs of positions."""
        model, without, length = built(ONCE), built(EVERYWHERE), 30
        matrices = HIDDEN * (3 * WIDTH + WIDTH + WIDTH) + HIDDEN
        assert model.parameter_counts()[1] - without.parameter_counts()[1] == matrices + 4 * 3 * WIDTH + WIDTH + 2 * 6
        pairs = length * (length + 1) // 2
        assert model.flops(length) - without.flops(length) == 2 * length * (matrices + 4 * 3 * WIDTH) + 2 * 2 * pairs * WIDTH

    def test_the_mixer_over_the_sequence_by_hand(self):
        """In place of a gate of L x H: W -> 3W for all lanes, norms of a head's width, and pairs of positions in each lane."""
        model, gated, length = built(EVERYWHERE, "sequence"), built(EVERYWHERE), 30
        assert model.parameter_counts()[1] - gated.parameter_counts()[1] == 3 * (3 * WIDTH**2 + 2 * WIDTH - 2 * HIDDEN)
        pairs = length * (length + 1) // 2
        added = 2 * length * 2 * 3 * WIDTH**2 + 2 * 2 * pairs * 2 * WIDTH - 2 * length * 2 * HIDDEN
        assert model.flops(length) - gated.flops(length) == 3 * added


class TestGates:
    def test_a_block_that_lacks_a_lane_weighs_it_with_zero(self):
        gates = random(ONCE).gates(TOKENS)
        assert gates.shape == (3, *TOKENS.shape, 3)
        assert (gates[[0, 2], ..., 0] == 0).all()  # attention
        assert (gates[1] > 0).all()
        torch.testing.assert_close(gates.sum(-1), torch.ones(3, *TOKENS.shape))

    def test_lanes_in_the_order_of_lanes_and_identity_behind_them(self):
        model = random(APART)
        assert list(model.lanes) == ["fourier", "wavelet"]
        gates = model.gates(TOKENS)
        assert gates.shape == (3, *TOKENS.shape, 3)
        for block, expected in enumerate([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]):
            assert torch.equal(gates[block], torch.tensor(expected).expand_as(gates[block]))
        assert (gates[2, ..., :2] > 0).all()
        assert (gates[2, ..., 2] == 0).all()

    def test_those_of_a_block_are_its_own(self):
        model = random(ONCE)
        stream = model.blocks[0](model.embedding(TOKENS))[0]
        expected = torch.softmax(model.blocks[1].norm(stream) @ model.blocks[1].mixer.gate.weight.T, -1)
        torch.testing.assert_close(model.gates(TOKENS)[1], expected)


class TestRemoving:
    def test_a_lane_of_one_block_leaves_the_others_as_they_are(self):
        model = random(ONCE)
        before = copy.deepcopy(model)
        model.remove_lane("attention")
        assert held(model) == [["fourier", "wavelet"]] * 3
        assert (list(model.lanes), model.removed) == (["fourier", "wavelet"], ["attention"])
        x = torch.randn(2, 9, HIDDEN)
        assert torch.equal(model.blocks[0](x)[0], before.blocks[0](x)[0])
        gates = before.gates(TOKENS)[1, ..., 1:]
        torch.testing.assert_close(model.gates(TOKENS)[1], gates / gates.sum(-1, keepdim=True))

    def test_refused_by_a_mixer_that_needs_all_lanes_of_its_block(self):
        model = random(ONCE, "sequence")
        before = model(TOKENS)
        with pytest.raises(ValueError, match="combines exactly the lanes that it was trained with"):
            model.remove_lane("attention")
        assert torch.equal(model(TOKENS), before)
        assert (list(model.lanes), model.removed) == (list(ONCE), [])

    @pytest.mark.parametrize(("name", "block"), [("wavelet", 0), ("identity", 1)])
    def test_the_last_one_of_a_block_stays(self, name, block):
        model = random(APART)
        before = model(TOKENS)
        with pytest.raises(ValueError, match=f"'{name}' is the last lane that block {block} was built with, and cannot be removed"):
            model.remove_lane(name)
        assert torch.equal(model(TOKENS), before)
        assert model.removed == []


class TestAdding:
    @pytest.mark.parametrize("mixer", ["gated", "sequence"])
    def test_to_some_blocks_changes_no_logit_and_trains_alone(self, mixer):
        model = random(ONCE, mixer)
        before, names = model(TOKENS), set(model.state_dict())
        model.add_lane("recall", features=4, blocks=[0, 2])
        assert torch.equal(model(TOKENS), before)
        assert ["recall" in block.added for block in model.blocks] == [True, False, True]
        assert model.added["recall"]["blocks"] == [0, 2]
        model.freeze_except("recall")
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert trained == {name for name in model.state_dict() if ".added.recall." in name} == set(model.state_dict()) - names
        model(TOKENS).square().mean().backward()
        assert all(model.blocks[place].added["recall"].out.weight.grad.abs().max() > 0 for place in (0, 2))
        model.remove_lane("recall")
        assert torch.equal(model(TOKENS), before)

    def test_a_base_lane_of_one_block_trains_alone(self):
        model = random(ONCE)
        model.freeze_except("attention")
        trained = {name.split(".lane.")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {name.rsplit(".attention", 1)[0] for name in trained} == {"blocks.1.branches"}

    def test_a_name_that_some_block_has_is_taken(self):
        with pytest.raises(ValueError, match=r"'attention' is there already \(lanes: attention, fourier, wavelet\)"):
            random(ONCE).add_lane("attention", head_width=6, blocks=[0])


class TestCheckpoints:
    @pytest.fixture
    def architecture(self, budget):
        return Architecture(ModelSpec("wavestack", {"lanes": ONCE}), budget, VOCABULARY)

    def test_places_are_remembered(self, architecture, tmp_path):
        model = architecture.build()
        model.remove_lane("wavelet")
        model.add_lane("recall", features=4, blocks=[0])
        contract.randomise(model, 0)
        save_model(tmp_path / "best", model, architecture, {})
        twin = load_model(tmp_path / "best")
        assert held(twin) == held(model) == [["fourier", "recall"], ["attention", "fourier"]]
        tokens = TOKENS[:, :32]
        assert torch.equal(twin(tokens), model.eval()(tokens))

    def test_lanes_of_other_blocks_are_refused(self, architecture, tmp_path):
        moved = {**ONCE, "attention": {"head_width": 6, "blocks": [0]}}
        other = Architecture(ModelSpec("wavestack", {"lanes": moved}), architecture.budget, VOCABULARY)
        save_model(tmp_path / "best", architecture.build(), architecture, {})
        tensors, _ = load_checkpoint(tmp_path / "best")
        save(tmp_path / "best", tensors, {"architecture": other.to_json()})
        expected = "it holds the lanes attention in block 1, fourier, wavelet, and attention in block 0, fourier, wavelet are expected"
        with pytest.raises(ValueError, match=expected):
            load_model(tmp_path / "best")


class TestBadInput:
    @pytest.mark.parametrize("blocks", [[3], [0, 7], [-1], []])
    def test_blocks_that_are_not_there(self, blocks):
        message = f"lane 'fourier': its blocks are \\{blocks}, and those of the model are 0 to 2; choose some of these"
        with pytest.raises(ValueError, match=message):
            built({"fourier": {"frequencies": 3, "blocks": blocks}, "wavelet": {"wavelet": "haar", "levels": 1}})

    @pytest.mark.parametrize(
        ("blocks", "message"), [([3], "those of the model are 0 to 2"), ([-1], "greater than or equal to 0"), ([], "at least 1")]
    )
    def test_nor_for_a_lane_that_joins(self, blocks, message):
        model = random(ONCE)
        before = model(TOKENS)
        with pytest.raises(ValueError, match=message):
            model.add_lane("recall", features=4, blocks=blocks)
        assert torch.equal(model(TOKENS), before)
        assert model.added == {}

    @staticmethod
    def load(tmp_path, root, knobs):
        models = yaml.safe_load((root / "params/models.yaml").read_text())
        models["wavestack"]["lanes"]["fourier"] |= knobs
        (tmp_path / "models.yaml").write_text(yaml.safe_dump(models))
        return load(root / "params/smoke.yaml", [f"models={tmp_path / 'models.yaml'}"])

    @pytest.mark.parametrize(
        ("blocks", "message"),
        [
            ([-1], "blocks.0: expected greater than or equal to 0, found -1"),
            ([1, 1], "blocks: expected each value once, found [1, 1]"),
            (1, "blocks: expected a valid list, found 1"),
        ],
    )
    def test_faults_of_a_file_name_file_and_key(self, tmp_path, pytestconfig, blocks, message):
        with pytest.raises(ParameterError) as caught:
            self.load(tmp_path, pytestconfig.rootpath, {"blocks": blocks})
        assert caught.value.errors == [f"{tmp_path}/models.yaml: wavestack.lanes.fourier.{message}"]

    def test_a_misspelt_key(self, tmp_path, pytestconfig):
        with pytest.raises(ParameterError, match=r"wavestack\.lanes\.fourier\.block: unknown key; did you mean 'blocks'\?"):
            self.load(tmp_path, pytestconfig.rootpath, {"block": [0]})

    def test_a_block_beyond_the_budget_s_depth_is_told_with_the_budget(self, tmp_path, pytestconfig):
        parameters = self.load(tmp_path, pytestconfig.rootpath, {"blocks": [2]})
        with pytest.raises(
            ValueError, match=r"smoke\.yaml: budgets\.tiny: wavestack, base, on pydocs: lane 'fourier': its blocks are \[2\]"
        ):
            ledger_rows(parameters)

    def test_what_is_not_said_is_not_filled_in(self, tmp_path, pytestconfig):
        """So that what older files and checkpoints say of a lane is what is said of it now."""
        assert self.load(tmp_path, pytestconfig.rootpath, {}).specs["wavestack"].knobs["lanes"]["fourier"].keys() == {"frequencies"}
        said = self.load(tmp_path, pytestconfig.rootpath, {"blocks": [1]}).specs["wavestack"].knobs["lanes"]["fourier"]
        assert said["blocks"] == [1]
