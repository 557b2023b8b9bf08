# Which results belong together.


rule study:
    input:
        lambda w: results_of(w.study),
    output:
        table=f"{REPORTS}/studies/{{study}}.json",
        rows=f"{REPORTS}/studies/{{study}}.csv",
    log:
        f"{LOGS}/studies/{{study}}.log",
    benchmark:
        f"{LOGS}/studies/{{study}}.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        data=DATA,
        reports=subpath(output.table, ancestor=2),
        settings=lambda w: steps.study(PARAMETERS, w.study).settings,
        fingerprint=lambda w: steps.study(PARAMETERS, w.study).fingerprint,
    message:
        "study: {wildcards.study}"
    shell:
        "wavestack study {wildcards.study} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
