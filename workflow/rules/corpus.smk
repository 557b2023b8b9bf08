# Text and tokens.


rule corpus:
    output:
        expand("{data}/corpora/{{corpus}}/{split}.parquet", data=DATA, split=SPLITS),
        f"{REPORTS}/corpora/{{corpus}}/manifest.json",
    log:
        f"{LOGS}/corpora/{{corpus}}.log",
    benchmark:
        f"{LOGS}/corpora/{{corpus}}.jsonl"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        settings=lambda w: steps.corpus(PARAMETERS, w.corpus).settings,
        fingerprint=lambda w: steps.corpus(PARAMETERS, w.corpus).fingerprint,
    message:
        "corpus {wildcards.corpus}"
    shell:
        "wavestack corpus {wildcards.corpus} --data {DATA}/corpora/{wildcards.corpus}"
        " --reports {REPORTS}/corpora/{wildcards.corpus} {SELECTION} --fingerprint {params.fingerprint} > {log} 2>&1"


rule tokens:
    input:
        expand("{data}/corpora/{{corpus}}/{split}.parquet", data=DATA, split=SPLITS),
    output:
        expand(
            "{data}/tokens/{{corpus}}/{split}.{kind}",
            data=DATA,
            split=SPLITS,
            kind=["tokens", "documents.parquet"],
        ),
        expand(
            "{data}/tokens/{{corpus}}/{file}",
            data=DATA,
            file=["tokenizer.json", "manifest.json"],
        ),
        f"{REPORTS}/tokens/{{corpus}}/manifest.json",
    log:
        f"{LOGS}/tokens/{{corpus}}.log",
    benchmark:
        f"{LOGS}/tokens/{{corpus}}.jsonl"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=lambda w: steps.tokens(PARAMETERS, w.corpus).settings,
        fingerprint=lambda w: steps.tokens(PARAMETERS, w.corpus).fingerprint,
    message:
        "tokens of {wildcards.corpus}"
    shell:
        "wavestack tokens {wildcards.corpus} --corpus {DATA}/corpora/{wildcards.corpus}"
        " --data {DATA}/tokens/{wildcards.corpus} --reports {REPORTS}/tokens/{wildcards.corpus}"
        " {SELECTION} --fingerprint {params.fingerprint} > {log} 2>&1"
