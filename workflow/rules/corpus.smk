# Text and tokens.


rule corpus:
    input:
        files_of,
    output:
        expand(
            "{data}/corpora/{{corpus}}/{split}.parquet",
            data=DATA,
            split=["valid", "test"],
        ),
        train=f"{DATA}/corpora/{{corpus}}/train.parquet",
        manifest=f"{REPORTS}/corpora/{{corpus}}/manifest.json",
    log:
        f"{LOGS}/corpora/{{corpus}}.log",
    benchmark:
        f"{LOGS}/corpora/{{corpus}}.jsonl"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        profile=PROFILE,
        data=subpath(output.train, parent=True),
        reports=subpath(output.manifest, parent=True),
        settings=lambda w: steps.corpus(PARAMETERS, w.corpus).settings,
        fingerprint=lambda w: steps.corpus(PARAMETERS, w.corpus).fingerprint,
    message:
        "corpus {wildcards.corpus}"
    shell:
        "wavestack corpus {wildcards.corpus} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"


rule tokens:
    input:
        expand(
            "{data}/corpora/{{corpus}}/{split}.parquet",
            data=DATA,
            split=["valid", "test"],
        ),
        train=f"{DATA}/corpora/{{corpus}}/train.parquet",
    output:
        expand(
            "{data}/tokens/{{corpus}}/{split}.{kind}",
            data=DATA,
            split=SPLITS,
            kind=["tokens", "documents.parquet"],
        ),
        f"{DATA}/tokens/{{corpus}}/tokenizer.json",
        pinned=f"{DATA}/tokens/{{corpus}}/manifest.json",
        manifest=f"{REPORTS}/tokens/{{corpus}}/manifest.json",
    log:
        f"{LOGS}/tokens/{{corpus}}.log",
    benchmark:
        f"{LOGS}/tokens/{{corpus}}.jsonl"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        profile=PROFILE,
        corpus=subpath(input.train, parent=True),
        data=subpath(output.pinned, parent=True),
        reports=subpath(output.manifest, parent=True),
        settings=lambda w: steps.tokens(PARAMETERS, w.corpus).settings,
        fingerprint=lambda w: steps.tokens(PARAMETERS, w.corpus).fingerprint,
    message:
        "tokens of {wildcards.corpus}"
    shell:
        "wavestack tokens {wildcards.corpus} --corpus {params.corpus} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
