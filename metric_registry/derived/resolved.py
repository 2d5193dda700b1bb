"""A derived definition with nothing left implicit: a value, as part of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from metric_registry.granularities import Granularity, is_calendar, order

How = Literal["ratio", "sum", "difference", "mean", "quantile", "share"]
Absent = Literal["none", "zero"]
"""What a group is worth that an input has no row of."""
OF_HISTOGRAMS = ("mean", "quantile", "share")
"""Derivations of one definition whose results are histograms."""
WAIT_S = 60
"""How long a row that is absent is waited for, beside what the inputs' graces differ by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedInput:
    """A definition that one is derived from.

    Attributes:
        unit: That of its rows; rows of a time when it had another one are not taken.
        instrument: By the names of OTLP's data.
        p, q: A value v of it counts as v * p / q. Of a ratio the first input alone has a factor.
        summed: It keeps more than the result does, and is added up.
    """

    name: str
    version: str
    unit: str
    instrument: str
    p: int = 1
    q: int = 1
    summed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedDerived:
    """What a view of the store computes.

    Attributes:
        version: 16 hex characters: a hash of what it means, the versions of its inputs included.
        inputs: Of a ratio and a difference in this order; of a sum as they were written.
        keep: Attributes of a group, sorted; `tenant` is always one.
        parameter: Of a quantile which, of a share the bound; else None.
        granularities: Those that all inputs have, finer ones first.
        zone_rules: Of the zone that calendar granularities follow; empty if there are none.
        wait_s: How long after a row came an absent one counts as zero.
    """

    name: str
    version: str
    unit: str
    how: How
    inputs: tuple[DerivedInput, ...]
    keep: tuple[str, ...]
    absent: Absent
    parameter: float | None = None
    granularities: tuple[Granularity, ...]
    zone_rules: str = ""
    wait_s: int = WAIT_S

    @property
    def group_by(self) -> tuple[str, ...]:
        """The labels of a group, sorted."""
        return tuple(sorted({*self.keep, "tenant"}))

    @property
    def zone(self) -> str:
        """The name of the zone that calendar granularities follow."""
        return self.zone_rules.partition("|")[0] or "UTC"

    @property
    def kind(self) -> str:
        """Of the histograms that it is made of: `explicit`, `exponential`; empty: numbers."""
        kinds = {"histogram": "explicit", "exponential_histogram": "exponential"}
        return kinds.get(self.inputs[0].instrument, "")

    @property
    def formula(self) -> str:
        """What is computed, in a line, units and their factor left out."""
        names = [one.name for one in self.inputs]
        if self.how == "ratio":
            return f"{names[0]} / {names[1]}"
        if self.how in ("sum", "difference"):
            return (" + " if self.how == "sum" else " - ").join(names)
        if self.how == "mean":
            return f"mean of {names[0]}"
        if self.how == "quantile":
            return f"quantile {self.parameter!r} of {names[0]}"
        return f"share of {names[0]} at most {self.parameter!r} {self.inputs[0].unit}"


def semantics(one: ResolvedDerived) -> dict[str, Any]:
    """What its version is a hash of."""
    fields = asdict(one)
    del fields["version"]
    return {"kind": "Derived", **fields}


def common(
    sizes: Mapping[str, tuple[tuple[Granularity, ...], str]],
) -> tuple[tuple[Granularity, ...], tuple[Granularity, ...]]:
    """Granularities that all have, and those of the calendar that only differ by their zone.

    sizes: By name, granularities and the rules of the zone that those of the calendar follow.
    """
    every = [
        {(size, rules if is_calendar(size) else "") for size in found}
        for found, rules in sizes.values()
    ]
    shared = {size for size, _ in set[tuple[Granularity, str]].intersection(*every)}
    written = [{_as_written(size) for size, _ in each} for each in every]
    meant = set[Granularity].intersection(*written) - {_as_written(size) for size in shared}
    return tuple(sorted(shared, key=order)), tuple(sorted(meant, key=order))


def _as_written(size: Granularity) -> Granularity:
    """A day of a zone is written as any day."""
    return 86_400 if size == "1d" else size
