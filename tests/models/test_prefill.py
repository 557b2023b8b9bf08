"""What a prompt needs: the logits of its last token, and the state after it."""

import pytest
import torch

from wavestack import budget as budgets
from wavestack.params import ModelSpec

SPECS = [
    ("wavestack", {"lanes": {"fourier": {"frequencies": 3}, "recall": {"features": 4}}, "lane_width": 0.5}),
    ("transformer", {"head_width": 4}),
    ("reference", {"hidden": 16}),
    ("reference", {"hidden": 16, "recall_bias": 0.9}),  # which is of all tokens
    ("reference-transformer", {"hidden": 16, "heads": 2}),
    ("reference-neural", {"hidden": 16}),
]


@pytest.mark.parametrize(("model", "knobs"), SPECS)
@torch.no_grad()
def test_a_prefill_advances_and_gives_the_last_logits(model, knobs, budget):
    torch.manual_seed(0)
    model = budgets.build(ModelSpec(model, knobs), budget, 50).eval()
    tokens = torch.randint(50, (2, 20))
    for chunk, state in ((tokens[:, :13], None), (tokens[:, 13:], model.advance(tokens[:, :13])[1])):
        expected, after = model.advance(chunk, state)
        logits, state = model.prefill(chunk, state)
        torch.testing.assert_close(logits, expected[:, -1:])
        following = torch.randint(50, (2, 3))
        torch.testing.assert_close(model.advance(following, state)[0], model.advance(following, after)[0])
