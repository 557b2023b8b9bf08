import pytest
import torch

from wavestack.lanes import oscillator
from wavestack.lanes.oscillator import CHUNK, Oscillator


def test_an_impulse_rings_at_its_frequency_and_halves_in_its_half_life():
    """One mode of half-life 8 with 2 turns in it, read by its real part: 2^(-t/8) cos(2 pi t / 4), times the loudness."""
    lane = Oscillator(1, 64, modes=1)
    lane.half_life_exponents.data[:] = 3
    lane.turns.data[:] = 2
    lane.weights.data = torch.tensor([1.0, 0.0]).view(2, 1, 1)
    x = torch.zeros(1, 200, 1)
    x[0, 0] = 1
    t = torch.arange(200)
    expected = (1 - 2 ** (-2 / 8)) ** 0.5 * 2 ** (-t / 8) * torch.cos(torch.pi * t / 2)
    torch.testing.assert_close(lane(x)[0].flatten(), expected, atol=1e-6, rtol=0)


def test_modes_are_damped_whatever_is_learned():
    lane = Oscillator(2, 64, modes=6)
    lane.half_life_exponents.data = torch.tensor([-9.0, -1.0, 0.0, 5.0, 12.0, 20.0])
    lane.turns.data = torch.tensor([-3.0, 0.0, 1.0, 7.0, 100.0, 1e4])
    moduli = lane.powers(1)[:, 1].square().sum(0).sqrt()
    assert (moduli < 1).all()
    y, _ = lane(torch.randn(1, 5000, 2))
    assert y.isfinite().all()


def test_modes_are_equally_loud_under_noise():
    """gamma: E |gamma h|^2 = 1 at every half-life, as that of the input; without it, a mode of half-life 32 would be 23 times as loud."""
    torch.manual_seed(0)
    lane = Oscillator(16, 256, modes=3)
    lane.half_life_exponents.data = torch.tensor([1.0, 3.0, 5.0])
    x = torch.randn(8, 2000, 16)
    for mode in range(3):
        power = 0
        for part in range(2):
            lane.weights.data.zero_()
            lane.weights.data[part, mode] = 1
            power += lane(x)[0][:, 500:].square().mean().item()
        assert power == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("length", [CHUNK, 2 * CHUNK, 2 * CHUNK + 1, 4 * CHUNK + 9])
def test_parts_of_a_row_give_what_the_whole_does(monkeypatch, length):
    """Two chunks at a time, after a past: within one part, a whole one, and over several with a cut chunk behind them."""
    torch.manual_seed(0)
    lane = Oscillator(3, 512, modes=4)
    x, past = torch.randn(2, length, 3, requires_grad=True), torch.randn(2, 2, 4, 3, requires_grad=True)
    weight, weight_after = torch.randn(2, length, 3), torch.randn_like(past)
    found = []
    for together in (length + CHUNK, 2 * CHUNK):
        monkeypatch.setattr(oscillator, "TOGETHER", together)
        y, after = lane(x, past)
        gradients = torch.autograd.grad((y * weight).sum() + (after * weight_after).sum(), [x, past, *lane.parameters()])
        found.append((y, after, *gradients))
    for whole, parts in zip(*found, strict=True):
        torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-4)


def test_starts_with_half_lives_from_4_to_half_the_context():
    exponents = Oscillator(2, 1024, modes=8).half_life_exponents
    torch.testing.assert_close(exponents.data, torch.arange(2.0, 10.0))
    assert (Oscillator(2, 1, modes=3).half_life_exponents == 2).all()
