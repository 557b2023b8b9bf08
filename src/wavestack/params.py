"""The one schema of every parameter file, and the one place that says what is wrong with them.

Three kinds of file: a *profile* (`params/quick.yaml`: what to run), the *models* (`params/models.yaml`) and the *corpora*
(`params/corpora.yaml`). `load` reads a profile with the two catalogues that it names, applies overrides, and either returns
`Parameters` or raises `ParameterError`, which holds every error of all three files at once.

The knobs of a model, a lane or a mixer are the keyword-only arguments of its constructor, with their types, limits and defaults: adding
a lane is one file and one registry line, and its knobs are checked here like everything else.
"""

import difflib
import inspect
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from wavestack import registry
from wavestack.variants import Variant

# A name becomes a folder, so it may not climb out of one.
RESERVED = ("raw", "benchmarks")  # folders of data/ and reports/ that belong to no profile
NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


def _known(kind: str) -> AfterValidator:
    """A name that must be one of those in the validation context under `kind`."""

    def check(value: str, info: ValidationInfo) -> str:
        names = (info.context or {}).get(kind)
        if names is not None and value not in names:
            raise PydanticCustomError("unknown_name", "unknown", {"kind": kind, "known": sorted(map(str, names))})
        return value

    return AfterValidator(check)


def _distinct(values: list) -> list:
    if len(set(values)) != len(values):
        raise PydanticCustomError("not_distinct", "expected each value once")
    return values


CorpusName = Annotated[str, _known("corpora")]
SpecName = Annotated[str, _known("specs")]
BudgetName = Annotated[str, _known("budgets")]
T = TypeVar("T")
Distinct = Annotated[list[T], Field(min_length=1), AfterValidator(_distinct)]


class Strict(BaseModel):
    """Unknown keys are errors, and what was read does not change afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# --- corpora ---------------------------------------------------------------------------------------------------------------------


class LocalFiles(Strict):
    """Files of a corpus, looked for in `data/raw/<corpus>/` and `$WAVESTACK_DATA/<corpus>/`."""

    form: Literal["text", "jsonl", "parquet", "wikitext"]
    train: str
    valid: str | None = None  # splits that are not given are made by hash
    test: str | None = None
    field: str = "text"  # of jsonl and parquet
    separator: str = "<|endoftext|>"  # of text: the line between two documents

    @model_validator(mode="after")
    def _inside(self) -> "LocalFiles":
        for name in (self.train, self.valid, self.test):
            if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
                raise PydanticCustomError("outside", "expected files inside the corpus's own folder, without '..'")
        if (self.valid is None) != (self.test is None):
            raise PydanticCustomError("half_split", "expected both valid and test, or neither (then split by hash)")
        return self


class Hub(Strict):
    """A data set on the Hugging Face hub, pinned to one revision."""

    path: str
    name: str | None = None  # of the configuration
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    field: str = "text"
    form: Literal["documents", "wikitext"] = "documents"
    train: str = "train"
    valid: str | None = "validation"
    test: str | None = "test"


class Corpus(Strict):
    """A named text: where it comes from, its licence, and what counts as a word in it."""

    licence: str
    # whitespace: what split() gives; lines: the same, and each end of line is a word too (WikiText's convention); none: code
    words: Literal["whitespace", "lines", "none"] = "whitespace"
    python: Literal["docs", "code"] | None = None  # the running interpreter's standard library
    files: LocalFiles | None = None
    hub: Hub | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> "Corpus":
        if (self.python is None) == (self.files is None and self.hub is None):
            raise PydanticCustomError("source", "expected either python, or files and/or hub")
        return self


class Tokenizer(Strict):
    """`bpe`: byte-level BPE trained on the train split; `gpt2`: GPT-2's; `bytes`: one token a byte."""

    kind: Literal["bpe", "gpt2", "bytes"]
    vocabulary: Annotated[int, Field(ge=257, le=2**20)] | None = None

    @model_validator(mode="after")
    def _vocabulary_is_bpe_s(self) -> "Tokenizer":
        if (self.kind == "bpe") != (self.vocabulary is not None):
            raise PydanticCustomError("vocabulary", "expected vocabulary with kind bpe, and only there")
        return self

    @property
    def size(self) -> int:
        """Entries of the vocabulary, the end-of-text token included."""
        return self.vocabulary or {"gpt2": 50257, "bytes": 257}[self.kind]


