"""What the lanes of a trained WaveStack do: what is lost without each, how alike they are, and how the mixer weighs them.

A knock-out silences a lane in every block of the trained model, which is not trained again: what the lane writes is zero, and the weights
of the others stay. (`remove_lane` would share its weight out among the others, and change them, too.) It says how much the model relies on
the lane, not what a model without it could do: that is the ablation's question.

Weights are not use: a lane that counts much may say little. That is why they stand beside knock-outs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pandas
import torch

from wavestack.allocation import keep_freed_memory
from wavestack.artifacts import write_json, written_atomically
from wavestack.corpora.tokenizer import load_tokenizer
from wavestack.corpora.tokens import TokenFile
from wavestack.device import available, round_products
from wavestack.evaluation.alignment import Alignment
from wavestack.evaluation.likelihood import document_losses, spread_documents
from wavestack.evaluation.token_classes import CLASSES, TokenClasses
from wavestack.models.gating import normed
from wavestack.models.wavestack import WaveStack, views_of
from wavestack.params import Parameters, Run
from wavestack.training.checkpoint import load_model


def measure_complementarity(parameters: Parameters, run: Run, tokens: Path, trained: Path, data: Path, reports: Path) -> dict[str, Any]:
    """Measure the best checkpoint of a run on the validation split.

    Args:
        tokens: folder of the corpus's token files.
        trained: holds the run's `best`.
        data: gets `knockouts.parquet`, a row a lane and document: lane, document, tokens, nats.
        reports: gets `complementarity.json`.

    Returns:
        Its content: `lanes`; `tokens`, of which `blocks` are: for each block the names, of its input and its lanes, and `cka` between
        them; and where the mixer weighs lanes `effective_lanes` (e to the entropy of the weights, the mean over tokens) and mean
        `weights`, `by_class` of tokens and `by_octave` of position, too.

    Raises:
        ValueError: the model has no lanes, or one alone.
    """
    keep_freed_memory()
    study = parameters.profile.studies.complementarity
    assert study is not None
    training = parameters.training(run)
    torch.set_num_threads(training.threads)
    torch.use_deterministic_algorithms(training.device == "cpu")
    round_products(training.device, "float32")
    model = load_model(trained / "best").to(available(training.device))
    if not isinstance(model, WaveStack) or len(model.lanes) < 2:
        raise ValueError(f"{run} has fewer than two lanes, and there is nothing to tell apart; choose a run of more lanes")
    split = TokenFile.open(tokens, "valid")
    lost = knockouts(model, split, parameters.profile.evaluation.batch_tokens)
    with written_atomically(data / "knockouts.parquet") as temporary:
        lost.to_parquet(temporary, index=False)
    watched = Watched(model, TokenClasses(load_tokenizer(tokens / "tokenizer.json")))
    for document in spread_documents(split, study.tokens):
        text = split.document(int(document))[:-1]
        for start in range(0, len(text), model.context):
            watched.add(text[start : start + model.context])
    result = {"lanes": list(model.lanes), **watched.summary()}
    write_json(reports / "complementarity.json", result)
    return result


def knockouts(model: WaveStack, tokens: TokenFile, batch_tokens: int) -> pandas.DataFrame:
    """Loss of every document without each lane: lane, document, tokens, nats."""
    parts = []
    for lane in model.lanes:
        with silenced(model, lane):
            losses = document_losses(model, tokens, range(len(tokens)), model.context, batch_tokens)
        parts.append(losses[["document", "tokens", "nats"]].assign(lane=lane))
    return pandas.concat(parts, ignore_index=True)


@contextmanager
def silenced(model: WaveStack, lane: str) -> Iterator[None]:
    """A model of which one base lane writes nothing; afterwards it is what it was."""
    layers = [block.branches[lane].out for block in model.blocks if lane in block.branches]
    kept = [layer.weight.detach().clone() for layer in layers]
    with torch.no_grad():
        for layer in layers:
            layer.weight.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, weight in zip(layers, kept, strict=True):
                layer.weight.copy_(weight)


class Watched:
    """A model's blocks at work: sums over tokens, of what lanes say and of what they weigh."""

    def __init__(self, model: WaveStack, classes: TokenClasses):
        self.model = model
        self.classes = classes
        self.names = [["input", *block.branches] for block in model.blocks]
        hidden = model.embedding.embedding_dim
        self.alignments = [Alignment([hidden, *[model.lane_width] * (len(names) - 1)]) for names in self.names]
        self.weights: list[pandas.DataFrame] = []  # of each block and chunk, a row a class and octave

    @torch.no_grad()
    def add(self, text: numpy.ndarray) -> None:
        """More tokens, at most a context of them, from a fresh state."""
        device = self.model.embedding.weight.device
        x = self.model.embed(torch.from_numpy(text.astype(numpy.int64)).to(device)[None])  # 1 x S x H
        octaves = 2 ** numpy.floor(numpy.log2(numpy.arange(1, len(text) + 1))).astype(numpy.int64)
        classes = self.classes.of(text)
        for place, block in enumerate(self.model.blocks):
            u = block.norm(x)
            views = normed(views_of(list(block.branches.values()), u, None)[0])  # 1 x S x L x W
            self.alignments[place].add([u[0], *views[0].unbind(1)])
            if block.mixer.weighs:
                weights = block.mixer.weights(u, views)[0].double().cpu().numpy()  # S x L
                self._weigh(place, weights, classes, octaves)
            x, _ = block(x)

    def _weigh(self, place: int, weights: numpy.ndarray, classes: numpy.ndarray, octaves: numpy.ndarray) -> None:
        shares = weights / weights.sum(1, keepdims=True)
        effective = numpy.exp(-(shares * numpy.log(numpy.maximum(shares, 1e-300))).sum(1))
        table = pandas.DataFrame(weights, columns=self.names[place][1:])
        table = table.assign(effective=effective, tokens=1, block=place, of_class=classes, octave=octaves)
        self.weights.append(table.groupby(["block", "of_class", "octave"], as_index=False).sum())

    def summary(self) -> dict[str, Any]:
        """As `measure_complementarity` returns it, without the lanes."""
        blocks = []
        weighed = pandas.concat(self.weights).groupby(["block", "of_class", "octave"], as_index=False).sum() if self.weights else None
        for place, (names, alignment) in enumerate(zip(self.names, self.alignments, strict=True)):
            found: dict[str, Any] = {"names": names, "cka": alignment.matrix()}
            if weighed is not None:
                own = weighed[weighed["block"] == place]
                found["effective_lanes"] = float(own["effective"].sum() / own["tokens"].sum())
                found["weights"] = _means(own, names[1:])
                by_class = [(CLASSES[key], part) for key, part in own.groupby("of_class")]
                found["by_class"] = [{"class": name, **_means(part, names[1:])} for name, part in by_class]
                found["by_octave"] = [{"least": int(key), **_means(part, names[1:])} for key, part in own.groupby("octave")]
            blocks.append(found)
        return {"tokens": self.alignments[0].tokens, "blocks": blocks}


def _means(sums: pandas.DataFrame, lanes: list[str]) -> dict[str, Any]:
    tokens = int(sums["tokens"].sum())
    return {"tokens": tokens, "lanes": {lane: float(sums[lane].sum() / tokens) for lane in lanes}}
