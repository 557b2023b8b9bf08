# The parameters, read and checked before anything starts, and what rules ask of them.

import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from wavestack import steps
from wavestack.cli import checked
from wavestack.params import Run

# Rules call `wavestack` by name: the one beside this interpreter, though its environment may not be activated.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

if len(workflow.configfiles) > 1:
    raise WorkflowError(
        "expected one --configfile, the profile; lay single values over it with --config"
    )
PROFILE = str(workflow.configfiles[0]) if workflow.configfiles else "params/quick.yaml"
OVERRIDES = [
    f"{key}={json.dumps(value)}"
    for key, value in workflow.config_settings.config.items()
]  # JSON is YAML

try:
    PARAMETERS = checked(Path(PROFILE), OVERRIDES)
except ValueError as error:
    raise WorkflowError(str(error)) from None

# Which parameters a step reads; its fingerprint says whether they are still those that were checked here.
SELECTION = shlex.join(
    ["--params", PROFILE, *(word for item in OVERRIDES for word in ("--set", item))]
)

DATA = f"data/{PARAMETERS.name}"
REPORTS = f"reports/{PARAMETERS.name}"
LOGS = f"logs/{PARAMETERS.name}"
RUN = "{corpus}/{spec}/{budget}/{variant}/seed{seed}"
SPLITS = ["train", "valid", "test"]
LENGTHS = (
    PARAMETERS.profile.studies.lengths.lengths
    if PARAMETERS.profile.studies.lengths
    else []
)
STUDIES = [name for name, study in PARAMETERS.profile.studies if study is not None]
MODELS = sorted({(run.spec, run.budget, run.variant) for run in PARAMETERS.runs()})


wildcard_constraints:
    corpus="[^/]+",
    spec="[^/]+",
    budget="[^/]+",
    variant="[^/]+",
    seed=r"\d+",
    length=r"\d+",
    study="[a-z]+",


def run_of(wildcards):
    return Run(
        wildcards.corpus,
        wildcards.spec,
        wildcards.budget,
        wildcards.variant,
        int(wildcards.seed),
    )


def runs_of(study):
    return (
        PARAMETERS.comparison_runs()
        if study == "comparison"
        else PARAMETERS.ablation_runs()
    )
