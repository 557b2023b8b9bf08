# Which results belong together, and what they say of the published claims.


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


# What `dvc metrics diff` and the gate compare: in git for every profile whose results are.
rule metrics:
    input:
        lambda w: results_of("metrics"),
    output:
        metrics=f"{REPORTS}/metrics.json",
        losses=f"{REPORTS}/losses.csv",
    log:
        f"{LOGS}/metrics.log",
    benchmark:
        f"{LOGS}/metrics.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        data=DATA,
        reports=subpath(output.metrics, parent=True),
        settings=lambda w: steps.metrics(PARAMETERS).settings,
        fingerprint=lambda w: steps.metrics(PARAMETERS).fingerprint,
    message:
        "metrics"
    shell:
        "wavestack metrics --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"


rule findings:
    input:
        expand("{reports}/studies/{study}.json", reports=REPORTS, study=STUDIES),
        BENCHMARKS,
    output:
        findings=f"{REPORTS}/findings.json",
        text=f"{REPORTS}/findings.md",
    log:
        f"{LOGS}/findings.log",
    benchmark:
        f"{LOGS}/findings.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.findings, parent=True),
        settings=lambda w: steps.findings(PARAMETERS).settings,
        fingerprint=lambda w: steps.findings(PARAMETERS).fingerprint,
        tested=lambda w: tested(),
    message:
        "findings"
    shell:
        "wavestack findings --reports {params.reports} --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
