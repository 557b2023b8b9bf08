"""Calibration: the run of known outcome."""

from wavestack.report.provenance import run_steps
from wavestack.report.section import Block, Context, Section, asked_for
from wavestack.report.table import NATS, PARAMETERS, TRAINING_TOKENS, Column, Content, Row, Table


def table(content: Content) -> Table:
    """The run of known outcome."""
    row = content["row"]
    cells = (row["corpus"], row["spec"], *(measure.text(row) for measure in (PARAMETERS, TRAINING_TOKENS, NATS)))
    result = "passed" if content["passed"] else "failed"
    columns = (
        Column("corpus", numeric=False),
        Column("model", numeric=False),
        *(measure.column for measure in (PARAMETERS, TRAINING_TOKENS, NATS)),
        Column("known", "at most"),
        Column("result", numeric=False),
    )
    return Table(columns, (Row((*cells, f"{content['at_most']:g}", result), "" if content["passed"] else "failed", row["spec"]),))


def section(context: Context) -> Section:
    study, content = context.study("calibration")
    caption = (
        "A baseline of known outcome, trained and scored by the same code as everything else. Until it comes out as it is known to, no "
        "verdict is given: a broken baseline would lose to anything."
    )
    blocks = [Block(caption, table(content))] if study and content else []
    steps = ["studies/calibration", *run_steps(context.parameters.calibration_runs())] if study else []
    found = context.section("calibration", "Calibration", content, ["studies/calibration.json", "runs/"], steps, blocks)
    return asked_for(found, study)
