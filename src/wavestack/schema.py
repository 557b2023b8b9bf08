"""What parameter files may say: the one schema, with every default.

Three kinds of file: a *profile* (`params/quick.yaml`: what to run), the *models* (`params/models.yaml`) and the *corpora*
(`params/corpora.yaml`). The knobs of a model, a lane or a mixer are the keyword-only arguments of its constructor, with their types, limits
and defaults: adding a lane is one file and one registry line, and its knobs are checked like everything else.
"""

import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    PydanticUserError,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError

from wavestack import registry

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

    form: Literal["text", "jsonl", "parquet", "wikitext", "lines"]  # wikitext: articles; lines: each a document, the empty ones, too
    folder: Name | None = None  # another corpus's, whose files these are in another form
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
        for key, forms in (("field", ("jsonl", "parquet")), ("separator", ("text",))):
            if key in self.model_fields_set and self.form not in forms:
                told = {"key": key, "forms": " or ".join(forms), "form": self.form}
                raise PydanticCustomError("unread", "expected no {key}, which is read of {forms}; found it with {form}", told)
        return self


class Hub(Strict):
    """A data set on the Hugging Face hub, pinned to one revision."""

    path: str
    name: str | None = None  # of the configuration
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    field: str = "text"
    form: Literal["documents", "wikitext", "lines"] = "documents"
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

    rows: Literal["stream", "documents"] = "stream"  # sequences that start anywhere in the text, or one document each, cut or padded
    documents: Positive | None = None  # of the train split, the first so many; rows of documents alone
    padding: bool = False  # is trained on; rows of documents alone
    batch: Positive  # sequences an optimiser step
    accumulation: Positive = 1  # parts in which a batch is computed
    learning_rate: Annotated[float, Field(gt=0)] = 3e-3
    final_learning_rate: Share = 0.1  # share of learning_rate at the end of the cosine
    warmup: Share = 0.05  # share of the steps
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    decay: Literal["matrices", "all"] = "matrices"  # what it is on; no embedding is among the matrices
    dropout: Dropout | None = None  # of every dropout layer of a model; None leaves them as the model has them
    betas: tuple[Momentum, Momentum] = (0.9, 0.95)
    clip: Annotated[float, Field(gt=0)] = 1.0
    precision: Literal["float32", "bfloat16"] = "float32"  # of autocast
    device: Literal["cpu", "cuda"] = "cpu"
    compile: bool = False
    processes: Positive = 1  # that share each batch, started by torchrun; on CUDA each has a GPU of its own
    sharded: bool = False  # each process holds its share of the model (FSDP2), for models that one GPU has no room for
    threads: Positive = 1  # part of the result: sums are split by threads
    log_every: Positive = 10  # steps
    validate_every: Positive = 100  # steps; a checkpoint to resume from is written then, too
    validation_tokens: Positive = 32768  # of the validation split, in whole documents spread over it

    @model_validator(mode="after")
    def _rows_of_documents(self) -> "Training":
        if self.rows == "stream" and (self.padding or self.documents is not None):
            raise PydanticCustomError("rows", "expected padding and documents with rows: documents alone")
        return self

    @model_validator(mode="after")
    def _rows_for_all(self) -> "Training":
        if self.batch < self.processes:
            raise PydanticCustomError("processes", "expected at most as many processes as batch has sequences")
        if self.sharded and self.processes == 1:
            raise PydanticCustomError("sharded", "expected several processes to hold a sharded model; ask for them, or leave it whole")
        return self

    @model_validator(mode="after")
    def _whole_parts(self) -> "Training":
        if self.accumulation > 1 and self.batch % (self.accumulation * self.processes):  # as many parts in every process
            raise PydanticCustomError("accumulation", "expected an accumulation that, times processes, divides batch")
        return self


def _some_of(schema: type[Strict]) -> type[Strict]:
    """The schema with nothing required: settings that are laid over others."""
    settings = {name: (setting.rebuild_annotation() | None, None) for name, setting in schema.model_fields.items()}
    return create_model(f"SomeOf{schema.__name__}", __base__=Strict, **settings)  # type: ignore[call-overload]


if TYPE_CHECKING:
    SomeOfTraining = Training
else:
    SomeOfTraining = _some_of(Training)


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

    @model_validator(mode="after")
    def _as_in_its_name(self) -> "Trial":
        """A run is named by its trial's values in six digits, and trained with what its name says."""
        for name, value in self:
            if float(f"{value:g}") != value:
                raise PydanticCustomError("digits", f"{name} {value!r} has more than six digits, which a run is named by; write {value:g}")
        return self


