"""Corpora: where the texts come from, how large they are, and what of them stands in train, too."""

from collections.abc import Mapping
from typing import Any

from wavestack.report.provenance import provenance
from wavestack.report.section import Block, Context, Section
from wavestack.report.table import MISSING, Column, Content, Row, Table, number, share

SPLITS = ("train", "valid", "test")  # in the order of a reader; JSON files have them by name


def sources(corpora: Mapping[str, Content | None], tokens: Mapping[str, Content | None]) -> Table:
    """Where each corpus comes from, and how it was encoded.

    Args:
        corpora: content of `corpora/<corpus>/manifest.json` by corpus; None where it is missing.
        tokens: likewise of `tokens/<corpus>/manifest.json`.
    """
    rows, notes = [], []
    for name, manifest in corpora.items():
        encoded = tokens.get(name)
        source = manifest["source"] if manifest else {}
        facts = "; ".join(_fact(key, value) for key, value in source.items() if key not in ("kind", "revision") and value is not None)
        cells = (
            name,
            f"{source['kind']} ({facts})" if source else "missing",
            source.get("revision") or MISSING,
            manifest["licence"] if manifest else MISSING,
            number(manifest["limit"], 0) if manifest and manifest["limit"] is not None else "none" if manifest else MISSING,
            encoded["tokenizer"]["kind"] if encoded else "missing",
            number(encoded["vocabulary"], 0) if encoded else MISSING,
        )
        rows.append(Row(cells, "" if manifest and encoded else "failed"))
        lost = [f"{kind}/{name}/manifest.json" for kind, found in (("corpora", manifest), ("tokens", encoded)) if found is None]
        notes += [f"{path}: missing" for path in lost]
    titles = ("corpus", "source", "revision", "licence")
    columns = (*(Column(title, numeric=False) for title in titles), Column("train limit", "bytes"))
    return Table((*columns, Column("tokenizer", numeric=False), Column("vocabulary", "tokens")), tuple(rows), tuple(notes))


def _fact(key: str, value: Any) -> str:
    if isinstance(value, Mapping):  # files and their hashes
        return ", ".join(f"{name} {str(digest)[:12]}…" for name, digest in value.items())
    return f"{key} {value}"


def splits(corpora: Mapping[str, Content | None], tokens: Mapping[str, Content | None]) -> Table:
    """The sizes of every split, and how much of valid and test also stands in train. Arguments as in `sources`."""
    rows = []
    for name, manifest in corpora.items():
        encoded = tokens.get(name)
        sizes = manifest["splits"] if manifest else {}
        for split in sorted(sizes, key=SPLITS.index):
            size = sizes[split]
            overlap = manifest["overlap"].get(split, {}) if manifest else {}
            counts = (number(size.get(key), 0) for key in ("documents", "bytes", "words"))
            length = encoded["splits"].get(split, {}).get("tokens") if encoded else None
            kept = share(size["bytes"] / size["source_bytes"]) if size.get("source_bytes") else MISSING
            shares = (share(overlap.get("document_share")), share(overlap.get("ngram_share")))
            rows.append(Row((name, split, *counts, number(length, 0), kept, *shares)))
    columns = (
        Column("corpus", numeric=False),
        Column("split", numeric=False),
        Column("documents"),
        Column("text", "bytes"),
        Column("words"),
        Column("tokens"),
        Column("kept of the source", "% of bytes"),
        Column("documents in train ↓", "%"),
        Column("13-word sequences in train ↓", "%"),
    )
    return Table(columns, tuple(rows))


def section(context: Context) -> Section:
    about = "Where the text comes from. A hash stands for a local file's content; “train limit” is how much text the profile takes."
    sizes = (
        "Every number is of what was kept after the limit. The last two columns are the overlap audit: how much of a held-out split also "
        "stands in train, as whole documents and as distinct sequences of 13 words; lower is better. The test split is scored "
        "by a step of its own alone, and every opening of it is logged."
    )
    names = context.parameters.profile.corpora
    corpora, tokens = ({name: context.read(f"{room}/{name}/manifest.json") for name in names} for room in ("corpora", "tokens"))
    blocks = [
        Block(about, sources(corpora, tokens), title="Sources"),
        Block(sizes, splits(corpora, tokens), title="Splits"),
    ]
    steps = [step for name in names for step in (f"corpora/{name}/corpus", f"tokens/{name}/tokens")]
    return Section("corpora", "Corpora", ["corpora/", "tokens/"], provenance(steps, context.reports), blocks)
