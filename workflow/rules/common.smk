# The parameters, read and checked before anything starts, and what rules ask of them.

import json
import os
import sys
from hashlib import sha256
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile
from wavestack import steps
from wavestack.cli import checked
from wavestack.corpora.sources import local_files
from wavestack.operations.inventory import STAGES, results
from wavestack.operations.relay import pass_on
from wavestack.params import Run
from wavestack.variants import Variant

if len(workflow.configfiles) > 1:
    raise WorkflowError("expected one --configfile, the profile; lay single values over it with --config")
# Snakemake makes the path absolute; a checkout that moves must rerun nothing, and no record names a machine's folders.
PROFILE = Path(workflow.configfiles[0] if workflow.configfiles else "params/quick.yaml")
PROFILE = str(PROFILE.relative_to(Path.cwd()) if PROFILE.is_relative_to(Path.cwd()) else PROFILE)
OVERRIDES = [f"{key}={json.dumps(value)}" for key, value in workflow.config_settings.config.items()]  # JSON is YAML

try:
    PARAMETERS = checked(Path(PROFILE), OVERRIDES)
except ValueError as error:
    raise WorkflowError(str(error)) from None

# What jobs find in their environment: `wavestack` beside this interpreter, though its environment may not be activated, and what --config
# lays over the profile. The latter is no rule's `params`, where it would rerun steps that do not read it: each step's fingerprint covers
# what it reads, and the step itself refuses to run anything else.
os.environ.update(
    PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    WAVESTACK_SET="\n".join(OVERRIDES),
)

if "SLURM_JOB_ID" in os.environ:
    pass_on()  # to trainings, what Slurm tells this process

DATA = f"data/{PARAMETERS.name}"
REPORTS = f"reports/{PARAMETERS.name}"
LOGS = f"logs/{PARAMETERS.name}"
RUN = "{corpus}/{spec}/{budget}/{variant}/seed{seed}"
SPLITS = ["train", "valid", "test"]
STUDIES = PARAMETERS.studies
OPENINGS = [path for path in ["reports/openings.csv"] if Path(path).is_file()]  # of test splits: a row more when one was scored
BENCHMARKS = sorted(map(str, Path("reports/benchmarks").glob("**/[!.]*.csv")))  # run by hand, on a quiet machine
ALL_CORES = workflow.resource_settings.cores or 1  # questions such as --rulegraph come without
LENGTHS_MODELS = [f"{spec}/{PARAMETERS.profile.studies.lengths.budget}/base" for spec in PARAMETERS.lengths_specs()]
MODELS = sorted(
    {
        *(f"{run.spec}/{run.budget}/{Variant.parse(run.variant).model}" for run in PARAMETERS.runs()),
        *LENGTHS_MODELS,
    }
)


MEASURES = [  # heavy ones
    *expand("{data}/measures/{run}/documents.parquet", data=DATA, run=PARAMETERS.scored_runs()),
    *expand("{data}/measures/{run}/rows.parquet", data=DATA, run=PARAMETERS.audit_runs()),
    *expand("{data}/measures/{run}/knockouts.parquet", data=DATA, run=PARAMETERS.complementarity_runs()),
]


wildcard_constraints:
    corpus="[^/]+",
    spec="[^/]+",
    budget="[^/]+",
    variant="[^/]+",
    seed=r"\d+",
    length=r"\d+",
    sweep="[^/]+",
    study="[a-z]+",


def tested():
    """What came of the test split, by its hash: findings and page follow it, though what they ask for must not open it."""
    path = Path(f"{REPORTS}/studies/test.json")
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def light_of(stage):
    """The light results that a stage of dvc.yaml makes."""
    return [str(result.output) for result in results(PARAMETERS, Path(REPORTS)) if result.stage == stage]


def files_of(wildcards):
    """The local files of a corpus. What was made of files that are not found now stays: Snakemake would delete it, and fail to make it again."""
    files = local_files(wildcards.corpus, PARAMETERS.corpora[wildcards.corpus])
    made = Path(f"{DATA}/corpora/{wildcards.corpus}/train.parquet")
    before = workflow.persistence.input(IOFile(str(made))) if made.is_file() else []
    if before and not files:
        raise WorkflowError(
            f"corpus '{wildcards.corpus}' was made of {before[0]}, and its files are not found now; set WAVESTACK_DATA as it was, or put them "
            f"into data/raw/{wildcards.corpus}/; to make it of another text, delete {made.parent} first"
        )
    return files


