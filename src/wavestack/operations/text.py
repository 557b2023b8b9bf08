"""What it takes to write text with a trained run: its model, and the tokenizer that its corpus was encoded with."""

from pathlib import Path

from wavestack.artifacts import read_json
from wavestack.corpora.tokenizer import TextTokenizer, load_tokenizer
from wavestack.models.language_model import LanguageModel
from wavestack.training.checkpoint import load_model


def open_checkpoint(checkpoint: Path, tokenizer: Path | None = None) -> tuple[LanguageModel, TextTokenizer]:
    """The model of a final checkpoint, and its tokenizer.

    Args:
        checkpoint: `<data>/runs/<corpus>/<spec>/<budget>/<variant>/seed<k>/best` (or `last`), with or without an ending.
        tokenizer: where it stands; by default `<data>/tokens/<corpus>/tokenizer.json`.

    Raises:
        ValueError: a file is missing or is not what was written, or the two do not belong together.
    """
    checkpoint = checkpoint.with_suffix("") if checkpoint.suffix in (".json", ".safetensors") else checkpoint
    model = load_model(checkpoint)
    if tokenizer is None:
        folders = checkpoint.resolve().parents
        run = read_json(checkpoint.with_suffix(".json")).get("run")
        if run is None or len(folders) < 7:
            raise ValueError(f"{checkpoint} does not stand below <data>/runs/, so its tokenizer is not known; name it with --tokenizer")
        tokenizer = folders[6] / "tokens" / run["corpus"] / "tokenizer.json"
    text = load_tokenizer(tokenizer)
    vocabulary = next(model.parameters()).shape[0]
    if text.size != vocabulary:
        raise ValueError(f"{tokenizer} has {text.size:,} entries, and the model {vocabulary:,}; name the run's own with --tokenizer")
    return model, text
