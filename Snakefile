# WaveStack's one DAG: corpus -> tokens -> [contract, budget] -> train -> evaluate -> studies -> report, and the length profile beside it.
#
#   snakemake --cores                                    params/quick.yaml
#   snakemake --cores --configfile params/smoke.yaml     another profile
#   snakemake --cores --config 'training={batch: 8}'     values laid over the profile; they pass the same schema


container: "docker://python:3.11-slim"  # unused without a software-deployment flag; `make setup` is the environment


# Seconds of reading and writing of small files: not worth a job on a cluster.
localrules:
    choose,
    study,
    metrics,
    findings,
    report,


include: "workflow/rules/common.smk"
include: "workflow/rules/corpus.smk"
include: "workflow/rules/contract.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/studies.smk"
include: "workflow/rules/report.smk"


# Everything is asked for by name: a fresh clone has light results, which are in git, and must make both again; and what is missing in the middle
# is not made anew for those behind it.
rule all:
    default_target: True
    input:
        f"{DATA}/budget.met",
        MEASURES,
        *map(light_of, STAGES),


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
