import pytest
import torch

import wavestack.lanes.associative_memory
from wavestack.lanes.associative_memory import CHUNK, GROUP, recall
from wavestack.lanes.recall import Recall


def write_and_ask(replace: bool) -> torch.Tensor:
    """Key 0 gets the value 3, then 5, key 1 gets 7; then each is asked for. No decay, full rate."""
    keys = torch.eye(2)[[0, 0, 1, 0, 0]]
    values = torch.tensor([3.0, 5.0, 7.0, 0.0, 0.0])
    queries = torch.eye(2)[[0, 0, 1, 0, 1]]
    rate = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])
    y, _ = recall(
        torch.stack([keys, queries], 1).view(1, 5, 2, 1, 2),
        values.view(1, 5, 1, 1),
        torch.zeros(1, 5, 1),
        rate.view(1, 5, 1),
        torch.zeros(1),
        torch.zeros(1, 0, 1, 2),
        torch.zeros(1, 1, 2, 1),
        replace,
    )
    return y.flatten()


def test_replace_keeps_the_last_value_of_a_key_and_add_their_sum():
    torch.testing.assert_close(write_and_ask(replace=True), torch.tensor([3.0, 5.0, 7.0, 5.0, 7.0]))
    torch.testing.assert_close(write_and_ask(replace=False), torch.tensor([3.0, 8.0, 7.0, 8.0, 7.0]))


def test_half_lives_at_the_start():
    lane = Recall(8, 64, heads=4)
    decay = torch.exp(-torch.nn.functional.softplus(lane.decay_start * lane.decay_bias))
    torch.testing.assert_close(-1 / decay.log2(), torch.tensor([64.0, 2 ** (22 / 3), 2 ** (26 / 3), 1024.0]), atol=0, rtol=1e-3)


def test_it_hears_what_followed_the_last_time():
    """Addresses A B C A B ?, values 1 2 3 4 5 6: A was followed by 2, then by 5; B by 3, then by 6."""
    lane = Recall(1, 16, features=3, heads=1)
    with torch.no_grad():
        lane.rate_bias += 30  # a rate of 1
        lane.decay_bias += 10  # no decay
        lane.own.zero_()
    addresses = torch.eye(3)[[0, 1, 2, 0, 1, 2]]
    x = torch.cat([addresses, torch.tensor([[1.0, 2, 3, 4, 5, 6]]).T, torch.zeros(6, 2)], -1)[None]
    y, state = lane(x)
    torch.testing.assert_close(y.flatten(), torch.tensor([0.0, 0, 0, 2, 3, 4]))
    asked = torch.cat([torch.eye(3)[[0]], torch.zeros(1, 3)], -1)[None]  # A again, which writes 0 under C
    torch.testing.assert_close(lane(asked, state)[0].flatten(), torch.tensor([5.0]))


@pytest.mark.parametrize("queries", ["shared", "own"])
def test_how_many_chunks_are_worked_on_at_a_time_changes_nothing(queries, monkeypatch):
    """One chunk of one row, several chunks of several rows, or all: a key that comes late, and its gradient, cross between parts."""
    torch.manual_seed(0)
    lane = Recall(4, 1024, features=3, heads=2, queries=queries)
    x = torch.randn(5, 5 * CHUNK + 7, lane.inputs)
    past = lane(torch.randn(5, 3, lane.inputs))[1]

    def gradients(together: int, abreast: int) -> list[torch.Tensor]:
        monkeypatch.setattr(wavestack.lanes.associative_memory, "TOGETHER", together)
        monkeypatch.setattr(wavestack.lanes.associative_memory, "ABREAST", abreast)
        inputs = [x.clone().requires_grad_(), *(tensor.detach().requires_grad_() for tensor in past)]
        y, state = lane(inputs[0], type(past)(*inputs[1:]))
        (y.square().sum() + state.memory.sum()).backward()
        found = [y.detach(), *(tensor.grad for tensor in inputs), *(parameter.grad for parameter in lane.parameters())]
        lane.zero_grad()
        return found

    whole = gradients(100, 100)
    for sizes in [(1, 1), (12, 4), (1, 100)]:
        for found, expected in zip(gradients(*sizes), whole, strict=True):
            torch.testing.assert_close(found, expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("batch", "chunks", "memories"), [(6, 1, 0), (6, 2, 1), (6, 100, 99), (1, 32, 32)])
def test_no_memory_is_kept_but_those_that_chunks_find(batch, chunks, memories):
    """Not the last one, and of short parts not the one that the sequence starts with."""
    lane = Recall(4, 10_000, features=3)
    kept = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = (tensor.shape, tensor.untyped_storage().nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        lane(torch.randn(batch, chunks * CHUNK, lane.inputs))
    found = [size for shape, size in kept.values() if shape[-2:] == (3, 4) and len(shape) == 4]  # n x G x R x P
    assert sum(found) <= 4 * (memories * batch * 3 * 4 + 1)


@pytest.mark.parametrize("rule", ["replace", "add"])
@pytest.mark.parametrize("chunks", [GROUP, 2 * GROUP + 1, 3 * GROUP + 5])
@pytest.mark.parametrize("addresses", [1, 2])
def test_groups_of_chunks_side_by_side_are_chunks_one_after_another(rule, chunks, addresses, monkeypatch):
    """As a GPU takes them, whole groups and a cut one; with a past, whose gradient goes through all of them; some decays are strong."""
    torch.manual_seed(0)
    addresses = torch.randn(2, (chunks - 1) * CHUNK + 7, addresses, 2, 3, dtype=torch.float64)
    v, rate = torch.randn(2, addresses.shape[1], 2, 2, dtype=torch.float64), torch.rand(2, addresses.shape[1], 2, dtype=torch.float64)
    log_decay, own = -0.01 * torch.rand_like(rate), torch.rand(2, dtype=torch.float64)
    log_decay[:, ::100] = -80
    late = torch.nn.functional.normalize(addresses[:, : 2 - addresses.shape[2], 0], dim=-1)
    memory = torch.randn(2, 2, 3, 2, dtype=torch.float64)

    def gradients(grouped: bool) -> list[torch.Tensor]:
        monkeypatch.setattr(wavestack.lanes.associative_memory, "_grouped", lambda chunks, device: grouped)
        inputs = [x.clone().requires_grad_() for x in (addresses, v, log_decay, rate, own, late, memory)]
        y, after = recall(*inputs, rule == "replace")
        (y.square().sum() + after.sum()).backward()
        return [y.detach(), after.detach(), *(x.grad for x in inputs)]

    for found, expected in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def test_arguments_in_float64_stay_as_they_are():
    """Of one head and one sequence, the layout of the chunks is that of the arguments."""
    torch.manual_seed(0)
    addresses, v = torch.randn(1, 5, 1, 1, 3, dtype=torch.float64), torch.randn(1, 5, 1, 2, dtype=torch.float64)
    log_decay, rate = -torch.rand(1, 5, 1, dtype=torch.float64), torch.rand(1, 5, 1, dtype=torch.float64)
    own, late, memory = torch.rand(1), torch.zeros(1, 1, 1, 3), torch.randn(1, 1, 3, 2)
    inputs = [x.double().requires_grad_() for x in (addresses, v, log_decay, rate, own, late, memory)]
    before = [x.detach().clone() for x in inputs]
    assert torch.autograd.gradcheck(lambda *given: recall(*given, True), inputs)
    assert all(torch.equal(x, y) for x, y in zip(inputs, before, strict=True))
