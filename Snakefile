# WaveStack's one DAG: corpus -> tokens -> [contract, budget] -> train -> evaluate -> studies -> report, and the length profile beside it.
#
#   snakemake --cores                                    params/quick.yaml
#   snakemake --cores --configfile params/smoke.yaml     another profile
#   snakemake --cores --config 'training={batch: 8}'     values laid over the profile; they pass the same schema


container: "docker://python:3.11-slim"  # unused without a software-deployment flag; `make setup` is the environment


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/contract.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/report.smk"


# Heavy results are asked for by name: a fresh clone has the light ones, which are in git, and must make both again.
rule all:
    default_target: True
    input:
        f"{REPORTS}/index.html",
        f"{REPORTS}/metrics.json",
        MEASURES,
        f"{DATA}/budget.met",


# What the stages of dvc.yaml ask for before the page.
rule corpora:
    input:
        light_of("corpora"),
        expand("{data}/tokens/{corpus}/manifest.json", data=DATA, corpus=PARAMETERS.profile.corpora),


rule trained:
    input:
        light_of("train"),
        expand("{data}/runs/{run}/best.json", data=DATA, run=PARAMETERS.runs()),
        expand("{data}/contract/{model}.passed", data=DATA, model=MODELS),
        f"{DATA}/budget.met",


rule measured:
    input:
        light_of("measure"),
        MEASURES,


# Opens the test splits to the comparison's models; `snakemake --cores` then draws the findings from them.
rule test:
    input:
        f"{REPORTS}/studies/test.json",
