import pytest
import torch

from wavestack.models import alignment
from wavestack.models.reference import Reference
from wavestack.models.transformer import Transformer
from wavestack.models.wavestack import WaveStack


def wavestack() -> WaveStack:
    """What its lanes read is 12 + 12 + 5 + 5 + 12 + 2 channels wide, its MLP 21, the vocabulary 101: none a multiple of 8."""
    return WaveStack(101, 32, 2, 64, 21, lanes={"fourier": {}, "recall": {"features": 5}}, lane_width=0.375)


@pytest.mark.parametrize(
    "build",
    [wavestack, lambda: Transformer(101, 32, 2, 64, 21, head_width=8), lambda: Reference(101, 64, hidden=24, dropout=0.0)],
    ids=["wavestack", "transformer", "reference"],
)
def test_zeros_behind_weights_change_nothing(build, monkeypatch):
    torch.manual_seed(0)
    model, tokens = build(), torch.randint(101, (2, 40))

    def results() -> list[torch.Tensor]:
        model.zero_grad()
        logits = model(tokens)
        logits.square().sum().backward()
        return [logits.detach(), *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]

    expected = results()
    monkeypatch.setattr(alignment, "MULTIPLE", {"cpu": 8})
    for found, wanted in zip(results(), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_what_is_padded(monkeypatch):
    weight = torch.ones(5, 3)
    assert alignment.padded(weight, 0) is weight  # on the CPU
    monkeypatch.setattr(alignment, "MULTIPLE", {"cpu": 4})
    assert alignment.padded(weight, 0).tolist() == [[1, 1, 1]] * 5 + [[0, 0, 0]] * 3
    assert alignment.padded(weight, 1).tolist() == [[1, 1, 1, 0]] * 5
    assert alignment.padded(alignment.padded(weight, 0), 0).shape == (8, 3)
    assert alignment.project(torch.ones(2, 1, 3), weight).shape == (2, 1, 5)
