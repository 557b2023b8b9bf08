"""The log of finished runs: a table that only grows, a row a run, whoever runs them side by side."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from wavestack.artifacts import append_csv, read_json
from wavestack.params import Run
from wavestack.provenance import commit, machine

MEASURES = ("status", "nats_per_token", "bits_per_byte", "perplexity", "parameters", "non_embedding_parameters", "training_tokens")
SETTINGS = ("learning_rate", "weight_decay", "dropout", "batch", "precision", "device", "threads")
MACHINE = ("processor", "cores", "accelerator")
COLUMNS = (
    *("finished", "profile", "corpus", "spec", "budget", "variant", "seed"),
    *MEASURES,
    *SETTINGS,
    *("seconds", "tokens_per_second", "fingerprint", "commit", "dirty"),
    *MACHINE,
)


def record(log: Path, profile: str, run: Run, reports: Path) -> None:
    """Add a run that was trained and scored.

    Args:
        log: the table.
        profile: by its name.
        reports: holds the run's `metrics.json`, and what its training left: settings, seconds, fingerprint.

    Raises:
        ValueError: the table has other columns, or a result is missing.
    """
    metrics, training = read_json(reports / "metrics.json"), read_json(reports / "training.json")["training"]
    timing, found = read_json(reports / "train.timing.json")["training"], machine()["machine"]
    row = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "profile": profile,
        **asdict(run),
        **{key: metrics.get(key) for key in MEASURES},
        **{key: training[key] for key in SETTINGS},
        **timing,
        "fingerprint": read_json(reports / "train.provenance.json")["fingerprint"],
        **commit(),
        **{key: found[key] for key in MACHINE},
    }
    append_csv(log, {column: row[column] for column in COLUMNS}, COLUMNS)
