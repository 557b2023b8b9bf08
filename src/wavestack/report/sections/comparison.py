"""The comparison: every run, the differences with their verdicts, and where the losses lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean

from markupsafe import Markup
from matplotlib.axes import Axes

from wavestack.params import Run
from wavestack.report.panel import GRID, INK, PAPER, Look, Rows, cross, named_rows, panel
from wavestack.report.provenance import run_steps
from wavestack.report.section import Block, Context, Section, corpora_of
from wavestack.report.sections import slices
from wavestack.report.table import (
    MISSING,
    OF_A_RUN,
    Column,
    Content,
    Row,
    Table,
    by_seed,
    failure,
    interval,
    level,
    number,
    run_of,
    signed,
    verdict,
)


def table(content: Content, runs: Sequence[Run], reasons: Mapping[Run, str]) -> Table:
    """The runs of one corpus, every seed, each spec followed by its mean.

    Args:
        content: of `studies/comparison.json`.
        runs: what the parameters want of this corpus; a run that only the file has is shown too.
        reasons: why runs are not ok.
    """
    corpus = runs[0].corpus
    found = {run_of(row): row for row in content["rows"] if row["corpus"] == corpus}
    means = {row["spec"]: row for row in content["means"] if row["corpus"] == corpus}
    wanted = list(dict.fromkeys([*runs, *found]))
    rows, notes = [], []
    for spec in dict.fromkeys(run.spec for run in wanted):
        for run in (run for run in wanted if run.spec == spec):
            row = found.get(run)
            failed = failure(row, reasons.get(run))
            cells = [measure.text(row or {}) for measure in OF_A_RUN]
            status = "" if failed is None else f", {failed.partition(':')[0]}"
            rows.append(Row((spec, f"{run.seed}{status}", *cells), "failed" if failed else "", spec))
            notes += [f"{run}: {failed}"] if failed else []
        mean = means.get(spec, {})
        over = "mean, missing" if not mean else "no mean" if mean["nats_per_token"] is None else f"mean of {len(mean['seeds'])}"
        rows.append(Row((spec, over, *(measure.text(mean) for measure in OF_A_RUN)), "mean", spec))
    columns = (Column("model", numeric=False), Column("seed", numeric=False))
    return Table((*columns, *(measure.column for measure in OF_A_RUN)), tuple(rows), tuple(notes))


def differences(content: Content) -> Table:
    """The paired differences and what may be said of them."""
    rows = [
        Row(
            (
                entry["corpus"],
                f"{entry['spec']} − {entry['against']}",
                by_seed(entry),
                signed(entry["perplexity_percent"], 1, "%"),
                interval(entry),
                level(entry),
                MISSING if entry.get("p") is None else f"{entry['p']:.2g}",
                _seeds_needed(entry),
                verdict(entry),
            )
        )
        for entry in content["differences"]
    ]
    columns = (
        Column("corpus", numeric=False),
        Column("difference", numeric=False),
        Column("nats", "per token, by seed", numeric=False),
        Column("perplexity", "%"),
        Column("interval", "%"),
        Column("level", "of the interval"),
        Column("p", "of no difference"),
        Column("seeds", "to see 1%"),
        Column("verdict", numeric=False),
    )
    return Table(columns, tuple(rows))


def _seeds_needed(entry: Content) -> str:
    if entry.get("level") is None:
        return MISSING
    return "over 1,000, or more text" if entry["seeds_for_one_percent"] is None else number(entry["seeds_for_one_percent"], 0)


def figure(path: Path, corpus: str, rows: Rows, specs: Mapping[str, Look]) -> str:
    """Perplexity of every seed, a row a spec; thin lines join the runs that share a seed.

    Args:
        path: of the SVG.
        rows: the corpus's rows of `studies/comparison.json`.
    """
    shown = [spec for spec in specs if any(row["spec"] == spec for row in rows)]
    place = {spec: float(i) for i, spec in enumerate(shown)}

    def paint(axes: Axes) -> None:
        good = [row for row in rows if row["perplexity"] is not None]
        for seed in sorted({row["seed"] for row in good}):
            pair = sorted((row for row in good if row["seed"] == seed), key=lambda row: place[row["spec"]])
            axes.plot([r["perplexity"] for r in pair], [place[r["spec"]] for r in pair], color=GRID, lw=1.2, zorder=1)
        for spec, y in place.items():
            values = [row["perplexity"] for row in good if row["spec"] == spec]
            axes.scatter(
                values,
                [y] * len(values),
                s=44,
                color=specs[spec].colour,
                marker=specs[spec].marker,
                edgecolors=PAPER,
                lw=0.8,
                zorder=3,
            )
            failed = [row for row in rows if row["spec"] == spec and row["perplexity"] is None]
            if values and not failed:  # a mean of the seeds that went well would flatter
                axes.plot([geometric_mean(values)] * 2, [y - 0.22, y + 0.22], color=specs[spec].colour, lw=2)  # as the table's
            for i in range(len(failed)):
                cross(axes, 0.97 - 0.05 * i, y, specs[spec], axes.get_yaxis_transform())
            if failed:
                text = ", ".join(f"seed {row['seed']} {row['status']}" for row in failed)
                axes.annotate(text, (1, y), (-2, 9), ("axes fraction", "data"), "offset points", ha="right", fontsize=7, color=INK)
        named_rows(axes, shown, f"{corpus}: perplexity per token ↓")

    return panel(path, 3.5, 0.9 + 0.5 * len(shown), paint)


def section(context: Context) -> Section:
    runs = context.parameters.comparison_runs()
    _, content = context.study("comparison")
    reasons = context.reasons(content["rows"] if content else [])
    caption = (
        "Each point is one seed, the bar their mean; a thin line joins runs of one seed, which saw the same data in the same order. The "
        "axis does not begin at zero. Nats, bits and perplexities: lower is better; only bits per byte and perplexity per word compare "
        "across tokenizers. Training seconds are those of optimiser steps, "
        "with other trainings beside them on the machine: speeds to compare are those of the sequence length."
    )
    blocks: list[Block] = []
    for corpus in corpora_of(runs, content):
        wanted = [run for run in runs if run.corpus == corpus] or [run_of(r) for r in content["rows"] if r["corpus"] == corpus]
        rows = [row for row in content["rows"] if row["corpus"] == corpus] if content else []
        blocks.append(
            Block(
                title=corpus,
                caption=caption if not blocks else "",
                table=table(content or {"rows": [], "means": []}, wanted, reasons),
                figures=[Markup(figure(context.figures.path("comparison", corpus), corpus, rows, context.looks))] if rows else [],
            )
        )
    if content:
        blocks.append(
            Block(
                title="Differences, paired by seed",
                caption="First model minus second: above zero, the first predicts worse. The percentage is of perplexity per token. The "
                "interval is for other seeds and other documents (Student's t over seeds, with the variance of the documents' mean "
                "added). It is wider than 95% where several differences are asked for, so that in 19 of 20 studies no verdict is wrong "
                "(Holm); that all ranges hold at once is not promised. “No difference” says that it holds zero: none is shown, and one as "
                "large as its ends is not ruled out. A verdict needs three seeds and a calibrated baseline. So many “seeds to see 1%” "
                "would show a difference of 1% in four of five studies, if seeds and documents vary as these did.",
                table=differences(content),
            )
        )
    blocks += tested_blocks(context, runs)
    blocks += slices.blocks(context, content)
    steps, files = ["studies/comparison", *run_steps(runs)], ["studies/comparison.json", "runs/"]
    if context.tested:
        steps, files = [*steps, *testing_steps(runs)], [*files, "studies/test.json"]
    return context.section("comparison", "Comparison", content, files, steps, blocks)


def tested_blocks(context: Context, runs: Sequence[Run]) -> list[Block]:
    """The same models on the test split, where it was opened to them."""
    if not context.tested:
        return []
    caption = (
        "The same checkpoints on text that chose none of them: it is opened to committed code alone, and every opening is logged. Claims "
        "that compare these models are decided by it."
    )
    blocks = [Block(caption, differences(context.tested), title="Differences on the test split")]
    for corpus in corpora_of(runs, context.tested):
        wanted = [run for run in runs if run.corpus == corpus]
        blocks.append(Block("", table(context.tested, wanted, context.reasons(context.tested["rows"])), title=f"{corpus}: test split"))
    return blocks


def testing_steps(runs: Sequence[Run]) -> list[str]:
    return ["studies/test", *(f"runs/{run}/test" for run in runs)]
