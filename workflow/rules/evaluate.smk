# Measures of every run, under one context rule: on validation, and on test once specs are frozen; of the audit's as they were published.


rule evaluate:
    input:
        expand(
            "{data}/tokens/{{corpus}}/{split}.{kind}",
            data=DATA,
            split=["train", "valid"],
            kind=["tokens", "documents.parquet"],
        ),
        f"{DATA}/runs/{RUN}/best.safetensors",
        f"{REPORTS}/runs/{RUN}/training.json",
        checkpoint=f"{DATA}/runs/{RUN}/best.json",
        tokens=f"{DATA}/tokens/{{corpus}}/manifest.json",
    output:
        documents=f"{DATA}/measures/{RUN}/documents.parquet",
        metrics=f"{REPORTS}/runs/{RUN}/metrics.json",
        slices=f"{REPORTS}/runs/{RUN}/slices.csv",
    log:
        f"{LOGS}/evaluate/{RUN}.log",
    benchmark:
        f"{LOGS}/evaluate/{RUN}.jsonl"
    threads: PARAMETERS.profile.training.threads
    resources:
        mem_mb=2000,
        runtime=120,
        gpu=gpu_of,
    params:
        profile=PROFILE,
        run=lambda w: str(run_of(w)),
        tokens=subpath(input.tokens, parent=True),
        trained=subpath(input.checkpoint, parent=True),
        data=subpath(output.documents, parent=True),
        reports=subpath(output.metrics, parent=True),
        settings=lambda w: steps.evaluate(PARAMETERS, run_of(w)).settings,
        fingerprint=lambda w: steps.evaluate(PARAMETERS, run_of(w)).fingerprint,
    message:
        "evaluate {params.run}"
    shell:
        "wavestack evaluate {params.run} --tokens {params.tokens} --trained {params.trained} --data {params.data} --reports {params.reports}"
        " --log reports/experiments.csv --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"


# Wanted by the target `test` alone, once specs are frozen.
rule open_test:
    input:
        expand(
            "{data}/tokens/{{corpus}}/test.{kind}",
            data=DATA,
            kind=["tokens", "documents.parquet"],
        ),
        f"{DATA}/runs/{RUN}/best.safetensors",
        f"{REPORTS}/runs/{RUN}/training.json",
        checkpoint=f"{DATA}/runs/{RUN}/best.json",
        tokens=f"{DATA}/tokens/{{corpus}}/manifest.json",
    output:
        documents=f"{DATA}/measures/{RUN}/test.parquet",
        metrics=f"{REPORTS}/runs/{RUN}/test.json",
    log:
        f"{LOGS}/open_test/{RUN}.log",
    benchmark:
        f"{LOGS}/open_test/{RUN}.jsonl"
    threads: PARAMETERS.profile.training.threads
    resources:
        mem_mb=2000,
        runtime=120,
        gpu=gpu_of,
    params:
        profile=PROFILE,
        run=lambda w: str(run_of(w)),
        tokens=subpath(input.tokens, parent=True),
        trained=subpath(input.checkpoint, parent=True),
        data=subpath(output.documents, parent=True),
        reports=subpath(output.metrics, parent=True),
        settings=lambda w: steps.open_test(PARAMETERS, run_of(w)).settings,
        fingerprint=lambda w: steps.open_test(PARAMETERS, run_of(w)).fingerprint,
    message:
        "open the test split to {params.run}"
    shell:
        "wavestack open-test {params.run} --tokens {params.tokens} --trained {params.trained} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"


rule replay:
    input:
        expand(
            "{data}/tokens/{{corpus}}/{split}.{kind}",
            data=DATA,
            split=["train", "valid"],
            kind=["tokens", "documents.parquet"],
        ),
        f"{DATA}/runs/{RUN}/last.safetensors",
        checkpoint=f"{DATA}/runs/{RUN}/last.json",
        tokens=f"{DATA}/tokens/{{corpus}}/manifest.json",
    output:
        rows=f"{DATA}/measures/{RUN}/rows.parquet",
        summary=f"{REPORTS}/runs/{RUN}/replay.json",
    log:
        f"{LOGS}/replay/{RUN}.log",
    benchmark:
        f"{LOGS}/replay/{RUN}.jsonl"
    threads: PARAMETERS.profile.training.threads
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=gpu_of,
    params:
        profile=PROFILE,
        run=lambda w: str(run_of(w)),
        tokens=subpath(input.tokens, parent=True),
        trained=subpath(input.checkpoint, parent=True),
        data=subpath(output.rows, parent=True),
        reports=subpath(output.summary, parent=True),
        settings=lambda w: steps.replay(PARAMETERS, run_of(w)).settings,
        fingerprint=lambda w: steps.replay(PARAMETERS, run_of(w)).fingerprint,
    message:
        "replay {params.run}"
    shell:
        "wavestack replay {params.run} --tokens {params.tokens} --trained {params.trained} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"


rule complementarity:
    input:
        expand(
            "{data}/tokens/{{corpus}}/{split}.{kind}",
            data=DATA,
            split=["valid"],
            kind=["tokens", "documents.parquet"],
        ),
        f"{DATA}/runs/{RUN}/best.safetensors",
        f"{DATA}/tokens/{{corpus}}/tokenizer.json",
        checkpoint=f"{DATA}/runs/{RUN}/best.json",
        tokens=f"{DATA}/tokens/{{corpus}}/manifest.json",
    output:
        knockouts=f"{DATA}/measures/{RUN}/knockouts.parquet",
        summary=f"{REPORTS}/runs/{RUN}/complementarity.json",
    log:
        f"{LOGS}/complementarity/{RUN}.log",
    benchmark:
        f"{LOGS}/complementarity/{RUN}.jsonl"
    threads: PARAMETERS.profile.training.threads
    resources:
        mem_mb=2000,
        runtime=60,
        gpu=gpu_of,
    params:
        profile=PROFILE,
        run=lambda w: str(run_of(w)),
        tokens=subpath(input.tokens, parent=True),
        trained=subpath(input.checkpoint, parent=True),
        data=subpath(output.knockouts, parent=True),
        reports=subpath(output.summary, parent=True),
        settings=lambda w: steps.complementarity(PARAMETERS, run_of(w)).settings,
        fingerprint=lambda w: steps.complementarity(PARAMETERS, run_of(w)).fingerprint,
    message:
        "complementarity in {params.run}"
    shell:
        "wavestack complementarity {params.run} --tokens {params.tokens} --trained {params.trained} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
