# Timings never share the machine: a length takes all cores and spawns its own processes.


rule profile:
    input:
        expand("{data}/contract/{model}.passed", data=DATA, model=LENGTHS_MODELS),
    output:
        samples=f"{DATA}/profile/length{{length}}.csv",
        medians=f"{REPORTS}/profile/length{{length}}.json",
    log:
        f"{LOGS}/profile/length{{length}}.log",
    benchmark:
        f"{LOGS}/profile/length{{length}}.jsonl"
    threads: ALL_CORES
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        profile=PROFILE,
        data=subpath(output.samples, parent=True),
        reports=subpath(output.medians, parent=True),
        settings=lambda w: steps.length(PARAMETERS, int(w.length)).settings,
        fingerprint=lambda w: steps.length(PARAMETERS, int(w.length)).fingerprint,
    message:
        "time and memory at length {wildcards.length}"
    shell:
        "wavestack profile {wildcards.length} --data {params.data} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
