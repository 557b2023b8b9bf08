"""The parameters of a profile, read and checked: its runs, and what each of them is made of."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import ValidationError

from wavestack import registry
from wavestack.schema import Audit, Budget, Corpus, CorpusUse, Mend, Profile, Replay, Sweep, Tokenizer, Training
from wavestack.telling import line, nearest
from wavestack.variants import Variant


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
class Rung:
    """What a rung of the audit compares, and how it is scored."""

    kind: Literal["cumulative", "alone"]
    name: str  # of the fault that is mended here; "as published" for none
    ours: str
    theirs: str
    budget: str
    variant: str
    replay: Replay

    def runs(self, corpus: str, seeds: Sequence[int]) -> tuple[list[Run], list[Run]]:
        """Those of our model and of theirs, by seed."""
        ours, theirs = ([Run(corpus, spec, self.budget, self.variant, seed) for seed in seeds] for spec in (self.ours, self.theirs))
        return ours, theirs


def _rung(audit: Audit, kind: Literal["cumulative", "alone"], mends: Sequence[Mend]) -> Rung:
    """Of several mends of the same thing the last one holds."""
    chosen: dict[str, Any] = {"ours": audit.ours, "theirs": audit.theirs, "budget": audit.budget}
    replay = audit.replay.model_dump()
    for mend in mends:
        chosen |= {key: value for key in chosen if (value := getattr(mend, key)) is not None}
        replay |= mend.replay.model_dump(exclude_unset=True)
    trained_otherwise = tuple(mend.name for mend in mends if mend.training.model_fields_set)
    tuned = any(mend.tuned for mend in mends)
    variant = Variant(tuned=True) if tuned else Variant(mended=trained_otherwise)
    return Rung(kind, mends[-1].name if mends else "as published", variant=str(variant), replay=Replay(**replay), **chosen)


@dataclass(frozen=True)
class Parameters:
    """A profile and its catalogues, read and checked."""

    name: str  # the profile's: its file's stem
    profile: Profile
    corpora: Mapping[str, Corpus]
    specs: Mapping[str, ModelSpec]
    sources: Mapping[str, str] = field(default_factory=dict)  # profile, models, corpora: the files

    @property
    def studies(self) -> list[str]:
        """Names of the profile's studies."""
        return [name for name, study in self.profile.studies if study is not None]

    def tokenizer(self, corpus: str) -> Tokenizer:
        return self.use(corpus).tokenizer or self.profile.tokenizer

    def use(self, corpus: str) -> CorpusUse:
        """How the profile uses a corpus; ValueError where it does not."""
        if corpus not in self.profile.corpora:
            raise ValueError(f"'{corpus}' is no corpus of {self.sources['profile']}{nearest(corpus, self.profile.corpora)}")
        return self.profile.corpora[corpus]

    def spec(self, run: Run) -> ModelSpec:
        return self.specs[run.spec].variant(run.variant)

    def budget(self, run: Run) -> Budget:
        """What a run is allowed: its budget, with the tokens that its variant may say instead."""
        budget, tokens = self.profile.budgets[run.budget], Variant.parse(run.variant).tokens
        return budget if tokens is None else budget.model_copy(update={"tokens": tokens})

    def training(self, run: Run, chosen: Mapping[str, float] | None = None) -> Training:
        """How a run is trained: the profile's settings, those of its budget over them, then those of its variant.

        Args:
            chosen: what tuning chose, for a run that is tuned.
        """
        variant, budget = Variant.parse(run.variant), self.profile.budgets[run.budget]
        assert chosen is None or variant.tuned
        protocol = {} if variant.mended is None else self._protocol(variant.mended)
        laid_over = {**budget.training.model_dump(exclude_unset=True), **protocol, **variant.training, **(chosen or {})}
        return Training(**{**self.profile.training.model_dump(), **laid_over})

    def _protocol(self, mended: Sequence[str]) -> dict[str, Any]:
        """The settings of the published training with some faults mended; ValueError for a fault that the audit does not know."""
        audit = self.profile.studies.audit
        known = {} if audit is None else {mend.name: mend for mend in audit.mends}
        if audit is None or not set(mended) <= set(known):
            raise ValueError(f"mended={'+'.join(mended)}: expected some of {', '.join(known) or '(this profile has no studies.audit)'}")
        settings = audit.training.model_dump(exclude_unset=True)
        for name in mended:
            settings |= known[name].training.model_dump(exclude_unset=True)
        return settings

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

    def rungs(self) -> list[Rung]:
        """The audit's rungs: as published, then with one fault more mended each, then with each alone."""
        audit = self.profile.studies.audit
        if audit is None:
            return []
        ladder = [_rung(audit, "cumulative", audit.mends[:count]) for count in range(len(audit.mends) + 1)]
        return [*ladder, *(_rung(audit, "alone", [mend]) for mend in audit.mends if mend.alone)]

    def audit_runs(self) -> list[Run]:
        """Runs of the audit, once each: rungs that are scored otherwise and trained alike share theirs."""
        audit = self.profile.studies.audit
        if audit is None:
            return []
        runs = [rung.runs(corpus, audit.seeds) for rung in self.rungs() for corpus in audit.corpora]
        return list(dict.fromkeys(run for pair in runs for side in pair for run in side))

    def ablation_runs(self) -> list[Run]:
        """Runs of the ablation study, smallest subsets first. The set of all lanes is the spec's own `base` run."""
        study = self.profile.studies.ablation
        if study is None:
            return []
        lanes = self.specs[study.spec].lanes
        subsets = [str(replace(variant, tuned=study.tuned)) for variant in lane_subsets(lanes, study.lanes or lanes)]
        keys = itertools.product(study.corpora, subsets, study.seeds)
        return [Run(corpus, study.spec, study.budget, variant, seed) for corpus, variant, seed in keys]

    def compared_runs(self) -> list[Run]:
        """Runs that the metrics are of: those of the comparison, and those of the ablation grid."""
        return list(dict.fromkeys([*self.comparison_runs(), *self.ablation_runs()]))

    def complementarity_runs(self) -> list[Run]:
        """Runs whose lanes are looked at."""
        study = self.profile.studies.complementarity
        if study is None:
            return []
        keys = itertools.product(study.corpora, study.seeds)
        return [Run(corpus, study.spec, study.budget, str(Variant(tuned=study.tuned)), seed) for corpus, seed in keys]

    def sizes_runs(self) -> list[Run]:
        """Runs of the sizes study, each spec from the smallest budget to the largest as they are listed, and from few tokens to many.

        One that is trained on as many tokens as its budget says is that budget's `base` run.
        """
        study = self.profile.studies.sizes
        if study is None:
            return []
        sizes = [(budget, self._trained_on(budget, tokens, study.tuned)) for budget in study.budgets for tokens in sorted(study.tokens)]
        keys = itertools.product(study.corpora, study.specs, sizes, study.seeds)
        return [Run(corpus, spec, *size, seed) for corpus, spec, size, seed in keys]

    def _trained_on(self, budget: str, tokens: int, tuned: bool) -> str:
        return str(Variant(tokens=None if tokens == self.profile.budgets[budget].tokens else tokens, tuned=tuned))

    def lengths_budget(self, sweep: Sweep) -> Budget:
        """The budget of a sweep over sequence lengths: its context is what the longest length needs, so that one model serves all."""
        study = self.profile.studies.lengths
        assert study is not None
        return self.profile.budgets[study.budget].model_copy(update={"context": sweep.positions})

    def lengths_specs(self) -> list[str]:
        """The specs that are measured at sequence lengths, each once."""
        study = self.profile.studies.lengths
        if study is None:
            return []
        return list(dict.fromkeys([*study.specs, *(spec for sweep in study.sweeps for spec in sweep.specs or [])]))

    def lengths_points(self) -> list[str]:
        """Every length of every sweep, by the place of its results below the profile's folders, without an ending."""
        study = self.profile.studies.lengths
        return [f"profile/{sweep.name}/length{length}" for sweep in (study.sweeps if study else []) for length in sweep.lengths]

    def steps(self, run: Run) -> int:
        """Optimiser steps of a run."""
        budget = self.budget(run)
        return -(-budget.tokens // (self.training(run).batch * budget.context))

    def runs(self) -> list[Run]:
        """Every run that some study wants, once."""
        return list(dict.fromkeys([*self.tuning_runs(), *self.scored_runs(), *self.audit_runs()]))

    def scored_runs(self) -> list[Run]:
        """Those of them that are scored on the whole validation split; trials are judged by what their trainings saw of it."""
        studies = (self.calibration_runs(), self.comparison_runs(), self.ablation_runs(), self.complementarity_runs(), self.sizes_runs())
        return list(dict.fromkeys(itertools.chain(*studies)))

    def run(self, path: str) -> Run:
        """The run that `path` names; ValueError where its corpus, spec, budget or variant is not in these parameters."""
        run = Run.parse(path)
        for value, kind, known in (
            (run.corpus, "corpus", self.profile.corpora),
            (run.spec, "spec", self.specs),
            (run.budget, "budget", self.profile.budgets),
        ):
            if value not in known:
                raise ValueError(f"run '{path}': unknown {kind} '{value}'{nearest(value, known)}")
        self.spec(run)
        try:
            self.training(run)
        except ValidationError as error:  # values that a variant names are held to their limits
            detail = error.errors(include_url=False)[0]
            raise ValueError(line(f"run '{path}'", (), detail, Training)) from None
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
