# What must hold before anything is trained.


rule budget:
    output:
        ledger=f"{REPORTS}/budget/ledger.json",
    log:
        f"{LOGS}/budget.log",
    benchmark:
        f"{LOGS}/budget.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.ledger, parent=True),
        settings=lambda w: steps.ledger(PARAMETERS).settings,
        fingerprint=lambda w: steps.ledger(PARAMETERS).fingerprint,
    message:
        "ledger of parameters"
    shell:
        "wavestack budget --reports {params.reports}"
        " --params {params.profile} --fingerprint {params.fingerprint} > {log} 2>&1"


rule contract:
    output:
        findings=f"{REPORTS}/contract/{{spec}}/{{budget}}/{{variant}}.json",
    log:
        f"{LOGS}/contract/{{spec}}/{{budget}}/{{variant}}.log",
    benchmark:
        f"{LOGS}/contract/{{spec}}/{{budget}}/{{variant}}.jsonl"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.findings, parent=True),
        settings=lambda w: steps.contract(
            PARAMETERS, w.spec, w.budget, w.variant
        ).settings,
        fingerprint=lambda w: steps.contract(
            PARAMETERS, w.spec, w.budget, w.variant
        ).fingerprint,
    message:
        "contract of {wildcards.spec}, {wildcards.variant}"
    shell:
        "wavestack contract {wildcards.spec} --budget {wildcards.budget} --variant {wildcards.variant} --reports {params.reports}"
        " --params {params.profile} --fingerprint {params.fingerprint} > {log} 2>&1"