def run_of(wildcards):
    return Run(
        wildcards.corpus,
        wildcards.spec,
        wildcards.budget,
        wildcards.variant,
        int(wildcards.seed),
    )


def gpu_of(wildcards):
    """How many GPUs a step of a run takes, for executors that give them out."""
    return int(PARAMETERS.training(run_of(wildcards)).device == "cuda")


def gpus_of(wildcards):
    """How many its training takes: each of its processes has one of its own. Snakemake would cut it to its limit without a word."""
    asked = gpu_of(wildcards) * PARAMETERS.training(run_of(wildcards)).processes
    limit = workflow.global_resources.get("gpu").value
    if limit is not None and asked > limit:
        raise WorkflowError(
            f"{run_of(wildcards)}: training.processes: {asked} need a GPU each, and Snakemake is allowed {limit}; raise the limit, "
            f"--resources gpu={asked}, if a node has as many, or ask for fewer processes"
        )
    return asked


def contract_of(wildcards):
    """The proof that the contract holds for the model that a run trains."""
    model = Variant.parse(wildcards.variant).model
    return f"{DATA}/contract/{wildcards.spec}/{wildcards.budget}/{model}.passed"


def cores_of(run):
    """Threads of all processes that share a training."""
    training = PARAMETERS.training(run)
    return training.processes * training.threads


def launcher_of(run):
    """What starts them, where they are several."""
    processes = PARAMETERS.training(run).processes
    return f"torchrun --standalone --nproc-per-node {processes} --no-python " if processes > 1 else ""


def choice_of(wildcards):
    """What tuning chose, for a run that is tuned."""
    tuned = run_of(wildcards).tuned
    return f"{REPORTS}/tuning/{wildcards.corpus}/{wildcards.spec}.json" if tuned else []


def results_of(study):
    """What a study (or the metrics) reads: the measures, the timings and the documents of its runs, the choices, or the lengths."""
    if study == "lengths":
        return expand("{reports}/{point}.json", reports=REPORTS, point=PARAMETERS.lengths_points())
    if study == "tuning":
        tuning = PARAMETERS.profile.studies.tuning
        return expand("{reports}/tuning/{corpus}/{spec}.json", reports=REPORTS, corpus=tuning.corpora, spec=tuning.specs)
    if study == "audit":
        runs = PARAMETERS.audit_runs()
        return [
            *expand("{data}/measures/{run}/rows.parquet", data=DATA, run=runs),
            *expand("{reports}/runs/{run}/{file}", reports=REPORTS, run=runs, file=["replay.json", "training.json"]),
        ]
    if study == "complementarity":
        runs = PARAMETERS.complementarity_runs()
        return [
            *expand("{data}/measures/{run}/{file}", data=DATA, run=runs, file=["knockouts.parquet", "documents.parquet"]),
            *expand("{reports}/runs/{run}/complementarity.json", reports=REPORTS, run=runs),
        ]
    if study == "test":
        runs = PARAMETERS.comparison_runs()
        return [
            *expand("{reports}/runs/{run}/{file}", reports=REPORTS, run=runs, file=["test.json", "train.timing.json"]),
            *expand("{data}/measures/{run}/test.parquet", data=DATA, run=runs),
            *([f"{REPORTS}/studies/calibration.json"] if "calibration" in STUDIES else []),
        ]
    runs = {
        "calibration": PARAMETERS.calibration_runs(),
        "comparison": PARAMETERS.comparison_runs(),
        "ablation": PARAMETERS.ablation_runs(),
        "sizes": PARAMETERS.sizes_runs(),
        "metrics": PARAMETERS.compared_runs(),
    }[study]
    results = expand("{reports}/runs/{run}/{file}", reports=REPORTS, run=runs, file=["metrics.json", "train.timing.json"])
    if study in ("comparison", "ablation", "sizes", "metrics"):
        results += expand("{data}/measures/{run}/documents.parquet", data=DATA, run=runs)
    if study == "comparison":
        results += expand("{reports}/runs/{run}/slices.csv", reports=REPORTS, run=runs)
    if study in ("comparison", "sizes") and "calibration" in STUDIES:  # no verdict without it
        results.append(f"{REPORTS}/studies/calibration.json")
    return results