class CorpusUse(Strict):
    """How a profile uses a corpus."""

    limit: Annotated[ByteSize, Field(gt=0)] | None = None  # of the train split, in bytes of text; valid and test are cut in proportion
    tokenizer: Tokenizer | None = None  # instead of the profile's


# --- what to run -----------------------------------------------------------------------------------------------------------------


class Training(Strict):
    """One training; the same for every model of a profile, but for what was tuned."""

    batch: Positive  # sequences an optimiser step
    accumulation: Positive = 1  # parts in which a batch is computed
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    final_learning_rate: Share = 0.1  # share of learning_rate at the end of the cosine
    warmup: Share = 0.05  # share of the steps
    weight_decay: Annotated[float, Field(ge=0)] = 0.1  # on matrices only, embeddings left out
    dropout: Dropout | None = None  # of every dropout layer of a model; None leaves them as the model has them
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)
    clip: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"  # of autocast
    device: Literal["cpu", "cuda"] = "cpu"
    compile: bool = False
    threads: Positive = 1  # part of the result: sums are split by threads
    log_every: Positive = 10  # steps
    validate_every: Positive = 100  # steps; a checkpoint to resume from is written then, too
    validation_tokens: Positive = 32768  # of the validation split, in whole documents spread over it

    @model_validator(mode="after")
    def _whole_parts(self) -> "Training":
        if self.batch % self.accumulation:
            raise PydanticCustomError("accumulation", "expected an accumulation that divides batch")
        return self


if TYPE_CHECKING:
    SomeOfTraining = Training
else:
    SomeOfTraining = create_model(
        "SomeOfTraining",
        __base__=Strict,
        __doc__="Settings of a training that are laid over the profile's.",
        **{name: (setting.rebuild_annotation() | None, None) for name, setting in Training.model_fields.items()},
    )


class Budget(Strict):
    """What is equal between the models of a comparison."""

    hidden: Positive
    blocks: Positive
    context: Annotated[int, Field(ge=2)]  # positions, T
    parameters: Positive  # non-embedding; the tied embedding adds vocabulary x hidden
    tokens: Positive  # of training
    training: SomeOfTraining = SomeOfTraining()  # type: ignore[call-arg]  # of all models of this budget, over the profile's


class Evaluation(Strict):
    batch_tokens: Positive = 8192  # positions a forward pass


class Comparison(Strict):
    corpora: Distinct[CorpusName]
    specs: Distinct[SpecName]
    budget: BudgetName
    seeds: Distinct[Seed]
    tuned: bool = False  # each spec as it was tuned on the corpus


class Tuning(Strict):
    """The same trials for every spec on every corpus; the one with the lowest validation loss is chosen."""

    corpora: Distinct[CorpusName]
    specs: Distinct[SpecName]
    budget: BudgetName
    seeds: Distinct[Seed]
    trials: Distinct["Trial"]


class Trial(Strict):
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    dropout: Dropout


class Calibration(Strict):
    """A run of known outcome. Until it is there and as good as is known, no verdict is given: a weak baseline decides nothing."""

    corpus: CorpusName
    spec: SpecName
    budget: BudgetName
    seed: Seed = 0
    at_most: Annotated[float, Field(gt=0)]  # nats per token of the validation split


class Ablation(Strict):
    """All subsets of some lanes of one spec, the empty one included."""

    corpora: Distinct[CorpusName]
    spec: SpecName
    lanes: Distinct[str] | None = None  # all of the spec's
    budget: BudgetName
    seeds: Distinct[Seed]
    tuned: bool = False  # every subset as the whole spec was tuned on the corpus


