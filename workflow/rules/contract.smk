# What must hold before anything is trained. The empty files below data/ say that it was found to hold here: the findings themselves are
# light, come with a clone, and may be those of other code.


rule budget:
    output:
        ledger=f"{REPORTS}/budget/ledger.json",
        met=touch(f"{DATA}/budget.met"),
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
        "wavestack budget --reports {params.reports}" " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"


rule contract:
    output:
        findings=f"{REPORTS}/contract/{{spec}}/{{budget}}/{{variant}}.json",
        passed=touch(f"{DATA}/contract/{{spec}}/{{budget}}/{{variant}}.passed"),
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
        settings=lambda w: steps.contract(PARAMETERS, w.spec, w.budget, w.variant).settings,
        fingerprint=lambda w: steps.contract(PARAMETERS, w.spec, w.budget, w.variant).fingerprint,
    message:
        "contract of {wildcards.spec}, {wildcards.variant}"
    shell:
        "wavestack contract {wildcards.spec} --budget {wildcards.budget} --variant {wildcards.variant} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
