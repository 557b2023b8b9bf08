"""Quality against size: loss over FLOPs, and who leads at equal size and at equal FLOPs."""

from collections.abc import Mapping, Sequence
from math import log1p
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from wavestack.report.panel import MUTED, Look, Rows, cross, panel, short
from wavestack.report.provenance import run_steps
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import PARAMETERS, Column, Content, Row, Table, by_seed, interval, level, number, share, signed, verdict

LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), "-.")  # of budgets, from the first to the last


def costs(content: Content, corpus: str) -> Table:
    """What a token of the forward pass costs each model, and on what it is spent."""
    rows = []
    for cost in (cost for cost in content["costs"] if cost["corpus"] == corpus):
        whole = cost["flops_per_token"]
        spent = (share(cost[part] / whole) for part in ("of_the_output_layer", "over_the_sequence"))
        cells = (cost["spec"], cost["budget"], PARAMETERS.text(cost), number(cost["non_embedding_parameters"], 0), number(whole / 1e6, 2))
        rows.append(Row((*cells, *spent), "", cost["spec"]))
    columns = (
        *(Column("model", numeric=False), Column("budget", numeric=False), PARAMETERS.column, Column("without embedding")),
        *(Column("forward ↓", "MFLOP a token"), Column("output layer", "% of it"), Column("over the sequence", "% of it")),
    )
    return Table(columns, tuple(rows))


def equal_size(content: Content, corpus: str) -> Table:
    """Ours minus theirs at each budget and number of training tokens."""
    rows = []
    for entry in (entry for entry in content["equal_size"] if entry["corpus"] == corpus):
        place = (f"{entry['spec']} − {entry['against']}", entry["budget"], number(entry["tokens"], 0))
        effect = (by_seed(entry), signed(entry["perplexity_percent"], 1, "%"), interval(entry))
        rows.append(Row((*place, *effect, level(entry), verdict(entry)), "failed" if None in entry["nats"] else ""))
    columns = (
        *(Column("difference", numeric=False), Column("budget", numeric=False), Column("training tokens")),
        *(Column("nats", "per token, by seed", numeric=False), Column("perplexity", "%"), Column("interval", "%")),
        *(Column("level", "of the interval"), Column("verdict", numeric=False)),
    )
    return Table(columns, tuple(rows))


def equal_flops(content: Content, corpus: str) -> Table:
    """Ours minus theirs after as many FLOPs of training, each at its best size."""
    rows = []
    for entry in (entry for entry in content["equal_flops"] if entry["corpus"] == corpus):
        named = f"{entry['spec']} − {entry['against']}"
        at_most = entry.get("at_most", ())  # older files have none
        sides = (("≤ " if side in at_most else "") + number(entry[side], 4) for side in ("ours", "theirs"))
        nats = (*sides, signed(entry["nats"], 4))
        rows.append(Row((named, f"{entry['training_flops']:.3g}", *nats, signed(entry["perplexity_percent"], 1, "%"))))
    columns = (
        *(Column("difference", numeric=False), Column("training FLOPs"), Column("ours ↓", "nats per token")),
        *(Column("theirs ↓", "nats per token"), Column("nats", "per token"), Column("perplexity", "%")),
    )
    return Table(columns, tuple(rows))


def flops_figure(path: Path, corpus: str, rows: Rows, specs: Mapping[str, Look]) -> str:
    """Mean loss of the seeds against FLOPs of training; a line a spec and budget.

    Args:
        path: of the SVG.
        rows: the corpus's rows of `studies/sizes.json`.
    """
    lines = _lines(rows)
    drawn = list(dict.fromkeys(row["spec"] for row in rows))

    def paint(axes: Axes) -> None:
        for spec in drawn:
            for budget, line in lines.items():
                found: dict[str, list[Content]] = {}  # by how many tokens, which the variant says
                for row in (row for row in rows if (row["spec"], row["budget"]) == (spec, budget)):
                    found.setdefault(row["variant"], []).append(row)
                whole = [seeds for seeds in found.values() if all(row["status"] == "ok" for row in seeds)]
                points = sorted((seeds[0]["training_flops"], fmean(row["nats_per_token"] for row in seeds)) for seeds in whole)
                x, y = [flops for flops, _ in points], [nats for _, nats in points]
                axes.plot(x, y, color=specs[spec].colour, marker=specs[spec].marker, ms=4, lw=1.2, ls=line)
                for seeds in (seeds for seeds in found.values() if seeds not in whole):
                    cross(axes, max(row["training_flops"] for row in seeds), 0.02, specs[spec], axes.get_xaxis_transform())
        _logarithmic(axes)
        axes.set_xlabel("FLOPs of training")
        axes.set_ylabel("nats per token ↓")
        axes.set_title(corpus)
        _legend(axes, {spec: specs[spec] for spec in drawn}, lines)

    return panel(path, 4.2, 3.6, paint)