class Lengths(Strict):
    """Time and memory of a training step against the sequence length, at a constant number of tokens a batch."""

    specs: Distinct[SpecName]
    budget: BudgetName
    vocabulary: Annotated[int, Field(ge=2)]
    lengths: Distinct[Annotated[int, Field(ge=2)]]
    tokens: Positive  # a batch; a length above it is measured with a batch of one
    processes: Positive = 2  # fresh ones, per model
    repeats: Annotated[int, Field(ge=5)] = 5  # timed steps a process
    seconds: Annotated[float, Field(gt=0)] = 10.0  # a process may take for its timed steps, beyond the repeats
    timeout: Annotated[float, Field(gt=0)] = 300.0  # seconds a process
    threads: Positive = 2
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False


class Studies(Strict):
    calibration: Calibration | None = None
    tuning: Tuning | None = None
    comparison: Comparison
    ablation: Ablation | None = None
    lengths: Lengths | None = None


class Profile(Strict):
    """A file of `params/` that sizes everything."""

    models: str = "params/models.yaml"
    catalogue: str = "params/corpora.yaml"
    corpora: dict[CorpusName, CorpusUse]
    tokenizer: Tokenizer
    budgets: dict[Name, Budget]
    training: Training
    evaluation: Evaluation = Evaluation()
    studies: Studies

    @model_validator(mode="after")
    def _trainings_of_budgets(self) -> "Profile":
        for name, budget in self.budgets.items():
            try:
                Training(**{**self.training.model_dump(), **budget.training.model_dump(exclude_unset=True)})
            except ValidationError as error:
                reason = error.errors(include_url=False)[0]["msg"]
                raise PydanticCustomError("training", f"budgets.{name}.training over this profile's: {reason}") from None
        return self


# --- what was read ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelSpec:
    """An entry of `params/models.yaml` with every knob filled in."""

    model: str
    knobs: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Lanes stand in the order of their names: gates belong to places, and a file that is read back may have another order."""
        if "lanes" in self.knobs:
            object.__setattr__(self, "knobs", {**self.knobs, "lanes": dict(sorted(self.knobs["lanes"].items()))})

    @property
    def lanes(self) -> tuple[str, ...]:
        """Names of the spec's lanes, none for a model without lanes."""
        return tuple(self.knobs.get("lanes", {}))

    @property
    def entries(self) -> list[str]:
        """The `module:Class` strings of everything this spec is made of."""
        entries = [registry.MODELS[self.model]]
        entries += [registry.lane_entry(lane, knobs) for lane, knobs in self.knobs.get("lanes", {}).items()]
        if "mixer" in self.knobs:
            entries.append(registry.MIXERS[self.knobs["mixer"]])
        return entries

    def variant(self, name: str) -> "ModelSpec":
        """The spec under a variant, with those of its lanes that the variant keeps."""
        chosen = Variant.parse(name).lanes
        if chosen is None:
            return self
        if not set(chosen) <= set(self.lanes):
            raise ValueError(f"variant '{name}': expected lanes= with some of {', '.join(self.lanes) or '(no lanes)'}")
        lanes = {lane: knobs for lane, knobs in self.knobs["lanes"].items() if lane in chosen}
        return replace(self, knobs={**self.knobs, "lanes": lanes})


@dataclass(frozen=True, order=True)
class Run:
    """One training: corpus x model spec x budget x variant x seed. Its `str` is its path below `runs/`."""

    corpus: str
    spec: str
    budget: str
    variant: str
    seed: int

    def __str__(self) -> str:
        return f"{self.corpus}/{self.spec}/{self.budget}/{self.variant}/seed{self.seed}"

    @property
    def tuned(self) -> bool:
        return Variant.parse(self.variant).tuned

    @classmethod
    def parse(cls, path: str) -> "Run":
        """The run that a path below `runs/` names; ValueError where it is not one."""
        parts = path.split("/")
        if len(parts) != 5 or not parts[4].removeprefix("seed").isdigit() or not parts[4].startswith("seed"):
            raise ValueError(f"'{path}' is not a run: expected corpus/spec/budget/variant/seedK")
        corpus, spec, budget, variant, seed = parts
        return cls(corpus, spec, budget, variant, int(seed.removeprefix("seed")))


