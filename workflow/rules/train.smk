# One training a run. It goes on from its own checkpoints, which are not declared: declared outputs are deleted before a rerun.


rule train:
    input:
        expand(
            "{data}/tokens/{{corpus}}/{split}.{kind}",
            data=DATA,
            split=["train", "valid"],
            kind=["tokens", "documents.parquet"],
        ),
        ancient(f"{REPORTS}/budget/ledger.json"),
        ancient(f"{REPORTS}/contract/{{spec}}/{{budget}}/{{variant}}.json"),
        manifest=f"{DATA}/tokens/{{corpus}}/manifest.json",
        # must have passed; made anew, they retrain nothing
    output:
        expand(
            "{data}/runs/{run}/{file}",
            data=DATA,
            run=RUN,
            file=["best.safetensors", "best.json", "last.safetensors", "last.json"],
        ),
        expand(
            "{reports}/runs/{run}/{file}",
            reports=REPORTS,
            run=RUN,
            file=["training.json", "curve.csv", "train.timing.json"],
        ),
    log:
        f"{LOGS}/train/{RUN}.log",
    benchmark:
        f"{LOGS}/train/{RUN}.jsonl"
    threads: PARAMETERS.profile.training.threads
    resources:
        mem_mb=2000,
        runtime=600,
    params:
        settings=lambda w: steps.train(PARAMETERS, run_of(w)).settings,
        fingerprint=lambda w: steps.train(PARAMETERS, run_of(w)).fingerprint,
    message:
        "train {wildcards.corpus}/{wildcards.spec}/{wildcards.variant}/seed{wildcards.seed}"
    shell:
        "wavestack train {wildcards.corpus}/{wildcards.spec}/{wildcards.budget}/{wildcards.variant}/seed{wildcards.seed}"
        " --tokens {DATA}/tokens/{wildcards.corpus} --data $(dirname {output[0]}) --reports $(dirname {output[4]})"
        " {SELECTION} --fingerprint {params.fingerprint} > {log} 2>&1"
