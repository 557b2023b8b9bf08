"""The command line: verbs only. Each step of the workflow is one of them, and can be run by hand as the workflow runs it."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from wavestack import steps
from wavestack.artifacts import sha256, write_json
from wavestack.params import Parameters, Run
from wavestack.provenance import commit, recorded
from wavestack.reading import load
from wavestack.training.interruption import RESUME, Interrupted

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Profile = Annotated[Path, typer.Option("--params", help="The profile: what to run.", show_default=True)]


def _overrides(given: list[str]) -> list[str]:
    """What --set says, or else what the workflow left in the environment, a line each."""
    return given or os.environ.get("WAVESTACK_SET", "").splitlines()


Overrides = Annotated[
    list[str], typer.Option("--set", callback=_overrides, help="key.path=value laid over the profile; may be repeated (or $WAVESTACK_SET).")
]
Fingerprint = Annotated[str, typer.Option(help="Refuse to run if code or parameters are not those this stands for.")]
Data = Annotated[Path, typer.Option(help="Folder for heavy results.")]
Reports = Annotated[Path, typer.Option(help="Folder for light results.")]
Tokens = Annotated[Path, typer.Option(help="Folder of the corpus's token files.")]
Trained = Annotated[Path, typer.Option(help="Folder of the run's checkpoints.")]
QUICK = Path("params/quick.yaml")


def main() -> None:
    """Run a verb; what a user can cause ends in one message and exit status 1, not in a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for chatty in ("httpx", "httpcore", "huggingface_hub", "datasets", "fsspec", "matplotlib", "fontTools"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # snakemake and dvc of this environment, though it may not be activated
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    try:
        app()
    except (ValueError, OSError) as error:
        sys.exit(f"wavestack: {error}")
    except (MemoryError, RuntimeError) as error:
        from wavestack.profiling.process import lacks_memory  # PyTorch says so in an error of no kind of its own

        if not isinstance(error, MemoryError) and not lacks_memory(str(error)):
            raise
        said = str(error).strip().splitlines() or ["it was refused"]
        sys.exit(f"wavestack: out of memory ({said[0]}); a smaller training.batch, or more training.accumulation, takes less")
    except Interrupted as stop:
        print(f"wavestack: {stop}", file=sys.stderr)
        sys.exit(RESUME)


@contextmanager
def _step(
    name: str, step: steps.Step, fingerprint: str, reports: Path | None, inputs: Sequence[Path], outputs: Sequence[Path] = ()
) -> Iterator[dict[str, Any]]:
    """Refuse another step than was asked for, and record this one, where it leaves results."""
    if fingerprint and fingerprint != step.fingerprint:
        raise ValueError(
            f"{name}: code or parameters changed after the workflow was started (asked for {fingerprint}, here {step.fingerprint}); "
            "run snakemake again"
        )
    if reports is None:
        yield {}
        return
    with recorded(reports, name, step.settings, step.fingerprint, inputs, outputs) as timing:
        yield timing


@app.command()
def check(params: Annotated[Path, typer.Argument(help="A profile.")] = QUICK, override: Overrides = []) -> None:
    """Check a profile with its models and corpora; tell everything that is wrong."""
    parameters = checked(params, override)
    print(f"{params}: {len(parameters.runs())} runs, no errors")


def checked(params: Path, override: list[str]) -> Parameters:
    """Parameters of which every model meets its budget, so that what cannot be met is told before anything starts."""
    from wavestack.operations.inventory import met

    parameters = load(params, override)
    if not met(parameters, Path("reports") / parameters.name):
        from wavestack.studies.ledger import ledger_rows  # builds every model, so it loads PyTorch

        ledger_rows(parameters)
    return parameters


@app.command()
def corpus(
    name: str,
    data: Data,
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Write a corpus's splits and its manifest."""
    from wavestack.corpora.corpus import write_corpus

    parameters = load(params, override)
    with _step("corpus", steps.corpus(parameters, name), fingerprint, reports, []):
        write_corpus(name, parameters.corpora[name], parameters.use(name).limit, data, reports)


@app.command()
def tokens(
    name: str,
    corpus_data: Annotated[Path, typer.Option("--corpus", help="Folder of the corpus's splits.")],
    data: Data,
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Make a corpus's tokenizer and encode its splits."""
    from wavestack.corpora.tokens import write_tokens

    parameters = load(params, override)
    splits = [corpus_data / f"{split}.parquet" for split in ("train", "valid", "test")]
    with _step("tokens", steps.tokens(parameters, name), fingerprint, reports, splits, [data / "manifest.json"]):
        write_tokens(name, parameters.corpora[name], parameters.tokenizer(name), corpus_data, data, reports)


@app.command()
def budget(reports: Reports, params: Profile = QUICK, override: Overrides = [], fingerprint: Fingerprint = "") -> None:
    """Solve every model's width and write the ledger of parameters."""
    from wavestack.studies.ledger import write_ledger

    parameters = load(params, override)
    with _step("ledger", steps.ledger(parameters), fingerprint, reports, []):
        for row in write_ledger(parameters, reports):
            print(f"{row['corpus']}/{row['spec']}/{row['variant']}: {row['parameters']:,} parameters, MLP width {row['mlp']}")


@app.command()
def contract(
    model: Annotated[
        str | None, typer.Argument(help="A spec of the profile's models; without it every registered model, lane and mixer.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Name of a budget of the profile; the comparison's, where it is not given.")] = None,
    reports: Annotated[Path | None, typer.Option(help="Folder for the findings; where it is not given they are only printed.")] = None,
    variant: Annotated[str, typer.Option(help="base, or lanes= with some of the spec's.")] = "base",
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where it is checked: cpu, as the workflow does, or cuda.")] = "cpu",
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Check what a model must satisfy before it may train; exit status 1 where it does not."""
    from wavestack.studies.contracts import check_registered, check_spec

    parameters = load(params, override)
    if model is None:
        rows = check_registered(parameters, device)
        if reports is not None:
            write_json(reports / "registered.json", rows)
        _tell(rows)
    else:
        budget = budget or parameters.profile.studies.comparison.budget
        name = f"{model}/{budget}/{variant}"
        parameters.run(f"{next(iter(parameters.profile.corpora))}/{name}/seed0")  # names that are not there are told with the nearest
        file = variant if device == "cpu" else f"{variant}.{device}"  # beside the CPU's, not in its place
        with _step(file, steps.contract(parameters, model, budget, variant), fingerprint, reports, []):
            rows = {name: check_spec(parameters, model, budget, variant, device)}
            _tell(rows)  # of a broken one nothing is left, so the workflow does not train it
            if reports is not None:
                found = {"spec": model, "budget": budget, "variant": variant, "device": device, "findings": rows[name]}
                write_json(reports / f"{file}.json", found)


def _tell(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table of findings; ValueError with those that do not pass."""
    from wavestack.studies.contracts import broken, table

    print(table(rows))
    if broken(rows):
        raise ValueError("\n".join(["the contract is broken, and these will not be trained:", *broken(rows)]))


@app.command()
def train(
    run: str,
    tokens: Tokens,
    data: Data,
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    choice: Annotated[Path | None, typer.Option(help="What wavestack choose wrote, for a run that is tuned.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Its time; before it is over, it saves and leaves. In a Slurm job, the job's.")
    ] = None,
    fingerprint: Fingerprint = "",
) -> None:
    """Train a run (corpus/spec/budget/variant/seedK), going on from its newest checkpoint.

    On SIGTERM or SIGUSR1, or when its time is almost over, it saves where it stands and leaves with status 75: the same command goes on.
    Under torchrun, several processes train it together.
    """
    from wavestack.operations.slurm import end_of_job
    from wavestack.training.interruption import watching
    from wavestack.training.processes import joined
    from wavestack.training.run import alone, train_run

    parameters = load(params, override)
    chosen = parameters.run(run)
    step = steps.train(parameters, chosen)
    inputs = [tokens / "manifest.json", *([choice] if choice else [])]
    training = parameters.training(chosen)
    # checkpoints of another text are not resumed either; where there is none, the training says so
    mark = f"{step.fingerprint} on {sha256(inputs[0])}" if inputs[0].is_file() else step.fingerprint
    with (
        watching(end_of_job() if minutes is None else time.time() + 60 * minutes) as interruption,
        joined(training.device, training.processes, training.sharded) as processes,
        alone(chosen, data, processes),
        _step("train", step, fingerprint, reports if processes.first else None, inputs, [data / "best.json", data / "last.json"]) as timing,
    ):
        if not processes.first:
            logging.disable(logging.WARNING)  # all say the same
        trained = train_run(parameters, chosen, tokens, data, reports, mark, choice, processes=processes, interruption=interruption)
        speed = trained["tokens"] / trained["seconds"] if trained["seconds"] else None
        timing["training"] = {"seconds": trained["seconds"], "tokens_per_second": speed}


@app.command()
def choose(
    corpus: str,
    spec: str,
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Choose the best of the trials of a spec on a corpus."""
    from wavestack.studies.tuning import choose as choose_trial

    parameters = load(params, override)
    runs = parameters.tuning_runs(corpus, spec)
    if not runs:
        raise ValueError(f"{params} tunes no {spec} on {corpus}; add them to studies.tuning")
    inputs = [reports / "runs" / str(run) / "training.json" for run in runs]
    with _step(spec, steps.choose(parameters, corpus, spec), fingerprint, reports / "tuning" / corpus, inputs):
        choice = choose_trial(parameters, corpus, spec, reports)
    print(f"{spec} on {corpus}: {choice['chosen']}", *choice["at_the_edge"], sep="; ")


@app.command()
def evaluate(
    run: str,
    tokens: Tokens,
    trained: Trained,
    data: Data,
    reports: Reports,
    log: Annotated[
        Path | None, typer.Option(help="Table of finished runs, which only grows; where it is not given none gets a row.")
    ] = None,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Score a trained run on the whole validation split."""
    from wavestack.evaluation.run import evaluate_run
    from wavestack.experiments import record

    parameters = load(params, override)
    chosen = parameters.run(run)
    inputs = [tokens / "manifest.json", trained / "best.json"]
    with _step("evaluate", steps.evaluate(parameters, chosen), fingerprint, reports, inputs, [data / "documents.parquet"]):
        evaluate_run(parameters, chosen, tokens, trained, data, reports)
    if log is not None:
        record(log, parameters.name, chosen, reports)


@app.command()
def open_test(
    run: str,
    tokens: Tokens,
    trained: Trained,
    data: Data,
    reports: Reports,
    log: Annotated[Path, typer.Option(help="Table of all openings, which only grows.")] = Path("reports/openings.csv"),
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Score a trained run of a frozen spec on the whole test split, and log that it was opened."""
    from wavestack import openings
    from wavestack.evaluation.opening import open_test as open_test_split

    parameters = load(params, override)
    chosen = parameters.run(run)
    step = steps.open_test(parameters, chosen)
    inputs = [tokens / "manifest.json", trained / "best.json"]
    if commit()["dirty"] is None:
        raise ValueError(
            f"the test split stays closed to {run}: git does not say here whether its code is committed; open it in a checkout"
        )
    with _step("test", step, fingerprint, reports, inputs):
        open_test_split(parameters, chosen, tokens, trained, data, reports, log, step.fingerprint)
    times, models = openings.count(log, chosen.corpus)
    print(f"test split of {chosen.corpus}: opened {times} times, to {models} models")


@app.command()
def replay(
    run: str,
    tokens: Tokens,
    trained: Trained,
    data: Data,
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Score a run of the audit row by row, as the published protocol did."""
    from wavestack.evaluation.replay import replay_run

    parameters = load(params, override)
    chosen = parameters.run(run)
    if parameters.profile.studies.audit is None:
        raise ValueError(f"{params} has no studies.audit; add one to replay the published protocol")
    inputs = [tokens / "manifest.json", trained / "last.json"]
    with _step("replay", steps.replay(parameters, chosen), fingerprint, reports, inputs):
        replay_run(parameters, chosen, tokens, trained, data, reports)


@app.command()
def complementarity(
    run: str,
    tokens: Tokens,
    trained: Trained,
    data: Data,
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Look at the lanes of a trained run: what is lost without each, how alike they are, and what the mixer weighs them with."""
    from wavestack.evaluation.complementarity import measure_complementarity

    parameters = load(params, override)
    chosen = parameters.run(run)
    if parameters.profile.studies.complementarity is None:
        raise ValueError(f"{params} has no studies.complementarity; add one to look at the lanes of trained runs")
    inputs = [tokens / "manifest.json", trained / "best.json"]
    with _step("complementarity", steps.complementarity(parameters, chosen), fingerprint, reports, inputs):
        measure_complementarity(parameters, chosen, tokens, trained, data, reports)


@app.command()
def generate(
    checkpoint: Annotated[Path, typer.Argument(help="A final checkpoint: data/<profile>/runs/<run>/best.")],
    prompt: Annotated[str, typer.Option(help="How the text begins.")] = "",
    tokens: Annotated[int, typer.Option(help="At most so many new tokens; the text may end before.")] = 200,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest tokens that together have this probability.")] = 0.95,
    seed: int = 0,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The run's tokenizer.json, where it does not stand with the profile's tokens.")
    ] = None,
) -> None:
    """Continue a prompt with a trained model, token by token."""
    from wavestack.generation import generate as generate_tokens
    from wavestack.operations.text import open_checkpoint

    model, text = open_checkpoint(checkpoint, tokenizer)
    start = [text.end_of_text, *text.encode_batch([prompt])[0].tolist()]
    drawn = generate_tokens(model, start, tokens, temperature=temperature, top_p=top_p, seed=seed, end=text.end_of_text)
    print(prompt, end="", flush=True)
    try:
        for piece in text.decode_stream(drawn):
            print(piece, end="", flush=True)
    finally:
        print()


@app.command()
def profile(
    sweep: Annotated[str, typer.Argument(help="One of the lengths study's, by its name: training-cpu-float32-tokens4096.")],
    length: Annotated[int, typer.Argument(help="Sequence length; one of the sweep's.")],
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Measure a mode at one sequence length, every model in fresh processes that take turns."""
    from wavestack.profiling.length import lines, measure_length

    parameters = load(params, override)
    if parameters.profile.studies.lengths is None:
        raise ValueError(f"{params} has no studies.lengths; add one to measure sequence lengths")
    with _step(f"length{length}", steps.length(parameters, sweep, length), fingerprint, reports, []):
        result = measure_length(parameters, sweep, length, reports)
    print(*lines(result), sep="\n")


@app.command()
def study(
    name: str,
    data: Data,
    reports: Reports,
    params: Profile = QUICK,
    override: Overrides = [],
    fingerprint: Fingerprint = "",
) -> None:
    """Put the results of a study (calibration, tuning, comparison, test, audit, ablation, complementarity, sizes, lengths) together."""
    from wavestack.studies.ablation import write_ablation
    from wavestack.studies.audit import write_audit
    from wavestack.studies.calibration import write_calibration
    from wavestack.studies.comparison import write_comparison
    from wavestack.studies.complementarity import write_complementarity
    from wavestack.studies.lengths import write_lengths
    from wavestack.studies.sizes import write_sizes
    from wavestack.studies.tuning import write_tuning

    parameters = load(params, override)
    choices = list(dict.fromkeys(reports / "tuning" / run.corpus / f"{run.spec}.json" for run in parameters.tuning_runs()))
    calibration = reports / "studies" / "calibration.json"  # without it no verdict is drawn
    analyses: dict[str, tuple[Callable[..., Any], list[Path]]] = {
        "calibration": (write_calibration, _of_runs(reports, parameters.calibration_runs(), "metrics.json")),
        "tuning": (write_tuning, choices),
        "comparison": (
            partial(write_comparison, data=data),
            [*_of_runs(reports, parameters.comparison_runs(), "metrics.json"), calibration],
        ),
        "test": (
            partial(write_comparison, data=data, split="test"),
            [*_of_runs(reports, parameters.comparison_runs(), "test.json"), calibration],
        ),
        "audit": (partial(write_audit, data=data), _of_runs(reports, parameters.audit_runs(), "replay.json")),
        "ablation": (partial(write_ablation, data=data), _of_runs(reports, parameters.ablation_runs(), "metrics.json")),
        "complementarity": (
            partial(write_complementarity, data=data),
            _of_runs(reports, parameters.complementarity_runs(), "complementarity.json"),
        ),
        "sizes": (partial(write_sizes, data=data), [*_of_runs(reports, parameters.sizes_runs(), "metrics.json"), calibration]),
        "lengths": (write_lengths, [reports / f"{point}.json" for point in parameters.lengths_points()]),
    }
    known = [*parameters.studies, "test"]  # of the comparison's runs
    if name not in known:
        raise ValueError(f"'{name}' is no study of {params}; known: {', '.join(known)}")
    analyse, inputs = analyses[name]
    with _step(name, steps.study(parameters, name), fingerprint, reports / "studies", inputs):
        analyse(parameters, reports=reports)


def _of_runs(reports: Path, runs: list[Run], file: str) -> list[Path]:
    return [reports / "runs" / str(run) / file for run in runs]


@app.command()
def metrics(data: Data, reports: Reports, params: Profile = QUICK, override: Overrides = [], fingerprint: Fingerprint = "") -> None:
    """Write the few numbers of every model that versions are compared by, and the losses behind them."""
    from wavestack.studies.metrics import write_metrics

    parameters = load(params, override)
    inputs = _of_runs(reports, parameters.compared_runs(), "metrics.json")
    with _step("metrics", steps.metrics(parameters), fingerprint, reports, inputs):
        write_metrics(parameters, data, reports)


@app.command()
def gate(
    baseline: Annotated[str, typer.Argument(help="A revision in git, a metrics.json, or the folder that it is in.")],
    reports: Annotated[Path, typer.Option(help="Folder of the results that are judged.")] = Path("reports/smoke"),
    out: Annotated[Path | None, typer.Option("--json", help="File for the verdicts.")] = None,
) -> None:
    """Say whether a model got worse: exit status 0 if none did, 1 if one did, 2 if that cannot be judged."""
    from wavestack.gate import CANNOT_JUDGE, exit_status, judge, to_json
    from wavestack.operations.versions import Version, version
    from wavestack.report.verdicts import lines

    try:
        before, now = version(baseline, reports), Version(reports)
        verdicts = judge(before, now)
        if out is not None:
            write_json(out, to_json(verdicts))
    except (ValueError, OSError, KeyError) as error:
        print(f"wavestack: {f'results without {error}' if isinstance(error, KeyError) else error}", file=sys.stderr)
        raise typer.Exit(CANNOT_JUDGE) from None
    print("\n".join(lines(verdicts, str(before), str(now))))
    raise typer.Exit(exit_status(verdicts))


@app.command()
def reproduce(
    stage: Annotated[str, typer.Argument(help="corpora, train, measure or report.")],
    params: Profile = QUICK,
    override: Overrides = [],
) -> None:
    """Make what a stage of dvc.yaml asks for, and say so if something stale was taken for current."""
    from wavestack.operations.stages import reproduce as make_stage

    parameters = load(params, override)
    make_stage(parameters, params, override, stage, Path("reports") / parameters.name)


@app.command()
def restore(
    params: Profile = QUICK,
    remote: Annotated[str | None, typer.Option(help="Of DVC; its default, where it is not given.")] = None,
) -> None:
    """Fetch a profile's heavy results with DVC, check every byte, and tell Snakemake that they are there."""
    from wavestack.operations.restore import restore as restore_results

    parameters = load(params)
    stale = restore_results(parameters, params, Path("reports") / parameters.name, remote)
    print(f"{parameters.name}: every stored file is what it was" + ("" if stale else ", and nothing is left to make"))
    print(*[f"will be made again: {problem}" for problem in stale], sep="\n", end="\n" if stale else "")


@app.command()
def resume(
    params: Profile = QUICK,
    override: Overrides = [],
    wait: Annotated[bool, typer.Option("--wait", help="For what was left running, instead of stopping it.")] = False,
) -> None:
    """After a kill of the workflow: stop what it left running, take its lock away, and make what was not finished."""
    from wavestack.operations.resume import resume as resume_workflow

    parameters = load(params, override)
    resume_workflow(parameters, params, override, Path("reports") / parameters.name, wait)
    print(f"{parameters.name}: everything is there")


@app.command()
def experiments(
    log: Annotated[Path, typer.Option(help="Table of finished runs.")] = Path("reports/experiments.csv"),
    page: Annotated[Path, typer.Option(help="The page to write.")] = Path("reports/experiments.html"),
) -> None:
    """Show all finished runs on a page, the newest first."""
    from wavestack.report.experiments import write_experiments

    print(f"{page}: {write_experiments(log, page)} runs")


@app.command()
def findings(reports: Reports, params: Profile = QUICK, override: Overrides = [], fingerprint: Fingerprint = "") -> None:
    """Say what the studies and the benchmarks say of every published claim."""
    from wavestack.studies.findings import write_findings

    parameters = load(params, override)
    with _step("findings", steps.findings(parameters), fingerprint, reports, _told(reports, parameters)):
        for finding in write_findings(parameters, reports):
            print(f"{finding['verdict']}: {finding['claim']}")


@app.command()
def report(reports: Reports, params: Profile = QUICK, override: Overrides = [], fingerprint: Fingerprint = "") -> None:
    """Draw the figures and write the page."""
    from wavestack.report.page import write_report

    parameters = load(params, override)
    manifests = [reports / room / corpus / "manifest.json" for room in ("corpora", "tokens") for corpus in parameters.profile.corpora]
    shown = [reports / "findings.json", *manifests, reports / "budget" / "ledger.json", reports.parent / "openings.csv"]
    with _step("report", steps.report(parameters), fingerprint, reports, [*_told(reports, parameters), *shown]):
        write_report(parameters, reports)
    print(reports / "index.html")


def _told(reports: Path, parameters: Parameters) -> list[Path]:
    """What studies and benchmarks tell, and what the test splits do."""
    studies = [reports / "studies" / f"{name}.json" for name in [*parameters.studies, "test"]]
    return [*studies, *sorted((reports.parent / "benchmarks").glob("**/[!.]*.csv"))]


if __name__ == "__main__":
    main()
