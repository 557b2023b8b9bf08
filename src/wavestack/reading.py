"""Reading parameter files, and the one place that says what is wrong with them.

`load` reads a profile with the two catalogues that it names, applies overrides, and either returns `Parameters` or raises `ParameterError`,
which holds every error of all three files at once.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError, create_model

from wavestack import registry
from wavestack.params import ModelSpec, Parameters
from wavestack.schema import NAME_PATTERN, RESERVED, Corpus, Name, Profile, Strict, Training, filled_in, knob_schema, lane_schema
from wavestack.telling import line, nearest, place, shown
from wavestack.variants import Variant

LANE = "wavestack.lanes.lane:Lane"  # not imported here: who only names files need not wait for PyTorch


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
        ParameterError: with all errors of all files; where there are none, with those that show when runs are put together.
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
    parameters = Parameters(
        name=Path(profile_file).stem,
        profile=profile,
        corpora={n: c for n, c in corpora.items() if c is not None},
        specs={n: s for n, s in specs.items() if s is not None},
        sources={"profile": profile_file, "models": models_file, "corpora": corpora_file},
    )
    errors = _run_errors(parameters)
    if errors:
        raise ParameterError(errors)
    return parameters


def nested(overrides: Iterable[str]) -> dict[str, Any]:
    """`key.path=value` items as one mapping, as Snakemake's --config takes it; ParameterError where an item is none."""
    raw: dict[str, Any] = {}
    errors: list[str] = []
    for item in overrides:
        _lay_over(raw, item, errors)
    if errors:
        raise ParameterError(errors)
    return raw


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
        errors.append(f"{path}: expected a mapping of names to values, found {shown(content)}")
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
        errors += [line(file, at, detail, schema) for detail in error.errors(include_url=False)]
        return None


def _model_spec(raw: Any, file: str, at: tuple, errors: list[str]) -> ModelSpec | None:
    """A spec checked against its model's constructor, its lanes against theirs."""
    before = len(errors)
    if not isinstance(raw, dict) or "model" not in raw:
        errors.append(f"{place(file, at)}: expected a mapping with the key model, one of {', '.join(registry.MODELS)}")
        return None
    chosen = _entry(registry.MODELS, raw["model"], file, (*at, "model"), errors)
    if chosen is None:
        return None
    given = {key: value for key, value in raw.items() if key != "model"}
    lanes = given.get("lanes")
    if isinstance(lanes, dict):
        filled = {}
        for lane, knobs in lanes.items():
            try:
                registry.check_lane_name(str(lane))
            except ValueError as error:
                errors.append(f"{place(file, (*at, 'lanes'))}: {error}")
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
            found = registry.load(entry)
            if not (isinstance(found, type) and issubclass(found, registry.load(LANE))):
                raise ValueError(f"'{entry}' is no lane; derive it from {LANE.replace(':', '.')}")
            lane_schema(entry)
        except ValueError as error:
            errors.append(f"{place(file, (*at, 'lane'))}: {error}")
            entry = None
    said = None if entry is None else _validated(lane_schema(entry), raw, file, at, errors)
    return {} if said is None else filled_in(said)


def _entry(names: Mapping[str, str], name: Any, file: str, at: tuple, errors: list[str]) -> str | None:
    if not isinstance(name, str) or name not in names:
        errors.append(f"{place(file, at)}: unknown '{name}'{nearest(name, names)}")
        return None
    return names[name]


def _knobs(entry: str, given: Any, file: str, at: tuple, errors: list[str]) -> dict[str, Any]:
    knobs = _validated(knob_schema(entry), given, file, at, errors)
    return {} if knobs is None else knobs.model_dump()


def _study_errors(raw: Mapping[str, Any], specs: Mapping[str, ModelSpec | None], file: str) -> list[str]:
    """A study may only use corpora that the profile sizes, lanes that its spec has, and numbers that these give.

    Looks at what was read, so that these errors are told beside the schema's; what the schema refuses is passed over here.
    """
    sized, named = raw.get("corpora"), raw.get("studies")
    if not isinstance(sized, dict) or not isinstance(named, dict):
        return []
    studies = {name: study for name, study in named.items() if isinstance(study, dict)}
    errors = [
        f"{file}: studies.{name}.{key}: '{corpus}' is not among this profile's corpora{nearest(corpus, sized)}"
        for name, study in studies.items()
        for key, corpora in (("corpora", study.get("corpora")), ("corpus", [study.get("corpus")]))
        for corpus in _strings(corpora)
        if corpus not in sized
    ]
    ablation = studies.get("ablation", {})
    spec = specs.get(str(ablation.get("spec")))
    if spec is not None:
        if not spec.lanes:
            errors.append(f"{file}: studies.ablation.spec: '{ablation['spec']}' has no lanes to leave out")
        errors += [
            f"{file}: studies.ablation.lanes: '{lane}' is no lane of {ablation['spec']}{nearest(lane, spec.lanes)}"
            for lane in _strings(ablation.get("lanes"))
            if lane not in spec.lanes
        ]
    errors += [
        f"{file}: studies.sizes.specs: lane '{lane}' of {name} does not say its FLOPs, which are counted; give its class `flops`"
        for name in _strings(studies.get("sizes", {}).get("specs"))
        if (spec := specs.get(name)) is not None
        for lane, knobs in (spec.knobs.get("lanes") or {}).items()
        if registry.lane(lane, knobs).flops is registry.load(LANE).flops
    ]
    looked_at = str(studies.get("complementarity", {}).get("spec"))
    spec = specs.get(looked_at)
    if spec is not None and len(spec.lanes) < 2:
        errors.append(f"{file}: studies.complementarity.spec: {looked_at} has fewer than two lanes, and there is nothing to tell apart")
    return errors


def _run_errors(parameters: Parameters) -> list[str]:
    """Runs that no study tunes, and settings that do not go together once those of budget and variant are laid over the profile's."""
    file = parameters.sources["profile"]
    errors: dict[str, None] = {}  # many runs share one
    for run in parameters.runs():
        if run.tuned and not parameters.tuning_runs(run.corpus, run.spec):
            errors[f"{file}: {run.spec} is not tuned on {run.corpus}; add them to studies.tuning"] = None
        try:
            parameters.training(run)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                errors[line(f"{file}: training of {run.budget}, {Variant.parse(run.variant).recipe}", (), detail, Training)] = None
    return list(errors)


def _strings(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
