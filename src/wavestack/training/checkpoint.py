"""Checkpoints: safetensors beside a small JSON that holds everything else, and the hash that proves the pair whole."""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wavestack import budget as budgets
from wavestack.artifacts import read_json, sha256, write_json, written_atomically
from wavestack.models.language_model import LanguageModel
from wavestack.params import Budget, ModelSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Architecture:
    """All that it takes to build a model again."""

    spec: ModelSpec
    budget: Budget
    vocabulary: int

    def build(self) -> LanguageModel:
        return budgets.build(self.spec, self.budget, self.vocabulary)

    def to_json(self) -> dict[str, Any]:
        return {"spec": asdict(self.spec), "budget": self.budget.model_dump(), "vocabulary": self.vocabulary}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Architecture":
        return cls(ModelSpec(**content["spec"]), Budget(**content["budget"]), content["vocabulary"])


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `path`.safetensors, then `path`.json with the facts and the other file's hash: without its JSON a checkpoint is not there."""
    weights = path.with_suffix(".safetensors")
    with written_atomically(weights) as temporary:
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, temporary)
        mark = sha256(temporary)
    write_json(path.with_suffix(".json"), {**facts, "sha256": mark})


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint's tensors and facts; ValueError naming the file where it is missing, cut or changed."""
    facts = read_json(path.with_suffix(".json"))
    weights = path.with_suffix(".safetensors")
    if not weights.is_file():
        raise ValueError(f"{weights} does not exist, though its JSON does")
    if not isinstance(facts, dict) or sha256(weights) != facts.get("sha256"):
        raise ValueError(f"{weights} is not what was written: its SHA-256 differs from the one in its JSON")
    return load_file(weights), facts


def load_model(path: Path) -> LanguageModel:
    """The model of a final checkpoint (`best` or `last`), in evaluation mode."""
    tensors, facts = load(path)
    with torch.device("cpu"):
        model = Architecture.from_json(facts["architecture"]).build()
    model.load_state_dict(tensors)
    return model.eval()


class Checkpoints:
    """The resumable checkpoints of one training, in a folder of their own. The two newest are kept.

    They are no declared outputs of the workflow, which deletes those before it tries again.
    """

    def __init__(self, folder: Path, fingerprint: str):
        """`fingerprint` says which training they belong to; those of another one are ignored and removed."""
        self.folder = folder
        self.fingerprint = fingerprint

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        save(self.folder / f"step{step:08d}", tensors, {**facts, "step": step, "fingerprint": self.fingerprint})
        for old in self._paths()[2:]:
            self._remove(old)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole and of this training; each one that is passed over is named in the log."""
        for path in self._paths():
            try:
                tensors, facts = load(path)
            except ValueError as fault:
                log.warning("checkpoint passed over: %s", fault)
                continue
            if facts["fingerprint"] == self.fingerprint:
                return tensors, facts
            log.warning("checkpoint removed: %s is of other code or parameters", path)
            self._remove(path)
        return None

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted((path.with_suffix("") for path in self.folder.glob("step*.json")), reverse=True)

    def _remove(self, path: Path) -> None:
        path.with_suffix(".json").unlink(missing_ok=True)
        path.with_suffix(".safetensors").unlink(missing_ok=True)
