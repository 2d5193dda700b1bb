"""What traffic there is, counted once and pinned: what estimates of a plan's cost stand on.

A file of statistics is JSON with one metric a line, so that two of them differ where the traffic
does. It holds the hash of its contents: who changes a figure by hand is found out, and an estimate
can name what it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from metric_registry.plan import canonical, digest

FORMAT = 1
RESOURCE = "@resource"
"""Stands for all attributes of a stream's resource taken together, with its tenant."""
TENANT = "tenant"
VALUES = 50
"""An attribute with at most so many different values has the streams of each counted."""
PAIRED = 24
"""Attributes of a metric of which each two are counted together: those with the most values."""


class StatisticsError(ValueError):
    """A file that holds no statistics, or damaged ones; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeCount:
    """An attribute of a metric's streams.

    Attributes:
        distinct: How many different values it has.
        streams: How many streams have it.
        longest: Bytes of its longest value.
        resource: Whether all of these have it from their resource.
        values: Streams of each value, where they are few.
    """

    distinct: int
    streams: int
    longest: int = 0
    resource: bool = False
    values: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, kw_only=True)
class MetricCount:
    """A metric's streams.

    Attributes:
        points_per_second: Of all its streams together.
        interval_ns: From a stream's point to its next, in the middle of all streams; None where
            none has two.
        attributes: By name; `tenant` and RESOURCE are among them.
        pairs: (attribute, attribute, how many different pairs of values), names ascending.
    """

    streams: int
    points_per_second: float
    interval_ns: int | None
    attributes: dict[str, AttributeCount]
    pairs: tuple[tuple[str, str, int], ...] = ()

    @cached_property
    def both(self) -> dict[tuple[str, str], int]:
        """`pairs`, by the two names."""
        return {(one, other): count for one, other, count in self.pairs}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Where the figures come from: how long the traffic lasted by its own times, what of it was
    looked at, and whether that was only a part.
    """

    since: str
    seconds: float
    requests: int
    points: int
    streams: int
    bytes_per_point: float
    in_part: bool = False


@dataclass(frozen=True, slots=True)
class Statistics:
    """Traffic, counted."""

    measured: Measured
    metrics: Mapping[str, MetricCount]

    @property
    def hash(self) -> str:
        """The first 16 hex characters of blake2b over the canonical JSON of the rest."""
        return digest(self._contents(), 16)

    def _contents(self) -> dict[str, Any]:
        metrics = {name: _stored(one) for name, one in self.metrics.items()}
        return {"format": FORMAT, "measured": asdict(self.measured), "metrics": metrics}

    def to_json(self) -> bytes:
        """Equal statistics give equal bytes."""
        lines = [f'{{"format":{FORMAT},"hash":"{self.hash}",']
        lines.append(f'"measured":{canonical(asdict(self.measured)).decode()},"metrics":{{')
        metrics = [
            f"{json.dumps(name, ensure_ascii=False)}:{canonical(_stored(one)).decode()}"
            for name, one in sorted(self.metrics.items())
        ]
        return "\n".join([*lines, ",\n".join(metrics), "}}", ""]).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Statistics:
        """What `to_json` wrote. Raises StatisticsError."""
        try:
            found = _DECODER.decode(data)
        except msgspec.MsgspecError as error:
            raise StatisticsError(
                f"not a file of statistics ({error}): make one with `tidemill registry statistics`"
            ) from error
        if found.format != FORMAT:
            raise StatisticsError(
                f"statistics of format {found.format}, this program reads {FORMAT}: make them "
                "again with `tidemill registry statistics`"
            )
        made = cls(found.measured, found.metrics)
        if made.hash != found.hash:
            raise StatisticsError(
                f"the statistics were changed: the file says hash {found.hash}, its figures have "
                f"{made.hash}; make them again with `tidemill registry statistics`"
            )
        return made


def _stored(one: MetricCount) -> dict[str, Any]:
    fields = asdict(one)
    fields["pairs"] = sorted([list(pair) for pair in one.pairs])
    return fields


@dataclass(frozen=True, slots=True)
class _Stored:
    format: int
    hash: str
    measured: Measured
    metrics: dict[str, MetricCount]


_DECODER = msgspec.json.Decoder(_Stored)


def paired(attributes: Mapping[str, int]) -> list[str]:
    """Names of the attributes that are counted in pairs, ascending, given how many values each has.

    One of a single value pairs with nothing.
    """
    several = [name for name, distinct in attributes.items() if distinct > 1]
    return sorted(sorted(several, key=lambda name: (-attributes[name], name))[:PAIRED])
