"""Reads the files of a load (S)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from topologies.load.config import LoadConfig, LoadError
from topologies.load.naming import Named, name_of
from topologies.load.plan import fingerprint
from topologies.load.rows import Attributes, BadRow, Samples, SeriesKey, read_rows


@dataclass(frozen=True, slots=True)
class Contents:
    """All that the files hold: samples by series, rows counted, the rows that hold none."""

    series: dict[SeriesKey, Samples]
    rows: int
    bad: tuple[BadRow, ...]
    fingerprint: bytes


def read_files(config: LoadConfig, files: tuple[Path, ...]) -> Contents:
    """Read all files into memory: 16 bytes a sample. Raises LoadError."""
    series: dict[SeriesKey, Samples] = {}
    rows = 0
    bad: list[BadRow] = []
    hashes: dict[str, bytes] = {}
    for path in files:
        key_of = partial(_series_key, name_of(path.name, config.naming))
        try:
            with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
                count, worse = read_rows(path.name, lines, config.columns, key_of, series)
            with path.open("rb") as content:
                hashes[path.name] = hashlib.file_digest(content, "blake2b").digest()
        except OSError as error:
            raise LoadError(f"{path} can't be read: {error}") from error
        rows += count
        bad += worse
    if not series:
        raise LoadError(
            f"none of {rows} rows holds a sample"
            + (f"; the first: {bad[0].file}:{bad[0].line}: {bad[0].reason}" if bad else "")
        )
    settings = repr((config.tenant, config.columns, config.naming, config.points_per_record))
    return Contents(series, rows, tuple(bad), fingerprint(settings, hashes))


def _series_key(named: Named, resource: Attributes, attributes: Attributes) -> SeriesKey:
    merged = dict(named.resource) | dict(resource)
    return SeriesKey(tuple(sorted(merged.items())), named.metric, named.unit, attributes)
