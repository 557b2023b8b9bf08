# The page. Benchmarks are run by hand, on a quiet machine; it shows those that were.


rule report:
    input:
        expand("{reports}/studies/{study}.json", reports=REPORTS, study=STUDIES),
        f"{REPORTS}/findings.json",
        expand(
            "{reports}/{room}/{corpus}/manifest.json",
            reports=REPORTS,
            room=["corpora", "tokens"],
            corpus=PARAMETERS.profile.corpora,
        ),
        f"{REPORTS}/budget/ledger.json",
        expand("{reports}/contract/{model}.json", reports=REPORTS, model=MODELS),
        BENCHMARKS,
        OPENINGS,
    output:
        directory(f"{REPORTS}/figures"),
        page=report(f"{REPORTS}/index.html", category="report"),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{LOGS}/report.jsonl"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        profile=PROFILE,
        reports=subpath(output.page, parent=True),
        settings=lambda w: steps.report(PARAMETERS).settings,
        fingerprint=lambda w: steps.report(PARAMETERS).fingerprint,
        tested=lambda w: tested(),
    message:
        "report"
    shell:
        "wavestack report --reports {params.reports}" " --params {params.profile:q} --fingerprint {params.fingerprint} > {log} 2>&1"
