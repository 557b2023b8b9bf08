"""A stage of dvc.yaml: a target of the one DAG, and a look at whether what is there afterwards is what was asked for."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from wavestack.operations.inventory import STAGES, results, take_away_stale
from wavestack.params import Parameters
from wavestack.reading import nested

TARGETS = {
    "corpora": ["corpora"],
    "train": ["trained"],
    "measure": ["measured"],
    "report": [],
}  # rules of the Snakefile; none is the default one


def snakemake(profile: Path, overrides: Sequence[str], *arguments: str) -> None:
    """Run Snakemake on a profile with values laid over it, where `$SNAKEMAKE_PROFILE` says, or else on all cores of this machine.

    What a killed run left half done is done again.

    Raises:
        ValueError: it fails, after its own words.
    """
    cores = [] if "SNAKEMAKE_PROFILE" in os.environ else ["--cores", "all"]
    config = [f"{key}={json.dumps(value)}" for key, value in nested(overrides).items()]
    options = ["--rerun-incomplete", *cores, "--configfile", str(profile), *(["--config", *config] if config else [])]
    command = ["snakemake", *arguments, *options]
    if subprocess.run(command, check=False).returncode:
        raise ValueError(f"`{' '.join(command)}` failed; what it says above")


def reproduce(parameters: Parameters, profile: Path, overrides: Sequence[str], stage: str, reports: Path) -> None:
    """Make what a stage asks for. What is stale by its own record goes first: without records of its own Snakemake would keep it.

    Args:
        profile: the file of parameters.
        overrides: what the parameters have laid over it.
        reports: the profile's folder of light results.

    Raises:
        ValueError: there is no such stage; Snakemake fails; or what is there afterwards is not of today's code and parameters.
    """
    if stage not in STAGES:
        raise ValueError(f"'{stage}' is no stage of dvc.yaml; these are: {', '.join(STAGES)}")
    asked_for = [result for result in results(parameters, reports) if result.stage == stage]
    take_away_stale(asked_for)
    snakemake(profile, overrides, *TARGETS[stage])
    problems = [problem for result in asked_for if (problem := result.problem())]
    if problems:
        raise ValueError("\n".join([*shortened(problems), "code or parameters changed while the stage ran; run it again"]))


def shortened(lines: Sequence[str], shown: int = 5) -> list[str]:
    """The first of many lines, and how many more there are."""
    return [*lines[:shown], *([f"and {len(lines) - shown} more"] if len(lines) > shown else [])]
