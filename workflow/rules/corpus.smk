# Text and tokens.

from snakemake.io import IOFile


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