class Calibration(Strict):
    """A run of known outcome. Until it is there and as good as is known, no verdict is given: a weak baseline decides nothing."""

    corpus: CorpusName
    spec: SpecName
    budget: BudgetName
    seed: Seed = 0
    at_most: Annotated[float, Field(gt=0)]  # nats per token of the validation split


class Replay(Strict):
    """How the published protocol scored: rows of one document each, in the order of the split."""

    scale: Annotated[float, Field(gt=0)] = 0.7  # of the cross-entropy: a weight of the training's loss that was left in
    batch: Positive = 32  # rows
    batches: Positive | None = 8  # the first so many; None for all
    padding: bool = True  # is scored


if TYPE_CHECKING:
    SomeOfReplay = Replay
else:
    SomeOfReplay = _some_of(Replay)


class Mend(Strict):
    """One fault of the published comparison, mended: what is other than published. What does not train otherwise trains nothing anew."""

    name: Name
    ours: SpecName | None = None  # instead of the published model
    theirs: SpecName | None = None  # instead of the published baseline
    budget: BudgetName | None = None
    training: SomeOfTraining = SomeOfTraining()  # type: ignore[call-arg]
    replay: SomeOfReplay = SomeOfReplay()
    tuned: bool = False  # both as they were tuned on the corpus, by the profile's own training
    alone: bool = True  # is mended by itself, too


class Audit(Strict):
    """The published comparison replayed, and its faults mended: one after another, and each alone."""

    corpora: Distinct[CorpusName]
    ours: SpecName
    theirs: SpecName
    budget: BudgetName
    seeds: Distinct[Seed]
    training: SomeOfTraining  # as published, over the profile's
    replay: Replay = Replay()
    tokens: Annotated[int, Field(ge=2)]  # of each document, that nats per token are of where contexts differ: no more than any of them
    mends: Annotated[list[Mend], Field(min_length=1)]

    @model_validator(mode="after")
    def _names(self) -> "Audit":
        names = _distinct([mend.name for mend in self.mends])
        if "none" in names:
            raise PydanticCustomError("none", "expected another name than 'none', which stands for no mend at all")
        return self


class Ablation(Strict):
    """All subsets of some lanes of one spec, the empty one included."""

    corpora: Distinct[CorpusName]
    spec: SpecName
    lanes: Distinct[str] | None = None  # all of the spec's
    budget: BudgetName
    seeds: Distinct[Seed]
    tuned: bool = False  # every subset as the whole spec was tuned on the corpus


class Complementarity(Strict):
    """What the lanes of trained models do: knock-outs, how alike they are, and what the mixer weighs them with."""

    corpora: Distinct[CorpusName]
    spec: SpecName
    budget: BudgetName
    seeds: Distinct[Seed]
    tuned: bool = False
    tokens: Positive = 32768  # of the validation split, that likeness and weights are of; knock-outs are of all


class Sizes(Strict):
    """Quality against size: every spec at several budgets, each of them trained on several numbers of tokens."""

    corpora: Distinct[CorpusName]
    specs: Distinct[SpecName]
    budgets: Distinct[BudgetName]  # their own numbers of tokens are not read
    tokens: Distinct[Positive]
    seeds: Distinct[Seed]
    tuned: bool = False  # each spec as it was tuned on the corpus, at all sizes


DECODED = 16  # tokens of a call that decodes: a single one takes a few milliseconds
Mode = Literal["training", "forward", "prefill", "decode", "generation"]


