import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from wavestack.lanes.filtering import FEW
from wavestack.models.recomputation import recomputed
from wavestack.models.wavestack import WORTH, WaveStack

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


def model_of_lanes(**options: int) -> WaveStack:
    torch.manual_seed(0)
    model = WaveStack(50, 16, 2, 64, 32, lanes=LANES, lane_width=0.5, **options)
    model.add_lane("again", lane="recall", features=4)
    return model


@pytest.fixture
def made(monkeypatch) -> list[Tensor]:
    """What models make again in backward."""
    found: list[Tensor] = []

    def noted(tensor: Tensor, make: Callable[[], Tensor]) -> AbstractContextManager[None]:
        def again() -> Tensor:
            found.append(make())
            return found[-1]

        return recomputed(tensor, again)

    monkeypatch.setattr("wavestack.models.wavestack.recomputed", noted)
    return found


@pytest.mark.parametrize("length", [1, 40])
def test_a_model_s_logits_and_gradients_are_the_same_bits(length, made, monkeypatch):
    model = model_of_lanes()
    tokens = torch.randint(0, 50, (2, length))

    def results() -> dict[str, Tensor]:
        model.zero_grad()
        logits = model(tokens)
        logits.square().mean().backward()
        return {"logits": logits.detach(), **{name: parameter.grad.clone() for name, parameter in model.named_parameters()}}

    expected = results()
    assert made == []  # so few are not worth it
    monkeypatch.setattr("wavestack.models.wavestack.WORTH", 0)
    for name, found in results().items():
        assert torch.equal(found, expected[name]), name
    assert len(made) == len(model.blocks) * 2  # the base lanes' inputs, and the added one's


def test_what_is_large_is_made_again(made):
    model = model_of_lanes()
    width = sum(branch.lane.inputs for branch in model.blocks[0].branches.values())
    for rows, times in ((WORTH // (64 * width), 0), (WORTH // (64 * width) + 1, len(model.blocks))):  # the added lane's are fewer
        model(torch.zeros(rows, 64, dtype=torch.long)).sum().backward()
        assert len(made) == times


def test_nothing_is_made_again_where_it_would_not_save_memory(made, monkeypatch):
    monkeypatch.setattr("wavestack.models.wavestack.WORTH", 0)
    tokens = torch.randint(0, 50, (2, 40))
    model_of_lanes(convolution=FEW + 1)(tokens).sum().backward()  # the filter keeps copies of its inputs
    with torch.autocast("cpu", torch.bfloat16):  # lanes take copies of what they read
        loss = model_of_lanes()(tokens).sum()
    loss.backward()
    assert made == []
