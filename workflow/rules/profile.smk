# Timings never share the machine: a length takes all cores and spawns its own processes.


rule profile:
    input:
        expand("{data}/contract/{model}.passed", data=DATA, model=LENGTHS_MODELS),
    output:
        calls=f"{REPORTS}/profile/{{sweep}}/length{{length}}.csv",
        medians=f"{REPORTS}/profile/{{sweep}}/length{{length}}.json",
    log:
        f"{LOGS}/profile/{{sweep}}/length{{length}}.log",
    benchmark:
        f"{LOGS}/profile/{{sweep}}/length{{length}}.jsonl"
    threads: ALL_CORES
    resources:
        mem_mb=16000,
        runtime=240,
        gpu=lambda w: int("-cuda-" in w.sweep),
    params:
        profile=PROFILE,
        reports=subpath(output.medians, parent=True),
        settings=lambda w: steps.length(PARAMETERS, w.sweep, int(w.length)).settings,
        fingerprint=lambda w: steps.length(PARAMETERS, w.sweep, int(w.length)).fingerprint,
    message:
        "time and memory at length {wildcards.length}: {wildcards.sweep}"
    shell:
        "wavestack profile {wildcards.sweep} {wildcards.length} --reports {params.reports}"
        " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