class Sweep(Strict):
    """One thing that models do, measured at several lengths.

    training: a step with its backward pass and the optimiser's. forward: logits of all positions. prefill: the state of a prompt and the
    logits that follow it. decode: tokens one by one behind a past of the length. generation: so many tokens, one by one, from a single one.
    """

    mode: Mode = "training"
    lengths: Distinct[Annotated[int, Field(ge=2)]]
    tokens: Positive | None = None  # a batch; a length above it is measured with a batch of one
    batch: Positive | None = None  # sequences, the same at every length
    specs: Distinct[SpecName] | None = None  # instead of the study's
    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    round: Positive = 1  # 2 and more: a sweep measured once more, to see whether its exponents come out the same
    # a length that the first model is measured at beside each of the lengths, so that times of several jobs are told in units of it
    yardstick: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _one_load(self) -> "Sweep":
        if (self.tokens is None) == (self.batch is None):
            raise PydanticCustomError("load", "expected either tokens (of a batch) or batch (sequences)")
        if self.compile and self.mode in ("decode", "generation"):
            raise PydanticCustomError("compile", "expected no compile where the state grows with each token: every call would compile anew")
        if self.yardstick is not None and self.yardstick not in self.lengths:
            raise PydanticCustomError("yardstick", f"expected a yardstick that is one of the lengths, found {self.yardstick}")
        return self

    @property
    def name(self) -> str:
        """Of the folder that its measurements are in."""
        load = f"batch{self.batch}" if self.tokens is None else f"tokens{self.tokens}"
        again = [f"round{self.round}"] if self.round > 1 else []
        return "-".join([self.mode, self.device, self.precision, *(["compiled"] if self.compile else []), load, *again])

    @property
    def first_round(self) -> str:
        """The name of the sweep that this one is measured again of; its own, if it is the first."""
        return self.model_copy(update={"round": 1}).name

    @property
    def positions(self) -> int:
        """The context that its models need."""
        return max(self.lengths) + (1 + DECODED if self.mode == "decode" else 0)

    def sequences(self, length: int) -> int:
        """Of a batch at a length."""
        if self.batch is not None:
            return self.batch
        assert self.tokens is not None
        return max(1, self.tokens // length)


class Lengths(Strict):
    """Time and memory against the sequence length."""

    specs: Distinct[SpecName]
    budget: BudgetName
    vocabulary: Annotated[int, Field(ge=2)]
    sweeps: Annotated[list[Sweep], Field(min_length=1)]
    processes: Positive = 2  # fresh ones, per model
    repeats: Annotated[int, Field(ge=5)] = 6  # timed calls a process: as many as a ratio's interval needs, if there is one process
    # that all models of a length together take for their timed calls, in one process each, unless the repeats take more
    seconds: Annotated[float, Field(gt=0)] = 10.0
    timeout: Annotated[float, Field(gt=0)] = 300.0  # seconds of a process in all; a model has one for its times and one for its memory
    threads: Positive = 2

    @model_validator(mode="after")
    def _names(self) -> "Lengths":
        named = dict(zip(_distinct([sweep.name for sweep in self.sweeps]), self.sweeps, strict=True))
        for sweep in self.sweeps:
            first = named.get(sweep.first_round)
            if first is None:
                raise PydanticCustomError("round", f"round {sweep.round} of {sweep.first_round} has no first one; list that sweep, too")
            if sweep.positions != first.positions:
                told = f"{sweep.name} is of models with {sweep.positions:,} positions, and {first.name} of ones with {first.positions:,}"
                raise PydanticCustomError("round", f"{told}, which are others; give both the same longest length")
        return self

    def sweep(self, name: str) -> Sweep:
        """The sweep of a name; ValueError that lists all names, where there is none."""
        for sweep in self.sweeps:
            if sweep.name == name:
                return sweep
        raise ValueError(f"'{name}' is none of the sweeps of studies.lengths ({', '.join(s.name for s in self.sweeps)}); add it there")


class Studies(Strict):
    calibration: Calibration | None = None
    tuning: Tuning | None = None
    comparison: Comparison
    audit: Audit | None = None
    ablation: Ablation | None = None
    complementarity: Complementarity | None = None
    sizes: Sizes | None = None
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


# --- knobs ------------------------------------------------------------------------------------------------------------------------


class Placement(Strict):
    """What a model says of a lane beside the lane's own knobs."""

    lane: str | None = None  # which one it is, registered or `module:Class`; None where its name says that
    blocks: Distinct[Annotated[int, Field(ge=0)]] | None = None  # those that have it, counted from 0; None for all


@cache
def knob_schema(entry: str) -> type[Strict]:
    """The schema of a constructor's keyword-only arguments.

    Raises:
        ValueError: one of them has no type, or one that YAML cannot give.
    """
    constructor: Callable = registry.load(entry).__init__
    arguments = inspect.signature(constructor, eval_str=True).parameters.values()
    knobs = {argument.name: argument for argument in arguments if argument.kind is inspect.Parameter.KEYWORD_ONLY}
    for name, knob in knobs.items():
        if knob.annotation is knob.empty:
            raise ValueError(f"'{entry}' does not say the type of its knob {name}; annotate it, as in `{name}: int`")
    fields = {name: (knob.annotation, ... if knob.default is knob.empty else knob.default) for name, knob in knobs.items()}
    try:
        return create_model(f"Knobs of {entry}", __base__=Strict, **fields)  # type: ignore[call-overload]
    except PydanticUserError as error:
        told = str(error.message).partition(".")[0]
        raise ValueError(
            f"'{entry}' has a knob of a type that parameter files cannot give ({told}); take int, float, str or bool"
        ) from error


@cache
def lane_schema(entry: str) -> type[Strict]:
    """The schema of all that a model says of a lane."""
    return create_model(f"Lane {entry}", __base__=(knob_schema(entry), Placement))


def filled_in(said: Strict) -> dict[str, Any]:
    """A lane's own knobs, with their defaults, and of what may stand beside them that which was said."""
    beside = set(Placement.model_fields)
    return {**said.model_dump(include=beside, exclude_unset=True), **said.model_dump(exclude=beside)}
