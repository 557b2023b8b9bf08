"""Checkpoints: safetensors beside a small JSON that holds everything else, and the hashes that prove the pair whole."""

import hashlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from wavestack import budget as budgets
from wavestack.artifacts import read_json, sha256, write_json, written_atomically
from wavestack.models.language_model import LanguageModel
from wavestack.params import ModelSpec
from wavestack.schema import Budget

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Architecture:
    """All that it takes to build a model again."""

    spec: ModelSpec
    budget: Budget
    vocabulary: int
    removed: tuple[str, ...] = ()  # lanes of the spec that were taken out of the trained model
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # names and knobs of lanes that joined it

    def build(self) -> LanguageModel:
        model = budgets.build(self.spec, self.budget, self.vocabulary)
        for name in self.removed:
            model.remove_lane(name)
        for name, knobs in self.added.items():
            model.add_lane(name, **knobs)
        return model

    def of(self, model: LanguageModel) -> "Architecture":
        """This architecture with the lanes that a model built from it has now."""
        return replace(self, removed=tuple(model.removed), added=dict(model.added))

    def to_json(self) -> dict[str, Any]:
        return {
            "spec": asdict(self.spec),
            "budget": self.budget.model_dump(exclude={"training"}),
            "vocabulary": self.vocabulary,
            "removed": list(self.removed),
            "added": [[name, dict(knobs)] for name, knobs in self.added.items()],  # in order: they are summed in it
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Architecture":
        return cls(
            ModelSpec(**content["spec"]),
            Budget(**content["budget"]),
            content["vocabulary"],
            tuple(content.get("removed", ())),
            dict(content.get("added", ())),
        )


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `path`.safetensors, then `path`.json with the facts and the hashes of both: without its JSON a checkpoint is not there."""
    weights = path.with_suffix(".safetensors")
    with written_atomically(weights) as temporary:
        try:
            save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, temporary)
        except SafetensorError as fault:  # its own name for a full disk
            raise OSError(f"{weights} cannot be written: {fault}; make room and run it again") from None
        mark = sha256(temporary)
    facts = {**facts, "sha256": mark}
    write_json(path.with_suffix(".json"), {**facts, "facts_sha256": facts_sha256(facts)})


def facts_sha256(facts: Mapping[str, Any]) -> str:
    """Of what JSON keeps of them, however it is spelled there."""
    kept = json.loads(json.dumps(facts))
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint's tensors and facts; ValueError naming the file where it is missing, cut or changed."""
    facts = read_json(path.with_suffix(".json"))
    weights = path.with_suffix(".safetensors")
    if not weights.is_file():
        raise ValueError(f"{weights} does not exist, though its JSON does")
    if not isinstance(facts, dict) or facts.pop("facts_sha256", None) != facts_sha256(facts):
        raise ValueError(f"{path.with_suffix('.json')} is not what was written: it does not hold the facts whose SHA-256 is in it")
    if sha256(weights) != facts.get("sha256"):
        raise ValueError(f"{weights} is not what was written: its SHA-256 differs from the one in its JSON")
    try:
        return load_file(weights), facts
    except (SafetensorError, ValueError, RuntimeError) as fault:  # a file of another kind, though its hash is the one in its JSON
        raise ValueError(f"{weights} is no safetensors file ({fault}); delete it and train again") from None


def save_model(path: Path, model: LanguageModel, architecture: Architecture, facts: Mapping[str, Any]) -> None:
    """Write a final checkpoint of a model built from an architecture, with the lanes that it has now."""
    save(path, model.state_dict(), {**facts, "architecture": architecture.of(model).to_json()})


def load_model(path: Path) -> LanguageModel:
    """The model of a final checkpoint (`best` or `last`), in evaluation mode.

    Raises:
        ValueError: naming the file, where it is missing, cut, changed, no final checkpoint, or of other lanes than it says.
    """
    tensors, facts = load(path)
    if "architecture" not in facts:
        raise ValueError(f"{path} is no final checkpoint; expected the best or last of a run")
    architecture = Architecture.from_json(facts["architecture"])
    with torch.device("cpu"):
        model = architecture.build()
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        held, expected = _lanes(tensors), _lanes(model.state_dict())
        raise ValueError(
            f"{path} does not fit the architecture in its JSON: it holds the lanes {held}, and {expected} are expected; "
            "restore both files from one run"
        ) from error
    return model.eval()


def _lanes(names: Iterable[str]) -> str:
    """Those of the tensors of a model, in words; of a lane that is not in all blocks, in which."""
    depth, lanes = set(), defaultdict(set)
    for name in names:
        match name.split("."):
            case ["blocks", block, "branches" | "added" as kind, lane, *_]:
                lanes[f"{lane} (added)" if kind == "added" else lane].add(block)
            case ["blocks", block, *_]:
                depth.add(block)
    told = [lane if blocks == depth else f"{lane} in block {' and '.join(sorted(blocks))}" for lane, blocks in lanes.items()]
    return ", ".join(sorted(told)) or "(none)"


class Checkpoints:
    """The resumable checkpoints of one training, in a folder of their own. Kept are that which is saved and the one before it.

    They are no declared outputs of the workflow, which deletes those before it tries again.
    """

    def __init__(self, folder: Path, fingerprint: str):
        """`fingerprint` says which training they belong to; those of another one are ignored and removed."""
        self.folder = folder
        self.fingerprint = fingerprint
        self._kept: list[Path] = []  # oldest first

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Once it is durable, all go but it and the one before: those of later steps, too, which are damaged where this one comes after."""
        path = self._path(step)
        save(path, tensors, {**facts, "step": step, "fingerprint": self.fingerprint})
        self._kept = [*[before for before in self._kept if before != path][-1:], path]
        for other in set(self._paths()) - set(self._kept):
            self._remove(other)

    def newest(self) -> int | None:
        """The step of the newest checkpoint that is whole and of this training; each one that is passed over is named in the log."""
        paths = self._paths()
        for place, path in enumerate(paths):
            try:
                _, facts = load(path)
            except ValueError as fault:
                log.warning("checkpoint passed over: %s", fault)
                continue
            if facts.get("fingerprint") == self.fingerprint:
                self._kept = paths[place : place + 2][::-1]
                return facts["step"]
            log.warning("checkpoint removed: %s is of other code or parameters", path)
            self._remove(path)
        return None

    def load(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Its tensors and facts."""
        return load(self._path(step))

    def _path(self, step: int) -> Path:
        return self.folder / f"step{step:08d}"

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted({path.with_suffix("") for path in self.folder.glob("step*")}, reverse=True)

    def _remove(self, path: Path) -> None:
        path.with_suffix(".json").unlink(missing_ok=True)
        path.with_suffix(".safetensors").unlink(missing_ok=True)
