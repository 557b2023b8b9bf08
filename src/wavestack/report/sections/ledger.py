"""Budget: the ledger of parameters."""

from wavestack.report.section import Block, Context, Section
from wavestack.report.table import Column, Content, Row, Table, number, signed


def table(content: Content) -> Table:
    """What every model is made of, beside what its budget asks for."""
    rows = []
    for row in content["rows"]:
        total, inner = (_off(row, key) for key in ("parameters", "non_embedding_parameters"))
        counts = ("vocabulary", "mlp", "parameters", "target_parameters")
        cells = (row["spec"], row["variant"], row["corpus"], row["budget"], *(number(row[key], 0) for key in counts))
        inner_counts = (number(row[key], 0) for key in ("non_embedding_parameters", "target_non_embedding_parameters"))
        deviations = (signed(total, 2, "%"), *inner_counts, signed(inner, 2, "%"))
        rows.append(Row((*cells, *deviations), "failed" if any(abs(off or 0) > 1 for off in (total, inner)) else "", row["spec"]))
    columns = (
        *(Column(title, numeric=False) for title in ("model", "variant", "corpus", "budget")),
        Column("vocabulary", "tokens"),
        Column("MLP width"),
        Column("parameters"),
        Column("target"),
        Column("deviation", "%"),
        Column("without embedding"),
        Column("target"),
        Column("deviation", "%"),
    )
    notes = tuple(f"{row.cells[0]}/{row.cells[1]} on {row.cells[2]} is more than 1% off its target" for row in rows if row.kind)
    return Table(columns, tuple(rows), notes)


def _off(row: Content, key: str) -> float | None:
    """Percent off the target; a published model, which names its own size, has none."""
    target = row[f"target_{key}"]
    return None if target is None else 100 * (row[key] / target - 1)


def section(context: Context) -> Section:
    caption = (
        "Counted from the built modules. Each model is within 0.5% of the budget, so any two are within 1%, "
        "with and without the embedding; the width "
        "of the MLP is solved for that."
    )
    content = context.read("budget/ledger.json")
    blocks = [Block(caption, table(content))] if content else []
    return context.section("ledger", "Budget", content, ["budget/ledger.json"], ["budget/ledger"], blocks)
