"""The page of all finished runs: `experiments.csv` as a table, the newest first."""

import html
from pathlib import Path

import pandas

from wavestack.artifacts import write_text
from wavestack.report.table import MISSING

STYLE = """body { font: 14px system-ui, sans-serif; margin: 2rem; color-scheme: light dark }
table { border-collapse: collapse; white-space: nowrap }
th, td { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #8884 }
th { position: sticky; top: 0; background: Canvas }
td:nth-child(-n + 8), th:nth-child(-n + 8) { text-align: left }"""


def write_experiments(log: Path, page: Path) -> int:
    """Write the page, and give how many runs it shows.

    Raises:
        ValueError: there is no log yet, or the file is none.
    """
    if not log.is_file():
        raise ValueError(f"{log} does not exist; the first run that is trained and scored by the workflow starts it")
    runs = pandas.read_csv(log, dtype={"commit": "object"})  # of which there is none where git does not say
    lacking = [column for column in ("finished", "commit") if column not in runs]
    if lacking:
        raise ValueError(f"{log} is no log of runs (it lacks {', '.join(lacking)}); name reports/experiments.csv, or one like it")
    runs = runs.sort_values("finished", ascending=False, kind="stable")
    runs["commit"] = runs["commit"].str[:10]
    table = runs.to_html(index=False, border=0, na_rep=MISSING, float_format=lambda value: f"{value:.4g}", escape=True)
    head = f'<meta charset="utf-8"><title>Finished runs</title><style>{STYLE}</style>'
    said = f"{len(runs):,} rows of {html.escape(log.name)}, the newest first. A run that was scored again has a row more."
    text = f"<h1>Finished runs</h1><p>{said}</p>"
    write_text(page, f'<!doctype html><html lang="en"><head>{head}</head><body>{text}{table}</body></html>\n')
    return len(runs)
