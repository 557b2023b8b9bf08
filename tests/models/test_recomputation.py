import weakref
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from wavestack.models.recomputation import recomputed
from wavestack.models.wavestack import WaveStack

LANES = {"fourier": {"frequencies": 4}, "recall": {"features": 4}, "wavelet": {"wavelet": "haar", "levels": 2}}


class Doubled:
    """x doubled, and how often."""

    def __init__(self, x: Tensor):
        self.x, self.calls = x, 0

    def __call__(self) -> Tensor:
        self.calls += 1
        return 2 * self.x


def test_views_are_made_again_once_and_the_tensor_is_not_kept():
    x = torch.arange(6.0).view(2, 3).requires_grad_()
    double = Doubled(x.detach())
    tensor = 2 * x
    kept = StorageWeakRef(tensor.untyped_storage())
    with recomputed(tensor, double):
        first, second = tensor.split([1, 2], -1)
        y = (first * second).sum() + second.square().sum()
    del tensor, first, second
    assert kept.expired()
    assert double.calls == 0
    y.backward()
    assert double.calls == 1
    a, b, c = x.detach().unbind(-1)  # y = 4 a (b + c) + 4 b^2 + 4 c^2
    torch.testing.assert_close(x.grad, torch.stack([4 * (b + c), 4 * a + 8 * b, 4 * a + 8 * c], -1))


def test_what_was_made_is_dropped_once_the_gradient_is_there():
    x = torch.ones(3, requires_grad=True)
    made = []

    def double() -> Tensor:
        again = 2 * x.detach()
        made.append(weakref.ref(again))
        return again

    tensor = 2 * x
    with recomputed(tensor, double):
        y = tensor.square().sum()
    y.backward(retain_graph=True)
    assert [again() for again in made] == [None]
    y.backward()  # makes it once more
    assert [again() for again in made] == [None, None]
    torch.testing.assert_close(x.grad, torch.full((3,), 16.0))


def test_an_output_that_its_operation_keeps_goes_with_the_graph():
    """exp keeps what it gives; kept with its graph, it would never be freed."""
    x = torch.ones(3, requires_grad=True)
    tensor = 2 * x
    with recomputed(tensor, lambda: 2 * x.detach()):
        y = tensor.exp()
    kept = StorageWeakRef(y.untyped_storage())
    del y, tensor
    assert kept.expired()


def test_a_tensor_that_was_changed_in_place_is_told_or_kept():
    x = torch.ones(3, requires_grad=True)
    weight = torch.ones(3)
    tensor = 2 * x
    with recomputed(tensor, lambda: 2 * x.detach()):
        y = (tensor * weight).sum()
    weight.mul_(3)
    with pytest.raises(AssertionError, match="changed in place"):
        y.backward()

    tensor = 2 * x
    with recomputed(tensor, lambda: 2 * x.detach()):
        y = tensor.mul_(5).square().sum()
    y.backward()
    torch.testing.assert_close(x.grad, torch.full((3,), 200.0))


def test_other_numbers_in_the_same_memory_are_kept():
    x = torch.ones(4, requires_grad=True)
    tensor = 2 * x
    with recomputed(tensor, lambda: 2 * x.detach()):
        y = torch.view_as_complex(tensor.view(2, 2)).abs().square().sum()
    y.backward()
    torch.testing.assert_close(x.grad, torch.full((4,), 8.0))


def test_another_layout_is_an_error():
    x = torch.ones(2, 3, requires_grad=True)
    tensor = 2 * x
    with recomputed(tensor, lambda: (2 * x.detach()).T.contiguous().T):
        y = tensor.square().sum()
    with pytest.raises(AssertionError):
        y.backward()


def test_nothing_is_made_again_without_gradients():
    tensor = torch.ones(3)
    with recomputed(tensor, lambda: pytest.fail("made again")):
        weight = torch.ones(3, requires_grad=True)
        (tensor * weight).sum().backward()
    torch.testing.assert_close(weight.grad, tensor)


@pytest.mark.parametrize("length", [1, 40])
def test_a_model_s_loss_and_gradients_are_the_same_bits(length, monkeypatch):
    torch.manual_seed(0)
    model = WaveStack(50, 16, 2, 64, 32, lanes=LANES, lane_width=0.5)
    model.add_lane("again", lane="recall", features=4)
    tokens = torch.randint(0, 50, (2, length))

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model(tokens).square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    expected_calls = len(model.blocks) * 2  # of the base lanes, and of the added one
    made = []
    monkeypatch.setattr("wavestack.models.wavestack.WORTH", 0)
    monkeypatch.setattr("wavestack.models.wavestack.recomputed", lambda tensor, make: recomputed(tensor, lambda: made.append(1) or make()))
    found = gradients()
    assert len(made) == expected_calls
    monkeypatch.setattr("wavestack.models.wavestack.recomputed", lambda tensor, make: nullcontext())
    for name, expected in gradients().items():
        assert torch.equal(found[name], expected), name
