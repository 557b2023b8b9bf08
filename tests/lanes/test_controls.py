import torch

from wavestack.lanes.controls import LearnedBasis, RandomBasis, random_basis


def test_a_random_basis_is_its_seed():
    assert torch.equal(RandomBasis(4, 64, seed=1).table, RandomBasis(8, 64, seed=1).table)
    assert not torch.equal(random_basis(64, 16, 1), random_basis(64, 16, 2))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    random_basis(64, 16, 3)
    assert torch.equal(torch.get_rng_state(), before)  # a model's own random weights do not depend on it


def test_a_learned_basis_starts_as_a_random_one_and_costs_as_much():
    learned, fixed = LearnedBasis(4, 2048, rank=16), RandomBasis(4, 2048, rank=16)
    torch.testing.assert_close(learned.values.std(), fixed.table.std(), atol=0.02, rtol=0)
    assert learned.flops(100) == fixed.flops(100)
    assert learned.state_bytes(100) == fixed.state_bytes(100)


def test_only_the_positions_read_are_learned():
    lane = LearnedBasis(4, 64, rank=3)
    lane(torch.randn(1, 40, 4))[0].sum().backward()
    assert (lane.values.grad[:40] != 0).all()
    assert (lane.values.grad[40:] == 0).all()
