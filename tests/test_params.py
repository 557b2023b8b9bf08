"""Ten wrong parameter files, and what each prints; and what right ones mean."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from wavestack.params import Run, lane_subsets
from wavestack.reading import ParameterError, load
from wavestack.schema import LocalFiles

SMOKE = Path("params/smoke.yaml")


def errors_of(tmp_path, change=None, models=None, text=None, overrides=()):
    """Change the smoke profile (and the models) and load it; the errors, without the folder."""
    profile = yaml.safe_load(SMOKE.read_text())
    if models is not None:
        catalogue = yaml.safe_load(Path("params/models.yaml").read_text())
        models(catalogue)
        (tmp_path / "models.yaml").write_text(yaml.safe_dump(catalogue))
        profile["models"] = str(tmp_path / "models.yaml")
    if change is not None:
        change(profile)
    (tmp_path / "wrong.yaml").write_text(text if text is not None else yaml.safe_dump(profile))
    with pytest.raises(ParameterError) as caught:
        load(tmp_path / "wrong.yaml", overrides)
    return [error.replace(f"{tmp_path}/", "") for error in caught.value.errors]


def test_1_an_unknown_key_and_its_nearest(tmp_path):
    assert errors_of(tmp_path, lambda p: p["training"].update(learning_rat=1)) == [
        "wrong.yaml: training.learning_rat: unknown key; did you mean 'learning_rate'?"
    ]


def test_2_values_out_of_range_all_at_once(tmp_path):
    def change(p):
        p["training"]["learning_rate"] = -1
        p["budgets"]["tiny"]["context"] = 1
        p["studies"]["comparison"]["seeds"] = [0, 0]

    assert errors_of(tmp_path, change) == [
        "wrong.yaml: budgets.tiny.context: expected greater than or equal to 2, found 1",
        "wrong.yaml: training.learning_rate: expected greater than 0, found -1",
        "wrong.yaml: studies.comparison.seeds: expected each value once, found [0, 0]",
    ]


def test_3_an_unknown_spec_corpus_and_budget(tmp_path):
    def change(p):
        p["corpora"]["pydoc"] = {}
        p["studies"]["comparison"] = {"corpora": ["pydocs"], "specs": ["wavestak"], "budget": "tinny", "seeds": [0]}

    assert errors_of(tmp_path, change) == [
        "wrong.yaml: corpora.pydoc: unknown 'pydoc'; did you mean 'pydocs'?",
        "wrong.yaml: studies.comparison.specs.0: unknown 'wavestak'; did you mean 'wavestack'?",
        "wrong.yaml: studies.comparison.budget: unknown 'tinny'; did you mean 'tiny'?",
    ]


def test_4_a_wrong_lane_and_a_wrong_knob_of_a_lane(tmp_path):
    def models(m):
        m["wavestack"]["lanes"] = {"chebychev": {}, "fourier": {"frequences": 3}, "wavelet": {"levels": 0}}

    assert errors_of(tmp_path, models=models) == [
        "models.yaml: wavestack.lanes: unknown 'chebychev'; did you mean 'chebyshev'?",
        "models.yaml: wavestack.lanes.fourier.frequences: unknown key; did you mean 'frequencies'?",
        "models.yaml: wavestack.lanes.wavelet.levels: expected greater than or equal to 1, found 0",
    ]


def test_5_a_wrong_model_and_a_wrong_mixer(tmp_path):
    def models(m):
        m["transformer"]["model"] = "tranformer"
        m["wavestack"]["mixer"] = "gate"

    assert errors_of(tmp_path, models=models) == [
        "models.yaml: transformer.model: unknown 'tranformer'; did you mean 'transformer'?",
        "models.yaml: wavestack.mixer: unknown 'gate'; did you mean 'gated'?",
    ]


def test_6_errors_of_two_files_together(tmp_path):
    def models(m):
        m["transformer"]["head_width"] = 31

    found = errors_of(tmp_path, lambda p: p["training"].pop("batch"), models)
    assert found == [
        "models.yaml: transformer.head_width: expected a multiple of 2, found 31",
        "wrong.yaml: training.batch: expected a value, and there is none",
    ]


def test_7_not_yaml_twice_the_same_key_and_a_missing_file(tmp_path):
    assert "is not YAML" in errors_of(tmp_path, text="training: [1, 2")[0]
    assert "the key 'steps' stands twice" in errors_of(tmp_path, text="steps: 1\nsteps: 2")[0]
    assert "expected a mapping" in errors_of(tmp_path, text="- 1")[0]
    assert "is not YAML" in errors_of(tmp_path, text="x: !!python/object/apply:os.system ['true']")[0]
    with pytest.raises(ParameterError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load("nowhere.yaml")


def test_8_a_name_that_climbs_out_of_its_folder(tmp_path):
    def change(p):
        p["budgets"]["../../etc"] = p["budgets"]["tiny"]

    (error,) = errors_of(tmp_path, change)
    assert error.startswith("wrong.yaml: budgets.../../etc: expected a name like pattern")


def test_9_a_study_of_what_the_profile_does_not_have(tmp_path):
    def change(p):
        p["studies"]["comparison"]["corpora"] = ["pycode"]
        p["studies"]["ablation"]["lanes"] = ["fouriers"]

    assert errors_of(tmp_path, change) == [
        "wrong.yaml: studies.comparison.corpora: 'pycode' is not among this profile's corpora; did you mean 'pydocs'?",
        "wrong.yaml: studies.ablation.lanes: 'fouriers' is no lane of wavestack; did you mean 'fourier'?",
    ]


def test_10_an_override_that_breaks_the_schema(tmp_path):
    overrides = ["training.batch=0", "training={log_every: x}", "nonsense", "profile_of.x=1"]
    assert errors_of(tmp_path, overrides=overrides) == [
        "--set nonsense: expected key.path=value",
        "wrong.yaml: training.batch: expected greater than or equal to 1, found 0",
        "wrong.yaml: training.log_every: expected a valid integer, unable to parse string as an integer, found 'x'",
        "wrong.yaml: profile_of: unknown key; known: " + "models, catalogue, corpora, tokenizer, budgets, training, evaluation, studies",
    ]


def test_errors_of_studies_stand_beside_those_of_the_schema(tmp_path):
    def change(p):
        p["training"]["batch"] = 0
        p["studies"]["ablation"]["corpora"] = ["pycode"]

    assert errors_of(tmp_path, change) == [
        "wrong.yaml: training.batch: expected greater than or equal to 1, found 0",
        "wrong.yaml: studies.ablation.corpora: 'pycode' is not among this profile's corpora; did you mean 'pydocs'?",
    ]


def test_odd_values_of_lanes_and_models_are_errors(tmp_path):
    def models(m):
        m["wavestack"]["lanes"] = {"fourier": False, "wavelet": {"wavelet": "symm4"}}
        m["transformer"]["model"] = ["transformer"]

    model, lane, wavelet = errors_of(tmp_path, models=models)
    assert model.startswith("models.yaml: transformer.model: unknown '['transformer']'")
    assert lane.startswith("models.yaml: wavestack.lanes.fourier: expected a valid dictionary")
    assert wavelet == "models.yaml: wavestack.lanes.wavelet.wavelet: unknown 'symm4'; did you mean 'sym4'?"


@pytest.mark.parametrize("name", ["Fourier", "training", "keys", "a.b"])
def test_a_lane_s_name_is_checked_when_the_file_is_read(tmp_path, name):
    (error,) = errors_of(tmp_path, models=lambda m: m["wavestack"]["lanes"].update({name: {"lane": "fourier"}}))
    assert error.startswith(f"models.yaml: wavestack.lanes: '{name}' cannot name a lane")


def test_a_profile_s_name_becomes_a_folder(tmp_path):
    for name in ("raw.yaml", "benchmarks.yaml", "My Profile.yaml"):
        (tmp_path / name).write_text(SMOKE.read_text())
        with pytest.raises(ParameterError, match="expected a file name like"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("class Mine(Lane):\n    pass", None),
        ("class Mine:\n    pass", "'{module}:Mine' is no lane; derive it from wavestack.lanes.lane.Lane"),
        ("def Mine():\n    pass", "'{module}:Mine' is no lane; derive it from wavestack.lanes.lane.Lane"),
        (
            "class Mine(Lane):\n    def __init__(self, hidden, context, *, size=8):\n        super().__init__(hidden, context)",
            "'{module}:Mine' does not say the type of its knob size; annotate it, as in `size: int`",
        ),
        (
            "class Mine(Lane):\n    def __init__(self, hidden, context, *, size: object() = 8):\n        super().__init__(hidden, context)",
            "'{module}:Mine' has a knob of a type that parameter files cannot give (",
        ),
    ],
)
def test_a_class_of_one_s_own_is_looked_at_before_anything_starts(tmp_path, monkeypatch, written, told):
    """What is no lane; and what says too little to be measured by the study that counts FLOPs, at the end of all trainings."""
    module = f"mine_{abs(hash(written))}"  # a module is imported once
    (tmp_path / f"{module}.py").write_text(f"from wavestack.lanes.lane import Lane\n\n\n{written}\n")
    monkeypatch.syspath_prepend(tmp_path)

    def models(catalogue):
        catalogue["wavestack"]["lanes"]["mine"] = {"lane": f"{module}:Mine"}

    (error,) = errors_of(tmp_path, models=models)
    if told is None:
        said = "wrong.yaml: studies.sizes.specs: lane 'mine' of wavestack does not say its FLOPs, which are counted; give its class `flops`"
        assert error == said
    else:
        assert error.startswith(f"models.yaml: wavestack.lanes.mine.lane: {told.format(module=module)}")


def test_an_accumulation_that_does_not_divide_and_a_tokenizer_without_a_size(tmp_path):
    def change(p):
        p["training"]["accumulation"] = 3
        p["tokenizer"] = {"kind": "bpe"}

    tokenizer, accumulation = errors_of(tmp_path, change)
    assert tokenizer.startswith("wrong.yaml: tokenizer: expected vocabulary with kind bpe")
    assert accumulation.startswith("wrong.yaml: training: expected an accumulation that, times processes, divides batch")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"form": "lines", "separator": "-----"}, "expected no separator, which is read of text; found it with lines"),
        ({"form": "text", "field": "code"}, "expected no field, which is read of jsonl or parquet; found it with text"),
    ],
)
def test_a_setting_that_no_file_of_this_form_is_read_by_is_refused(files, message):
    with pytest.raises(ValidationError, match=message):
        LocalFiles.model_validate({"train": "train.txt", **files})


def test_overrides_are_laid_over_key_by_key():
    parameters = load(SMOKE, ["training={batch: 8}", "training.learning_rate=1e-3", "corpora.pydocs.limit=1kB"])
    assert parameters.profile.training.batch == 8
    assert parameters.profile.training.learning_rate == 1e-3
    assert parameters.profile.training.log_every == 5  # the file's own, untouched
    assert parameters.profile.corpora["pydocs"].limit == 1000


def test_knobs_are_filled_in_with_their_defaults(tmp_path):
    (tmp_path / "models.yaml").write_text("a: {model: wavestack, lanes: {fourier: }}\nb: {model: transformer}\n")
    profile = yaml.safe_load(SMOKE.read_text())
    profile |= {"models": str(tmp_path / "models.yaml")}
    profile["studies"] = {"comparison": {"corpora": ["pydocs"], "specs": ["a", "b"], "budget": "tiny", "seeds": [0]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(profile))
    parameters = load(tmp_path / "mine.yaml")
    lanes = {"fourier": {"frequencies": 16}}
    assert parameters.specs["a"].knobs == {"lanes": lanes, "mixer": "gated", "convolution": 4, "lane_width": 0.375}
    assert parameters.specs["b"].knobs == {"head_width": 64, "convolution": 0, "window": None, "explicit_mask": False}
    assert parameters.name == "mine"


def test_lane_subsets():
    lanes = ("a", "b", "c")
    assert [str(variant) for variant in lane_subsets(lanes, lanes)] == [
        "lanes=none", "lanes=a", "lanes=b", "lanes=c", "lanes=a+b", "lanes=a+c", "lanes=b+c", "base"
    ]  # fmt: skip
    assert [str(variant) for variant in lane_subsets(lanes, ("c",))] == ["lanes=none", "lanes=c"]


TUNED = [
    "budgets.tiny.training={batch: 8}",
    "studies.tuning={corpora: [pydocs], specs: [wavestack, transformer], budget: tiny, seeds: [0, 1], trials: "
    "[{learning_rate: 0.01, weight_decay: 0.1, dropout: 0}, {learning_rate: 0.02, weight_decay: 0, dropout: 0.1}]}",
]


def test_a_training_is_laid_over_by_its_budget_its_variant_and_what_was_chosen():
    parameters = load(SMOKE, TUNED)
    base, tuned = (Run("pydocs", "transformer", "tiny", variant, 0) for variant in ("base", "tuned"))
    trial = parameters.tuning_runs("pydocs", "transformer")[2]
    assert trial.variant == "lr=0.02,wd=0,dropout=0.1"
    assert parameters.training(base).model_dump() == parameters.profile.training.model_dump() | {"batch": 8}
    assert parameters.training(trial).model_dump() == parameters.profile.training.model_dump() | {
        "batch": 8, "learning_rate": 0.02, "weight_decay": 0.0, "dropout": 0.1
    }  # fmt: skip
    assert parameters.training(tuned, {"learning_rate": 0.5}).learning_rate == 0.5
    assert parameters.steps(base) == 40  # 20,480 tokens in steps of 8 x 64


def test_every_trial_is_a_run_of_every_spec():
    parameters = load(SMOKE, TUNED)
    trials = [str(run) for run in parameters.tuning_runs("pydocs", "wavestack")]
    names = ("lr=0.01,wd=0.1,dropout=0", "lr=0.02,wd=0,dropout=0.1")
    assert trials == [f"pydocs/wavestack/tiny/{name}/seed{seed}" for name in names for seed in (0, 1)]
    assert len(parameters.tuning_runs()) == 8
    assert set(parameters.tuning_runs()) <= set(parameters.runs())
    assert not set(parameters.tuning_runs()) & set(parameters.scored_runs())


def test_a_comparison_and_an_ablation_of_what_was_tuned():
    parameters = load(SMOKE, [*TUNED, "studies.comparison.tuned=true", "studies.ablation.tuned=true", "studies.ablation.seeds=[0]"])
    assert {run.variant for run in parameters.comparison_runs()} == {"tuned"}
    assert [run.variant for run in parameters.ablation_runs()] == ["lanes=none,tuned", "lanes=wavelet,tuned"]


def tuning_of_wavestack_alone(dropout: float) -> dict:
    trial = {"learning_rate": 0.01, "weight_decay": 0.1, "dropout": dropout}
    return {"corpora": ["pydocs"], "specs": ["wavestack"], "budget": "tiny", "seeds": [0], "trials": [trial]}


def test_a_trial_with_a_setting_out_of_range(tmp_path):
    assert errors_of(tmp_path, lambda p: p["studies"].update(tuning=tuning_of_wavestack_alone(dropout=1.5))) == [
        "wrong.yaml: studies.tuning.trials.0.dropout: expected less than 1, found 1.5"
    ]


def test_a_trial_of_more_digits_than_a_run_s_name_has(tmp_path):
    """Two of them might become one run, and count as two seeds."""
    (error,) = errors_of(tmp_path, lambda p: p["studies"].update(tuning=tuning_of_wavestack_alone(dropout=0.12345678)))
    assert "dropout 0.12345678 has more than six digits, which a run is named by; write 0.123457" in error


def test_what_is_not_tuned_cannot_be_compared_as_tuned(tmp_path):
    def change(p):
        p["studies"]["comparison"]["tuned"] = True
        p["studies"]["tuning"] = tuning_of_wavestack_alone(dropout=0)

    (error,) = errors_of(tmp_path, change)
    assert error.endswith("wrong.yaml: transformer is not tuned on pydocs; add them to studies.tuning")


def test_a_mend_that_is_named_like_no_mend_at_all(tmp_path):
    audit = {"corpora": ["pydocs"], "ours": "wavestack", "theirs": "transformer", "budget": "tiny", "seeds": [0], "tokens": 9}

    def change(p):
        p["studies"]["audit"] = {**audit, "training": {}, "replay": {}, "mends": [{"name": "none", "theirs": "transformer"}]}

    (error,) = errors_of(tmp_path, change)
    assert error.startswith("wrong.yaml: studies.audit: expected another name than 'none'")


def test_a_budget_s_training_is_checked_by_itself_and_over_the_profile_s(tmp_path):
    assert errors_of(tmp_path, lambda p: p["budgets"]["tiny"].update(training={"batches": 3})) == [
        "wrong.yaml: budgets.tiny.training.batches: unknown key; did you mean 'batch'?"
    ]
    (error,) = errors_of(tmp_path, lambda p: p["budgets"]["tiny"].update(training={"accumulation": 3}))
    assert "wrong.yaml: training of tiny, base: expected an accumulation that, times processes, divides batch" in error


def test_a_run_wanted_by_two_studies_is_one_run():
    parameters = load("params/quick.yaml", ["studies.ablation.budget=small"])
    assert len(parameters.runs()) == len(set(parameters.runs()))
    shared = set(parameters.comparison_runs()) & set(parameters.ablation_runs())
    assert {str(run) for run in shared} == {"pydocs/wavestack/small/base/seed0"}


@given(st.from_regex(r"[a-z]{1,5}/[a-z]{1,5}/[a-z]{1,5}/(base|lanes=[a-z]{1,3})/seed[0-9]{1,4}", fullmatch=True))
def test_a_run_s_path_names_it(path):
    run = Run.parse(path)
    assert Run.parse(str(run)) == run


@pytest.mark.parametrize("path", ["", "a/b/c/d", "a/b/c/d/seed", "a/b/c/d/seedx", "a/b/c/d/e/seed1", "a/b/c/d/1"])
def test_what_is_no_run_is_refused(path):
    with pytest.raises(ValueError, match="expected corpus/spec/budget/variant/seedK"):
        Run.parse(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("pydoc/wavestack/tiny/base/seed0", "unknown corpus 'pydoc'; did you mean 'pydocs'"),
        ("pydocs/wavestak/tiny/base/seed0", "unknown spec 'wavestak'; did you mean 'wavestack'"),
        ("pydocs/wavestack/large/base/seed0", "unknown budget 'large'"),
        ("pydocs/wavestack/tiny/lanes=cosine/seed0", "expected lanes= with some of fourier, lookup, recall, wavelet"),
        ("pydocs/wavestack/tiny/lr=-1/seed0", "learning_rate: expected greater than 0, found -1"),
        ("pydocs/wavestack/tiny/tuned/seed0", "wavestack is not tuned on pydocs in .*; add it to studies.tuning"),
        ("pydocs/transformer/tiny/lanes=none/seed0/..", "is not a run"),
    ],
)
def test_a_run_that_the_parameters_do_not_have_is_refused(path, message):
    with pytest.raises(ValueError, match=message):
        load(SMOKE).run(path)
