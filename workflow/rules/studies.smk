# Which results belong together.


rule comparison:
    input:
        expand(
            "{reports}/runs/{run}/{file}",
            reports=REPORTS,
            run=PARAMETERS.comparison_runs(),
            file=["metrics.json", "train.timing.json"],
        ),
    output:
        table=f"{REPORTS}/studies/comparison.json",
        rows=f"{REPORTS}/studies/comparison.csv",
    log:
        f"{LOGS}/studies/comparison.log",
    benchmark:
        f"{LOGS}/studies/comparison.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.table, ancestor=2),
        settings=lambda w: steps.study(PARAMETERS, "comparison").settings,
        fingerprint=lambda w: steps.study(PARAMETERS, "comparison").fingerprint,
    message:
        "study: comparison"
    shell:
        "wavestack study comparison --reports {params.reports}"
        " --params {params.profile} --fingerprint {params.fingerprint} > {log} 2>&1"


rule ablation:
    input:
        expand(
            "{reports}/runs/{run}/{file}",
            reports=REPORTS,
            run=PARAMETERS.ablation_runs(),
            file=["metrics.json", "train.timing.json"],
        ),
    output:
        table=f"{REPORTS}/studies/ablation.json",
        rows=f"{REPORTS}/studies/ablation.csv",
    log:
        f"{LOGS}/studies/ablation.log",
    benchmark:
        f"{LOGS}/studies/ablation.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.table, ancestor=2),
        settings=lambda w: steps.study(PARAMETERS, "ablation").settings,
        fingerprint=lambda w: steps.study(PARAMETERS, "ablation").fingerprint,
    message:
        "study: ablation"
    shell:
        "wavestack study ablation --reports {params.reports}"
        " --params {params.profile} --fingerprint {params.fingerprint} > {log} 2>&1"


rule lengths:
    input:
        expand("{reports}/profile/length{length}.json", reports=REPORTS, length=LENGTHS),
    output:
        table=f"{REPORTS}/studies/lengths.json",
        rows=f"{REPORTS}/studies/lengths.csv",
    log:
        f"{LOGS}/studies/lengths.log",
    benchmark:
        f"{LOGS}/studies/lengths.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.table, ancestor=2),
        settings=lambda w: steps.study(PARAMETERS, "lengths").settings,
        fingerprint=lambda w: steps.study(PARAMETERS, "lengths").fingerprint,
    message:
        "study: lengths"
    shell:
        "wavestack study lengths --reports {params.reports}"
        " --params {params.profile} --fingerprint {params.fingerprint} > {log} 2>&1"
