"""The ablation grid: every subset of the lanes, and what is left without them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wavestack.params import Run
from wavestack.report.panel import GRID, INK, MUTED, PAPER, Look, Rows, cross, panel
from wavestack.report.provenance import run_steps
from wavestack.report.section import Block, Context, Section, asked_for, corpora_of
from wavestack.report.sections import worths
from wavestack.report.table import (
    BITS,
    NATS,
    PARAMETERS,
    PERPLEXITY,
    SPEED,
    WORD_PERPLEXITY,
    Column,
    Content,
    Row,
    Table,
    failure,
    run_of,
    signed,
)
from wavestack.variants import Variant


def table(
    content: Content,
    corpus: str,
    variants: Sequence[str],
    lanes: Sequence[str],
    runs: Sequence[Run],
    reasons: Mapping[Run, str],
) -> Table:
    """All subsets of the lanes on one corpus, with what each mean has over that of all of them.

    Args:
        content: of `studies/ablation.json`.
        variants: the subsets, from none of the lanes to all of them.
        lanes, runs: what the parameters want.
        reasons: why runs are not ok.
    """
    found = {run_of(row): row for row in content["rows"] if row["corpus"] == corpus}
    means = {row["variant"]: row for row in content["means"] if row["corpus"] == corpus}
    wanted = [run for run in dict.fromkeys([*runs, *found]) if run.corpus == corpus]
    seeds = sorted({run.seed for run in wanted})
    full = means.get(variants[-1], {}).get("nats_per_token")
    rows, notes = [], []
    for variant in dict.fromkeys([*variants, *means]):
        mean = means.get(variant, {})
        held = lanes_of(variant, lanes)
        by_seed = []
        for seed in seeds:
            run = next((run for run in wanted if (run.variant, run.seed) == (variant, seed)), None)
            row = found.get(run) if run else None
            failed = failure(row, reasons.get(run) if run else None)
            by_seed.append(NATS.text(row or {}) if failed is None else failed.partition(":")[0])
            notes += [f"{run or f'{corpus}/{variant}/seed{seed}'}: {failed}"] if failed else []
        nats = mean.get("nats_per_token")
        against = None if nats is None or full is None or variant == variants[-1] else nats - full
        label = "all lanes" if Variant.parse(variant).lanes is None else " + ".join(held) or "no lane"
        measured = (
            NATS.text(mean),
            signed(against, 4),
            *(measure.text(mean) for measure in (BITS, PERPLEXITY, WORD_PERPLEXITY, SPEED)),
        )
        kind = "failed" if nats is None else "marked" if variant in (variants[0], variants[-1]) else ""
        rows.append(Row((label, PARAMETERS.text(mean), *by_seed, *measured), kind))
    columns = (
        Column("lanes", numeric=False),
        PARAMETERS.column,
        *(Column("nats ↓", f"seed {seed}") for seed in seeds),
        Column("nats ↓", "mean"),
        Column("against all", "nats"),
        *(measure.column for measure in (BITS, PERPLEXITY, WORD_PERPLEXITY, SPEED)),
    )
    return Table(columns, tuple(rows), tuple(notes))


def lanes_of(variant: str, lanes: Sequence[str]) -> tuple[str, ...]:
    """The lanes that a variant has, in the order of the spec."""
    chosen = Variant.parse(variant).lanes
    return tuple(lane for lane in lanes if chosen is None or lane in chosen)


def figure(
    path: Path, corpus: str, rows: Rows, variants: Mapping[str, Sequence[str]], lanes: Sequence[str], own: Look,
    references: Mapping[str, tuple[float, Look]],
) -> str:  # fmt: skip
    """Every subset of the lanes as a row: which lanes it has, then nats per token of every seed.

    Args:
        path: of the SVG.
        rows: the corpus's rows of `studies/ablation.json`.
        variants: lanes of each variant, from top to bottom.
        own: look of the spec whose lanes these are.
        references: mean nats per token of other specs, drawn as lines across.
    """
    place = {variant: float(i) for i, variant in enumerate(variants)}

    def paint(axes: Axes) -> None:
        left = axes.inset_axes((-0.06 - 0.085 * len(lanes), 0, 0.085 * len(lanes), 1), sharey=axes)
        for variant, y in place.items():
            values = [row["nats_per_token"] for row in rows if row["variant"] == variant and row["nats_per_token"] is not None]
            whole = len(variants[variant]) == len(lanes)
            if whole or not variants[variant]:  # the two ends of the lattice
                for part in (axes, left):
                    part.axhspan(y - 0.5, y + 0.5, color=GRID, alpha=0.45, lw=0)
            face = own.colour if variants[variant] else PAPER
            axes.scatter(
                values,
                [y] * len(values),
                s=26,
                marker=own.marker,
                facecolors=face,
                edgecolors=own.colour,
                lw=1.1,
                zorder=3,
            )
            failed = [row for row in rows if row["variant"] == variant and row["nats_per_token"] is None]
            if values and not failed:
                axes.plot([fmean(values)] * 2, [y - 0.32, y + 0.32], color=own.colour, lw=1.6)
            for i in range(len(failed)):
                cross(axes, 0.97 - 0.05 * i, y, own, axes.get_yaxis_transform())
            if failed:
                text = ", ".join(f"seed {row['seed']} {row['status']}" for row in failed)
                axes.annotate(
                    text, (0.97 - 0.05 * len(failed), y), (0, 0), ("axes fraction", "data"), "offset points",
                    ha="right", va="center", fontsize=7,
                )  # fmt: skip
            has = [i for i, lane in enumerate(lanes) if lane in variants[variant]]
            lacks = [i for i in range(len(lanes)) if i not in has]
            left.plot(has, [y] * len(has), color=INK, lw=1, marker="o", ms=5)
            left.scatter(lacks, [y] * len(lacks), s=5, color=MUTED, lw=0)
        for name, (nats, look) in references.items():
            axes.axvline(nats, color=look.colour, lw=1.2, ls=(0, (4, 2)), label=f"{name}, mean", zorder=2)
        sizes = [len(held) for held in variants.values()]
        for i in range(1, len(sizes)):  # a line between the levels of the lattice
            if sizes[i] != sizes[i - 1]:
                for part in (axes, left):
                    part.axhline(i - 0.5, color=GRID, lw=0.8)
        left.set_xlim(-0.6, len(lanes) - 0.4)
        left.xaxis.tick_top()
        left.set_xticks(range(len(lanes)), lanes, rotation=40, ha="left", rotation_mode="anchor")
        left.tick_params(axis="both", length=0, labelleft=False)
        left.grid(visible=False)
        left.spines[:].set_visible(False)
        axes.set_ylim(len(variants) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0, labelleft=False)
        axes.margins(x=0.1)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(f"{corpus}: nats per token ↓", fontsize=8, loc="right")
        if references:
            axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), handlelength=2.4, borderpad=0.2)

    return panel(path, 4.0, 1.3 + 0.24 * len(variants), paint)


def section(context: Context) -> Section:
    study, content = context.study("ablation")
    runs = context.parameters.ablation_runs()
    reasons = context.reasons(content["rows"] if content else [])
    caption = (
        "A row is a subset of the lanes: a filled dot is a lane that the model has. Each point is one seed, the bar their mean, further "
        "left is better; the shaded rows are no lane at all (hollow points) and all of them. Every subset has the same number of "
        "parameters: its MLP is wider where lanes are gone. A dashed line is the mean of another model. “Against all” is the subset's mean "
        "minus that of all lanes: above zero, leaving lanes out made it worse."
    )
    if study is not None and study.tuned:
        caption += (
            " All subsets are trained with what was chosen for the model with all lanes, which may flatter it, and so each lane: none of "
            "the others was tuned."
        )
    if study is not None and study.lanes is not None:
        caption += f" The grid is of {', '.join(study.lanes)}: none of its models has another lane, and “all” are these."
    blocks: list[Block] = []
    if study is not None and content is not None:
        lanes = [lane for lane in context.parameters.specs[study.spec].lanes if lane in (study.lanes or [lane])]
        variants = list(dict.fromkeys(run.variant for run in runs))
        for corpus in corpora_of(runs, content):
            rows = [row for row in content["rows"] if row["corpus"] == corpus]
            references = _references(context, corpus)
            held = {variant: lanes_of(variant, lanes) for variant in variants}
            path = context.figures.path("ablation", corpus)
            blocks.append(
                Block(
                    title=corpus,
                    caption=caption if not blocks else "",
                    table=table(content, corpus, variants, lanes, [run for run in runs if run.corpus == corpus], reasons),
                    figures=[Markup(figure(path, corpus, rows, held, lanes, context.looks[study.spec], references))],
                )
            )
            entries = [entry for entry in content.get("worths", []) if entry["corpus"] == corpus]  # older files have none
            if entries:
                blocks.append(worths.block(context, corpus, entries, study.spec))
    steps = ["studies/ablation", *run_steps(runs)] if study else []
    found = context.section("ablation", "Lanes, and what is left without them", content, ["studies/ablation.json", "runs/"], steps, blocks)
    return asked_for(found, study)


def _references(context: Context, corpus: str) -> dict[str, tuple[float, Look]]:
    """Means of the comparison's other specs, where they had the ablation's budget."""
    studies = context.parameters.profile.studies
    _, comparison = context.study("comparison")
    if studies.ablation is None or comparison is None or studies.comparison.budget != studies.ablation.budget:
        return {}
    means = [mean for mean in comparison["means"] if mean["corpus"] == corpus and mean["spec"] != studies.ablation.spec]
    return {mean["spec"]: (mean["nats_per_token"], context.looks[mean["spec"]]) for mean in means if mean["nats_per_token"] is not None}
