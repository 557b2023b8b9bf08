# Measures of every run, under one context rule.


rule evaluate:
    input:
        expand(
            "{data}/tokens/{{corpus}}/valid.{kind}",
            data=DATA,
            kind=["tokens", "documents.parquet"],
        ),
        expand(
            "{data}/runs/{run}/{file}",
            data=DATA,
            run=RUN,
            file=["best.safetensors", "best.json"],
        ),
        f"{REPORTS}/runs/{RUN}/training.json",
    output:
        documents=f"{DATA}/runs/{RUN}/documents.parquet",
        metrics=f"{REPORTS}/runs/{RUN}/metrics.json",
    log:
        f"{LOGS}/evaluate/{RUN}.log",
    benchmark:
        f"{LOGS}/evaluate/{RUN}.jsonl"
    threads: PARAMETERS.profile.training.threads
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        settings=lambda w: steps.evaluate(PARAMETERS, run_of(w)).settings,
        fingerprint=lambda w: steps.evaluate(PARAMETERS, run_of(w)).fingerprint,
    message:
        "evaluate {wildcards.corpus}/{wildcards.spec}/{wildcards.variant}/seed{wildcards.seed}"
    shell:
        "wavestack evaluate {wildcards.corpus}/{wildcards.spec}/{wildcards.budget}/{wildcards.variant}/seed{wildcards.seed}"
        " --tokens {DATA}/tokens/{wildcards.corpus} --data $(dirname {output.documents}) --reports $(dirname {output.metrics})"
        " {SELECTION} --fingerprint {params.fingerprint} > {log} 2>&1"
