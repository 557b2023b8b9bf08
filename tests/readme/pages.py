"""The two pages whose numbers are held against their artefacts, and the artefacts."""

from pathlib import Path

from wavestack.artifacts import read_json

REPORTS = Path("reports")
CPU = REPORTS / "findings-cpu"
STORIES, CODE, WIKIPEDIA = "tinystories-excerpt", "python-functions", "wikitext-2"
CONVOLUTION = "transformer-convolution"
FEW = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def plain(page: str) -> str:
    return " ".join(Path(page).read_text(encoding="utf-8").split())


README, BEHIND = plain("README.md"), plain("reports/README.md")


def readme_says(sentence: str) -> None:
    assert sentence in README, f"README.md does not say: {sentence}"


def behind_it_says(sentence: str) -> None:
    assert sentence in BEHIND, f"reports/README.md does not say: {sentence}"


def study(name: str, profile: str = "findings-cpu"):
    return read_json(REPORTS / profile / "studies" / f"{name}.json")


def interval(row: dict) -> str:
    """Of a ratio, or of an exponent."""
    return f"{row['ratio' if 'ratio' in row else 'value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"


def sweep_of(name: str) -> dict:
    (found,) = [sweep for sweep in study("lengths")["sweeps"] if sweep["name"] == name]
    return found
