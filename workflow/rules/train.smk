# One training a run. It goes on from its own checkpoints, which are not declared: declared outputs are deleted before a rerun.
# The contract is no `ancient` input: where it must be checked again, Snakemake (9.27) does not look at the other reasons of the jobs behind it,
# and behind an `ancient` edge a training of old code would pass for current.


rule train:
    input:
        expand(
            "{data}/tokens/{{corpus}}/{split}.{kind}",
            data=DATA,
            split=["train", "valid"],
            kind=["tokens", "documents.parquet"],
        ),
        contract_of,
        choice=choice_of,
        tokens=f"{DATA}/tokens/{{corpus}}/manifest.json",
    output:
        expand(
            "{data}/runs/{run}/{file}",
            data=DATA,
            run=RUN,
            file=["best.safetensors", "last.safetensors", "last.json"],
        ),
        expand(
            "{reports}/runs/{run}/{file}",
            reports=REPORTS,
            run=RUN,
            file=["curve.csv", "train.timing.json"],
        ),
        best=f"{DATA}/runs/{RUN}/best.json",
        summary=f"{REPORTS}/runs/{RUN}/training.json",
    log:
        f"{LOGS}/train/{RUN}.log",
    benchmark:
        f"{LOGS}/train/{RUN}.jsonl"
    threads: lambda w: cores_of(run_of(w))
    resources:
        mem_mb=2000,
        runtime=600,
        gpu=gpus_of,
    params:
        profile=PROFILE,
        run=lambda w: str(run_of(w)),
        launcher=lambda w: launcher_of(run_of(w)),
        tokens=subpath(input.tokens, parent=True),
        choice=lambda w, input: f" --choice {input.choice}" if input.choice else "",
        data=subpath(output.best, parent=True),
        reports=subpath(output.summary, parent=True),
        settings=lambda w: steps.train(PARAMETERS, run_of(w)).settings,
        fingerprint=lambda w: steps.train(PARAMETERS, run_of(w)).fingerprint,
    message:
        "train {params.run}"
    shell:
        "{params.launcher}wavestack train {params.run} --tokens {params.tokens} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q}{params.choice} --fingerprint {params.fingerprint} > {log} 2>&1"


# The best of the trials of a spec on a corpus, which its tuned runs take.
rule choose:
    input:
        lambda w: expand(
            "{reports}/runs/{run}/training.json",
            reports=REPORTS,
            run=PARAMETERS.tuning_runs(w.corpus, w.spec),
        ),
    output:
        choice=f"{REPORTS}/tuning/{{corpus}}/{{spec}}.json",
    log:
        f"{LOGS}/tuning/{{corpus}}/{{spec}}.log",
    benchmark:
        f"{LOGS}/tuning/{{corpus}}/{{spec}}.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.choice, ancestor=3),
        settings=lambda w: steps.choose(PARAMETERS, w.corpus, w.spec).settings,
        fingerprint=lambda w: steps.choose(PARAMETERS, w.corpus, w.spec).fingerprint,
    message:
        "choose among the trials of {wildcards.spec} on {wildcards.corpus}"
    shell:
        "wavestack choose {wildcards.corpus} {wildcards.spec} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
