"""Metric definitions, read from YAML for the oracle alone: only the fields that decide a number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from oracle import histograms, inheritance, levels, lookups, pooled, windows
from oracle.windows import SECOND as SECOND
from oracle.windows import Size as Size
from oracle.windows import duration as duration

OVER_TIME = {"sum", "count", "min", "max", "avg", "last", "increase", "rate"}
COUNTERS = {"increase", "rate"}
OVER_SPACE = OVER_TIME - COUNTERS


@dataclass(frozen=True, slots=True)
class Source:
    """One metric name, or a pattern with `*`, and the attribute values it must have (any one of
    those listed)."""

    metric: str
    where: tuple[tuple[str, tuple[Any, ...]], ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """What is counted, by which labels, in which windows. All times are nanoseconds.

    final: whether it is published on the final topic, and how: cumulative or not, carrying what
    late points change or not, and `expire`, for how many windows (or ns, if the second is True) a
    series goes on without data. groups: the most it may have in a window. source_unit: of points
    that say none; unit: that values are read in; instrument: what histogram points it reads, empty:
    numbers. attributes: (name, how it is made of others, see `derived.py`). over_points: (name,
    parameter) where there are not two steps, which are empty then.
    """

    name: str
    sources: tuple[Source, ...]
    keep: tuple[str, ...]
    sizes: tuple[Size, ...]
    grace: int
    corrections: int
    over_time: str
    over_space: str
    over_points: tuple[str, Any] | None
    final: bool
    cumulative: bool
    carry: bool
    expire: tuple[int, bool]
    groups: int
    source_unit: str
    unit: str
    instrument: str = ""
    upsert: bool = False
    attributes: tuple[tuple[str, Any], ...] = ()

    @property
    def finest(self) -> int:
        """The windows that all others are made of, in nanoseconds."""
        return windows.finest(self.sizes)

    @property
    def adds_up(self) -> bool:
        """Whether it is published as a sum, else as a gauge."""
        if self.over_points:
            return pooled.adds_up(self.over_points[0])
        return _adds_up(self.over_time, self.over_space)

    @property
    def histogram(self) -> str:
        """What OTLP calls the histogram that it makes; empty: a number."""
        return histograms.KINDS.get(self.over_points[0], "") if self.over_points else ""

    def expires_after(self, size: Size) -> int:
        """Windows of this size without data after which a series is no more."""
        amount, is_time = self.expire
        return -(-amount // windows.step_of(size)) if is_time else amount


def load(folder: Path, environment: str = "") -> list[Definition]:
    """Every definition of every *.yaml below `folder` (or of that one file), by name."""
    below = [one for one in folder.rglob("*.y*ml") if not one.match("*.test.y*ml")]
    files = sorted(below) if folder.is_dir() else [folder]
    docs = [(f.parent, doc) for f in files for doc in yaml.safe_load_all(f.read_text()) if doc]
    tables = lookups.whole(docs)
    # what is derived is computed of rows, not of points: see `derived_rows`
    apart = ("Lookup", "Derived")
    plain = [(home, doc) for home, doc in docs if doc.get("kind") not in apart]
    whole = [lookups.pinned(doc, tables) for doc in inheritance.whole(plain, environment)]
    found = [parse(one) for doc in whole for one in levels.apart(doc)]
    if len({definition.name for definition in found}) != len(found):
        raise ValueError(f"two definitions in {folder} carry the same name")
    return sorted(found, key=lambda definition: definition.name)


def parse(doc: dict[str, Any]) -> Definition:
    """One YAML document. What would change a number and is not understood here is refused."""
    if doc.get("apiVersion") != "tidemill/v1" or doc.get("kind") != "Metric":
        raise ValueError(f"not a tidemill/v1 Metric: {doc.get('kind')!r}")
    name, time, aggregate = doc["name"], doc["time"], doc["aggregate"]
    known = {"granularities", "grace", "corrections", "zone"}
    if set(time) - known or set(doc["space"]) - {"keep"} or "dedupe" in doc:
        raise ValueError(f"{name}: the oracle does not know every field of time, space or dedupe")
    publish = doc.get("publish", {})
    if set(publish) - {"final", "upsert", "keep", "temporality", "late", "expire_after"}:
        raise ValueError(f"{name}: the oracle does not know every field of publish")
    expire = publish.get("expire_after", 5)
    over_time, over_space, over_points = _aggregate(name, aggregate)
    adds_up = pooled.adds_up(over_points[0]) if over_points else _adds_up(over_time, over_space)
    instrument = doc["source"].get("instrument") or ""
    shaped = over_points is not None and pooled.is_histogram(over_points[0])
    return Definition(
        name=name,
        sources=tuple(_sources(name, doc["source"])),
        keep=tuple(label for label in doc["space"].get("keep", []) if label != "tenant"),
        sizes=tuple(windows.parse(s, time.get("zone", "UTC")) for s in time["granularities"]),
        grace=duration(time.get("grace", "10s")),
        corrections=duration(time.get("corrections", "1h")),
        over_time=over_time,
        over_space=over_space,
        over_points=over_points,
        final=publish.get("final", True),
        cumulative=adds_up and publish.get("temporality", "delta") == "cumulative",
        carry=adds_up and not shaped and not instrument and publish.get("late", "drop") == "carry",
        expire=(duration(expire), True) if isinstance(expire, str) else (expire, False),
        groups=doc.get("limits", {}).get("series", 100_000),
        source_unit=doc["source"].get("unit", "1"),
        instrument=instrument,
        unit=doc.get("unit") or doc["source"].get("unit", "1"),
        upsert=publish.get("upsert", False),
        attributes=tuple((doc["source"].get("attributes") or {}).items()),
    )


def _aggregate(name: str, block: dict[str, Any]) -> tuple[str, str, tuple[str, Any] | None]:
    """(over time, over space, None), or (nothing, nothing, the aggregate over points)."""
    if "over_points" in block:
        stated = block["over_points"]
        found = (stated, None) if isinstance(stated, str) else next(iter(stated.items()))
        if len(block) > 1 or not pooled.is_known(found[0]):
            raise ValueError(f"{name}: unknown aggregate {block}")
        return "", "", found
    over_time = block["over_time"]
    over_space = block.get("over_space") or ("sum" if over_time in COUNTERS else None)
    if over_time not in OVER_TIME or over_space not in OVER_SPACE:
        raise ValueError(f"{name}: unknown aggregate {block}")
    return over_time, over_space, None


def _adds_up(over_time: str, over_space: str) -> bool:
    return over_space == "sum" and over_time in ("sum", "count", "increase")


def _sources(name: str, block: dict[str, Any]) -> list[Source]:
    if set(block) - {"metric", "match", "any_of", "where", "unit", "instrument", "attributes"}:
        raise ValueError(f"{name}: the oracle does not know every field of source {sorted(block)}")
    shared = block.get("where") or {}
    choices = block.get("any_of", [block])
    return [
        Source(one.get("metric") or one["match"], _where(shared | (one.get("where") or {})))
        for one in choices
    ]


def _where(block: dict[str, Any]) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return tuple(
        (attribute, tuple(wanted) if isinstance(wanted, list) else (wanted,))
        for attribute, wanted in block.items()
    )