def gap_figure(path: Path, corpus: str, entries: Sequence[Content], specs: Mapping[str, Look]) -> str:
    """Ours minus theirs against training tokens, a line a pair and budget, a point a seed, a bar for the interval where there is one.

    Args:
        path: of the SVG.
        entries: the corpus's under `equal_size` of `studies/sizes.json`.
    """
    lines = _lines(entries)
    ours = entries[0]["spec"] if entries else "ours"
    others = list(dict.fromkeys(entry["against"] for entry in entries))

    def paint(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, lw=0.8)
        for against in others:
            look = specs[against]
            for budget, line in lines.items():
                own = [e for e in entries if (e["against"], e["budget"]) == (against, budget) and None not in e["nats"]]
                tokens, mean = [entry["tokens"] for entry in own], [fmean(entry["nats"]) for entry in own]
                axes.plot(tokens, mean, color=look.colour, marker=look.marker, ms=4, lw=1.2, ls=line)
                seeds = [(entry["tokens"], nats) for entry in own for nats in entry["nats"]]
                for entry in (entry for entry in own if entry.get("low_percent") is not None and entry["low_percent"] > -100):
                    ends = [log1p(entry[end] / 100) for end in ("low_percent", "high_percent")]
                    axes.plot([entry["tokens"]] * 2, ends, color=look.colour, lw=5, alpha=0.3, solid_capstyle="butt")
                axes.scatter([x for x, _ in seeds], [y for _, y in seeds], s=8, color=look.colour, marker=look.marker)
        _logarithmic(axes)
        axes.set_xlabel("training tokens")
        axes.set_ylabel("nats per token")
        axes.set_title(corpus)
        _legend(axes, {f"{ours} − {against}": specs[against] for against in others}, lines)

    return panel(path, 4.2, 3.6, paint)


def _lines(entries: Rows) -> dict[str, Any]:
    """The kind of line of each budget."""
    budgets = dict.fromkeys(entry["budget"] for entry in entries)
    return {budget: LINES[place % len(LINES)] for place, budget in enumerate(budgets)}


def _legend(axes: Axes, models: Mapping[str, Look], lines: Mapping[str, Any]) -> None:
    """A column of models, which are colours, and one of budgets, which are lines; below the frame, where no line is crossed."""
    columns = [
        [Line2D([], [], color=look.colour, marker=look.marker, ms=4, lw=1.2, label=name) for name, look in models.items()],
        [Line2D([], [], color=MUTED, lw=1.2, ls=line, label=budget) for budget, line in lines.items()],
    ]
    longest = max(map(len, columns))
    blank = Line2D([], [], ls="none", label=" ")  # columns are filled one after another, and the shorter one would take from the other
    handles = [handle for column in columns for handle in column + [blank] * (longest - len(column))]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, -0.15), ncols=2, handlelength=2.4, columnspacing=1.5, borderpad=0.2)


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def section(context: Context) -> Section:
    study, content = context.study("sizes")
    caption = (
        "Each point is a training of its own, its learning rate brought down to the end; lines join one size's. FLOPs are three forward "
        "passes a token, the output layer and what lanes or attention do over the sequence included. Below zero, the first model is "
        "better. A bar is an interval, from three seeds on; it is wider than 95%, so that in 19 of 20 studies no verdict is wrong where "
        "there is no difference."
    )
    at_equal_flops = (
        "After as many FLOPs of training, each model at the size that is best for it there; losses between two trainings of a size are "
        "interpolated in the logarithm of the FLOPs. A size that was trained for fewer counts with what it had at its end (≤: it might "
        "have got better). There is no interval: means over the seeds there are."
    )
    blocks: list[Block] = []
    for corpus in study.corpora if study is not None and content is not None else []:
        rows = [row for row in content["rows"] if row["corpus"] == corpus]
        entries = [entry for entry in content["equal_size"] if entry["corpus"] == corpus]
        panels = [
            flops_figure(context.figures.path("sizes", "flops", corpus), corpus, rows, context.looks),
            gap_figure(context.figures.path("sizes", "gap", corpus), corpus, entries, context.looks),
        ]
        blocks += [
            Block("" if blocks else caption, equal_size(content, corpus), [Markup(drawn) for drawn in panels], corpus),
            Block(at_equal_flops, equal_flops(content, corpus), title=f"{corpus}: at equal FLOPs"),
            Block("", costs(content, corpus), title=f"{corpus}: what a token costs"),
        ]
    steps = ["studies/sizes", *run_steps(context.parameters.sizes_runs())] if study else []
    found = context.section("sizes", "Quality against size", content, ["studies/sizes.json", "runs/"], steps, blocks)
    return asked_for(found, study)
