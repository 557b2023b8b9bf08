"""The likelihood core against numbers computed by hand, and against an independent loop over decoded documents."""

from itertools import pairwise
from math import exp, log

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavestack import budget as budgets
from wavestack.corpora.tokenizer import load_tokenizer
from wavestack.corpora.tokens import TokenFile
from wavestack.evaluation.likelihood import document_losses, spread_documents, summary, windows

END = 3


def bigram(table):
    """A model that looks one token back: fixed probabilities, as logits."""
    logits = torch.tensor(table).log()
    return lambda tokens: logits[tokens]


def token_file(*documents):
    stream = [END]
    borders = [0]
    for document in documents:
        stream += [*document, END]
        borders.append(len(stream) - 1)
    sizes = numpy.array([len(d) for d in documents])
    return TokenFile(numpy.array(stream, "<u2"), numpy.array(borders), 2 * sizes, sizes, 4, END)


#         next:  0    1    2   end
TABLE = [
    [0.10, 0.50, 0.30, 0.10],  # after 0
    [0.25, 0.25, 0.25, 0.25],  # after 1
    [0.05, 0.05, 0.10, 0.80],  # after 2
    [0.40, 0.40, 0.10, 0.10],  # after end-of-text
]


def test_a_bigram_table_by_hand():
    """Documents (0, 1, 2) and (2): end>0 .4, 0>1 .5, 1>2 .25, 2>end .8; end>2 .1, 2>end .8."""
    losses = document_losses(bigram(TABLE), token_file([0, 1, 2], [2]), [0, 1], context=8, batch_tokens=64)
    assert losses["tokens"].tolist() == [4, 2]
    assert losses["nats"].tolist() == pytest.approx([-log(0.4 * 0.5 * 0.25 * 0.8), -log(0.1 * 0.8)])
    assert losses["text_nats"].tolist() == pytest.approx([-log(0.4 * 0.5 * 0.25), -log(0.1)])
    measures = summary(losses, counts_words=True)
    total = -log(0.4 * 0.5 * 0.25 * 0.8 * 0.1 * 0.8)
    text = -log(0.4 * 0.5 * 0.25 * 0.1)
    assert measures["nats_per_token"] == pytest.approx(total / 6)
    assert measures["perplexity"] == pytest.approx(exp(total / 6))
    assert measures["bits_per_byte"] == pytest.approx(text / log(2) / 8)  # two bytes a token here
    assert measures["word_perplexity"] == pytest.approx(exp(text / 4))
    assert summary(losses, counts_words=False)["word_perplexity"] is None


@pytest.mark.parametrize("context", [2, 3, 5, 100])
@pytest.mark.parametrize("batch_tokens", [1, 7, 1000])
def test_windows_and_batches_do_not_change_a_bigram_model(context, batch_tokens):
    """It needs one token of context, which every window gives it; so the total is the same however it is cut."""
    draw = numpy.random.default_rng(0)
    file = token_file(*(draw.integers(0, 3, n) for n in (1, 2, 3, 7, 40)))
    losses = document_losses(bigram(TABLE), file, range(5), context, batch_tokens)
    for i in range(5):
        document = file.document(i).astype(int)
        expected = -sum(log(TABLE[a][b]) for a, b in pairwise(document))
        assert losses["nats"][i] == pytest.approx(expected, rel=1e-5)


@given(targets=st.integers(1, 500), context=st.integers(2, 64))
def test_windows_score_every_target_once_with_half_a_context_behind(targets, context):
    cut = list(windows(0, targets, context))
    scored = [i for window in cut for i in range(window.scored, window.end)]
    assert scored == list(range(targets))
    for window in cut:
        assert 0 <= window.start <= window.scored < window.end <= targets
        assert window.length <= context
        assert window.start == 0 or window.scored - window.start >= context - context // 2  # never less context than that


def test_equals_an_independent_loop_over_decoded_documents(tokens, texts, wavestack, budget):
    """Decode every document, encode it again, and score it token by token with a plain softmax: the same total."""
    torch.manual_seed(0)
    model = budgets.build(wavestack, budget, 257).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    file, tokenizer = TokenFile.open(tokens, "valid"), load_tokenizer(tokens / "tokenizer.json")
    total, count, size = 0.0, 0, 0
    for i in range(len(file)):
        text = tokenizer.decode(file.document(i)[1:-1])
        assert text == texts["valid"][i]
        sequence = [256, *text.encode(), 256]
        for target in range(1, len(sequence)):
            # the window in which the core scores this target, from its rule: the first one, then strides of half a context
            start = 0 if target <= 32 else 16 * -(-(target - 32) // 16)
            with torch.no_grad():
                probabilities = model(torch.tensor([sequence[start:target]]))[0, -1].double().softmax(-1)
            total -= log(probabilities[sequence[target]].item())
            count += 1
        size += len(text.encode())
    losses = document_losses(model, file, range(len(file)), budget.context, 256)
    assert losses["tokens"].sum() == count
    assert losses["bytes"].sum() == size
    assert losses["nats"].sum() == pytest.approx(total, rel=1e-6)


def test_spread_documents(tokens):
    file = TokenFile.open(tokens, "train")
    total = int(file.borders[-1])
    assert spread_documents(file, 10 * total).tolist() == list(range(len(file)))
    some = spread_documents(file, total // 4)
    assert 10 < len(some) < 45
    assert some[0] == 0
    assert some[-1] > 0.6 * len(file)  # over the whole split, not its beginning
    assert len(spread_documents(file, 1)) == 1


def test_a_loss_that_is_not_finite_is_told_and_not_left_out():
    losses = document_losses(bigram(TABLE), token_file([0, 1, 2], [2]), [0, 1], context=8, batch_tokens=64)
    losses.loc[1, "nats"] = float("nan")
    assert summary(losses, counts_words=True)["status"] == "diverged"


def test_a_word_perplexity_beyond_a_float_is_none():
    losses = document_losses(bigram(TABLE), token_file([0] * 900), [0], context=8, batch_tokens=64)
    losses["words"] = 1
    measures = summary(losses, counts_words=True)
    assert measures["word_perplexity"] is None
    assert measures["perplexity"] is not None