@dataclass(frozen=True)
class Parameters:
    """A profile and its catalogues, read and checked."""

    name: str  # the profile's: its file's stem
    profile: Profile
    corpora: Mapping[str, Corpus]
    specs: Mapping[str, ModelSpec]
    sources: Mapping[str, str] = field(default_factory=dict)  # profile, models, corpora: the files

    def tokenizer(self, corpus: str) -> Tokenizer:
        return self.use(corpus).tokenizer or self.profile.tokenizer

    def use(self, corpus: str) -> CorpusUse:
        """How the profile uses a corpus; ValueError where it does not."""
        if corpus not in self.profile.corpora:
            raise ValueError(f"'{corpus}' is no corpus of {self.sources['profile']}{_nearest(corpus, self.profile.corpora)}")
        return self.profile.corpora[corpus]

    def spec(self, run: Run) -> ModelSpec:
        return self.specs[run.spec].variant(run.variant)

    def training(self, run: Run, chosen: Mapping[str, float] | None = None) -> Training:
        """How a run is trained: the profile's settings, those of its budget over them, then those of its variant.

        Args:
            chosen: what tuning chose, for a run that is tuned.
        """
        variant, budget = Variant.parse(run.variant), self.profile.budgets[run.budget]
        assert chosen is None or variant.tuned
        laid_over = {**budget.training.model_dump(exclude_unset=True), **variant.training, **(chosen or {})}
        return Training(**{**self.profile.training.model_dump(), **laid_over})

    def comparison_runs(self) -> list[Run]:
        """Runs of the comparison study, in order."""
        study = self.profile.studies.comparison
        keys = itertools.product(study.corpora, study.specs, study.seeds)
        return [Run(corpus, spec, study.budget, str(Variant(tuned=study.tuned)), seed) for corpus, spec, seed in keys]

    def tuning_runs(self, corpus: str | None = None, spec: str | None = None) -> list[Run]:
        """Runs of the tuning study, in the order of its trials; those of one corpus and spec where they are given."""
        study = self.profile.studies.tuning
        if study is None:
            return []
        trials = [Variant(training=trial.model_dump()) for trial in study.trials]
        keys = itertools.product(study.corpora, study.specs, trials, study.seeds)
        runs = [Run(each, of, study.budget, str(trial), seed) for each, of, trial, seed in keys]
        return [run for run in runs if corpus in (None, run.corpus) and spec in (None, run.spec)]

    def calibration_runs(self) -> list[Run]:
        """The run of the calibration, if there is one."""
        study = self.profile.studies.calibration
        return [] if study is None else [Run(study.corpus, study.spec, study.budget, "base", study.seed)]

    def ablation_runs(self) -> list[Run]:
        """Runs of the ablation study, smallest subsets first. The set of all lanes is the spec's own `base` run."""
        study = self.profile.studies.ablation
        if study is None:
            return []
        lanes = self.specs[study.spec].lanes
        subsets = [str(replace(variant, tuned=study.tuned)) for variant in lane_subsets(lanes, study.lanes or lanes)]
        keys = itertools.product(study.corpora, subsets, study.seeds)
        return [Run(corpus, study.spec, study.budget, variant, seed) for corpus, variant, seed in keys]

    def lengths_budget(self) -> Budget:
        """The budget of the sequence-length study: its context is the longest length, so that one model serves all."""
        study = self.profile.studies.lengths
        assert study is not None
        return self.profile.budgets[study.budget].model_copy(update={"context": max(study.lengths)})

    def steps(self, budget: str) -> int:
        """Optimiser steps of a training at a budget."""
        sizes = self.profile.budgets[budget]
        batch = sizes.training.batch or self.profile.training.batch
        return -(-sizes.tokens // (batch * sizes.context))

    def runs(self) -> list[Run]:
        """Every run that some study wants, once."""
        return list(dict.fromkeys([*self.calibration_runs(), *self.tuning_runs(), *self.comparison_runs(), *self.ablation_runs()]))

    def scored_runs(self) -> list[Run]:
        """Those of them that are scored on the whole validation split; trials are judged by what their trainings saw of it."""
        return list(dict.fromkeys([*self.calibration_runs(), *self.comparison_runs(), *self.ablation_runs()]))

    def run(self, path: str) -> Run:
        """The run that `path` names; ValueError where its corpus, spec, budget or variant is not in these parameters."""
        run = Run.parse(path)
        for value, kind, known in (
            (run.corpus, "corpus", self.profile.corpora),
            (run.spec, "spec", self.specs),
            (run.budget, "budget", self.profile.budgets),
        ):
            if value not in known:
                raise ValueError(f"run '{path}': unknown {kind} '{value}'{_nearest(value, known)}")
        self.spec(run)
        try:
            self.training(run)
        except ValidationError as error:  # values that a variant names are held to their limits
            detail = error.errors(include_url=False)[0]
            raise ValueError(_line(f"run '{path}'", (), detail, Training)) from None
        if run.tuned and not self.tuning_runs(run.corpus, run.spec):
            raise ValueError(
                f"run '{path}': {run.spec} is not tuned on {run.corpus} in {self.sources['profile']}; add it to studies.tuning"
            )
        return run


def lane_subsets(lanes: Sequence[str], chosen: Sequence[str]) -> list[Variant]:
    """Variants for all subsets of the chosen ones of a spec's lanes, smallest first; the set of all lanes changes nothing."""
    ordered = [lane for lane in lanes if lane in chosen]
    subsets = [s for size in range(len(ordered) + 1) for s in itertools.combinations(ordered, size)]
    return [Variant() if len(s) == len(lanes) else Variant(lanes=s) for s in subsets]


# --- reading ---------------------------------------------------------------------------------------------------------------------


class ParameterError(ValueError):
    """Everything that is wrong with the parameters, one line each: file, key path, what was expected, the nearest known name."""

    def __init__(self, errors: list[str]):
        self.errors = errors
        super().__init__("\n".join([f"{len(errors)} error{'s' * (len(errors) > 1)} in the parameters:", *errors]))


def load(path: str | Path, overrides: Iterable[str] = ()) -> Parameters:
    """Read a profile and the catalogues that it names.

    Args:
        path: the profile, relative to the working folder, as are the catalogues.
        overrides: `key.path=value` items, the value in YAML, laid over the profile before it is checked.

    Raises:
        ParameterError: with all errors of all files.
    """
    errors: list[str] = []
    profile_file = str(path)
    if not re.match(NAME_PATTERN, Path(path).stem) or Path(path).stem in RESERVED:
        errors.append(
            f"{profile_file}: expected a file name like {NAME_PATTERN} that is none of {', '.join(RESERVED)}: results stand under it"
        )
    raw = _read_yaml(profile_file, errors)
    if errors:
        raise ParameterError(errors)
    for item in overrides:
        _lay_over(raw, item, errors)

    models_file = str(raw.get("models", Profile.model_fields["models"].default))
    corpora_file = str(raw.get("catalogue", Profile.model_fields["catalogue"].default))
    raw_models = _read_yaml(models_file, errors)
    raw_corpora = _read_yaml(corpora_file, errors)

    corpora = {n: _validated(Corpus, c, corpora_file, (n,), errors) for n, c in _named(raw_corpora, corpora_file, errors)}
    specs = {n: _model_spec(s, models_file, (n,), errors) for n, s in _named(raw_models, models_file, errors)}
    budgets = raw.get("budgets")
    context = {"corpora": list(raw_corpora), "specs": list(raw_models)}
    if isinstance(budgets, dict):
        context["budgets"] = list(budgets)
    profile = _validated(Profile, raw, profile_file, (), errors, context)
    errors += _study_errors(raw, specs, profile_file)
    if errors or profile is None:
        raise ParameterError(errors)
    return Parameters(
        name=Path(profile_file).stem,
        profile=profile,
        corpora={n: c for n, c in corpora.items() if c is not None},
        specs={n: s for n, s in specs.items() if s is not None},
        sources={"profile": profile_file, "models": models_file, "corpora": corpora_file},
    )


class _UniqueKeys(yaml.SafeLoader):
    """YAML's own rule, which PyYAML leaves out: a key stands once. The second of two would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, str | int | float | bool) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", key_node.start_mark)
            if isinstance(key, str | int | float | bool):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_UniqueKeys)


def _read_yaml(path: str, errors: list[str]) -> dict[str, Any]:
    try:
        content = _parse_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        errors.append(f"{path}: cannot be read: {reason}; expected a YAML file")
        return {}
    except (yaml.YAMLError, RecursionError) as error:
        errors.append(f"{path}: is not YAML: {' '.join(str(error).split())}")
        return {}
    if content is None:
        return {}
    if not isinstance(content, dict):
        errors.append(f"{path}: expected a mapping of names to values, found {_shown(content)}")
        return {}
    return content


def _named(raw: Mapping[str, Any], file: str, errors: list[str]) -> list[tuple[str, Any]]:
    """The entries of a catalogue, each bad name told."""
    named = _validated(_NAMES, {"names": list(raw)}, file, (), errors)
    return [] if named is None else list(raw.items())


_NAMES = create_model("Names", __base__=Strict, names=(list[Name], ...))


def _lay_over(raw: dict[str, Any], item: str, errors: list[str]) -> None:
    """Set one `key.path=value`; a mapping as value is laid over what is there, key by key."""
    path, equals, text = item.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        errors.append(f"--set {item}: expected key.path=value")
        return
    try:
        value = _parse_yaml(text)
    except yaml.YAMLError:
        errors.append(f"--set {item}: the value is not YAML")
        return
    node: Any = raw
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            errors.append(f"--set {item}: {key} is not a mapping")
            return
    node[keys[-1]] = _merged(node.get(keys[-1]), value)


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}
    return above


M = TypeVar("M", bound=BaseModel)


def _validated(schema: type[M], raw: Any, file: str, at: tuple, errors: list[str], context: dict[str, Any] | None = None) -> M | None:
    try:
        return schema.model_validate(raw, context=context)
    except ValidationError as error:
        errors += [_line(file, at, detail, schema) for detail in error.errors(include_url=False)]
        return None


def _model_spec(raw: Any, file: str, at: tuple, errors: list[str]) -> ModelSpec | None:
    """A spec checked against its model's constructor, its lanes against theirs."""
    before = len(errors)
    if not isinstance(raw, dict) or "model" not in raw:
        errors.append(f"{_place(file, at)}: expected a mapping with the key model, one of {', '.join(registry.MODELS)}")
        return None
    chosen = _entry(registry.MODELS, raw["model"], file, (*at, "model"), errors)
    if chosen is None:
        return None
    given = {key: value for key, value in raw.items() if key != "model"}
    lanes = given.get("lanes")
    if isinstance(lanes, dict):
        filled = {}
        for lane, knobs in lanes.items():
            filled[lane] = _lane(lane, {} if knobs is None else knobs, file, (*at, "lanes", lane), errors)
        given["lanes"] = filled
    knobs = _knobs(chosen, given, file, at, errors)
    if "mixer" in knobs:
        _entry(registry.MIXERS, knobs["mixer"], file, (*at, "mixer"), errors)
    return ModelSpec(model=raw["model"], knobs=knobs) if len(errors) == before else None


def _lane(name: Any, raw: Any, file: str, at: tuple, errors: list[str]) -> dict[str, Any]:
    """The knobs of a lane, filled in. With the knob `lane` it may bear any name and be any lane, one of a user's own by `module:Class`."""
    kind = raw.get("lane", name) if isinstance(raw, dict) else name
    if not isinstance(kind, str) or ":" not in kind:
        entry = _entry(registry.LANES, kind, file, at[:-1] if kind == name else (*at, "lane"), errors)
    else:
        entry = kind
        try:
            registry.load(entry)
        except ValueError as error:
            errors.append(f"{_place(file, (*at, 'lane'))}: {error}")
            entry = None
    if entry is None:
        return {}
    knobs = _knobs(entry, {key: value for key, value in raw.items() if key != "lane"} if isinstance(raw, dict) else raw, file, at, errors)
    return {"lane": kind, **knobs} if kind != name else knobs


def _entry(names: Mapping[str, str], name: Any, file: str, at: tuple, errors: list[str]) -> str | None:
    if not isinstance(name, str) or name not in names:
        errors.append(f"{_place(file, at)}: unknown '{name}'{_nearest(name, names)}")
        return None
    return names[name]


def _knobs(entry: str, given: Any, file: str, at: tuple, errors: list[str]) -> dict[str, Any]:
    knobs = _validated(knob_schema(entry), given, file, at, errors)
    return {} if knobs is None else knobs.model_dump()


@cache
def knob_schema(entry: str) -> type[Strict]:
    """The schema of a constructor's keyword-only arguments."""
    constructor: Callable = registry.load(entry).__init__
    knobs = {
        name: (argument.annotation, ... if argument.default is inspect.Parameter.empty else argument.default)
        for name, argument in inspect.signature(constructor, eval_str=True).parameters.items()
        if argument.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model(f"Knobs of {entry}", __base__=Strict, **knobs)  # type: ignore[call-overload]


def _study_errors(raw: Mapping[str, Any], specs: Mapping[str, ModelSpec | None], file: str) -> list[str]:
    """A study may only use corpora that the profile sizes, and lanes that its spec has.

    Looks at what was read, so that these errors are told beside the schema's; what the schema refuses is passed over here.
    """
    sized, named = raw.get("corpora"), raw.get("studies")
    if not isinstance(sized, dict) or not isinstance(named, dict):
        return []
    studies = {name: study for name, study in named.items() if isinstance(study, dict)}
    errors = [
        f"{file}: studies.{name}.{key}: '{corpus}' is not among this profile's corpora{_nearest(corpus, sized)}"
        for name, study in studies.items()
        for key, corpora in (("corpora", study.get("corpora")), ("corpus", [study.get("corpus")]))
        for corpus in _strings(corpora)
        if corpus not in sized
    ]
    tuning = studies.get("tuning", {})
    errors += [
        f"{file}: studies.{name}.tuned: {spec} is not tuned on {corpus}; add them to studies.tuning"
        for name, study in studies.items()
        if study.get("tuned") is True
        for corpus in _strings(study.get("corpora"))
        for spec in _strings(study.get("specs", [study.get("spec")]))
        if corpus not in _strings(tuning.get("corpora")) or spec not in _strings(tuning.get("specs"))
    ]
    ablation = studies.get("ablation", {})
    spec = specs.get(str(ablation.get("spec")))
    if spec is not None:
        if not spec.lanes:
            errors.append(f"{file}: studies.ablation.spec: '{ablation['spec']}' has no lanes to leave out")
        errors += [
            f"{file}: studies.ablation.lanes: '{lane}' is no lane of {ablation['spec']}{_nearest(lane, spec.lanes)}"
            for lane in _strings(ablation.get("lanes"))
            if lane not in spec.lanes
        ]
    return errors


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


# --- telling -----------------------------------------------------------------------------------------------------------------------


def _place(file: str, at: Iterable) -> str:
    keys = ".".join(str(key) for key in at if key != "[key]")
    return f"{file}: {keys}" if keys else file


def _line(file: str, at: tuple, detail: ErrorDetails, schema: type[BaseModel]) -> str:
    loc, kind, found = detail["loc"], detail["type"], _shown(detail["input"])
    place = _place(file, (*at, *loc))
    if kind == "extra_forbidden":
        return f"{place}: unknown key{_nearest(str(loc[-1]), _fields(schema, loc[:-1]))}"
    if kind == "unknown_name":
        known = detail["ctx"]["known"]
        return f"{place}: unknown '{detail['input']}'{_nearest(str(detail['input']), known)}"
    if kind == "missing":
        return f"{place}: expected a value, and there is none"
    expected = detail["msg"].replace("Input should be ", "expected ").replace("String should match", "expected a name like")
    return f"{place}: {expected}, found {found}"


def _fields(schema: Any, loc: tuple) -> list[str]:
    """Names of the fields of the schema that stands at `loc` below `schema`."""
    for key in loc:
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            schema = schema.model_fields[str(key)].annotation
        else:  # an entry of a dict[name, schema]
            schema = getattr(schema, "__args__", (None, None))[-1]
        options = [o for o in getattr(schema, "__args__", ()) if isinstance(o, type) and issubclass(o, BaseModel)]
        if options and type(None) in getattr(schema, "__args__", ()):  # schema | None
            schema = options[0]
    return list(schema.model_fields) if isinstance(schema, type) and issubclass(schema, BaseModel) else []


def _nearest(name: Any, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
