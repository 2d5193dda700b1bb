"""What a rule is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from metric_registry.durations import UNITS_NS
from metric_registry.fields import Problem
from metric_registry.layers import Merged
from metric_registry.lookups import Lookup, Lookups
from metric_registry.models import MetricDefinition
from metric_registry.over_points import Own
from metric_registry.resolve import steps_of
from metric_registry.syntax.nodes import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the installation can hold; a definition that asks for more is refused."""

    raw_retention_ns: int = 7 * UNITS_NS["d"]
    """How long the raw topic keeps points."""
    longest_grace_ns: int = UNITS_NS["h"]
    most_series: int = 10_000_000
    most_definitions: int = 65_535
    """Messages carry a definition's index as u16."""
    largest_file: int = 4 << 20
    """Bytes."""
    environment: str = ""
    """The one in which definitions are resolved; empty: none."""
    own_aggregates: Mapping[str, Own] = field(default_factory=dict[str, Own])
    """Aggregates over points that users have added, by name."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A definition whose fields are valid, with the documents it was written in."""

    definition: MetricDefinition
    merged: Merged
    settings: Settings
    lookups: Lookups = field(default_factory=dict[str, Lookup | None])

    @property
    def root(self) -> Node:
        """With all that the definition takes over."""
        return self.merged.root

    @property
    def steps(self) -> tuple[str, str, str] | None:
        """See `resolve.steps_of`."""
        instrument = self.definition.source.instrument or ""
        return steps_of(self.definition.aggregate, self.settings.own_aggregates, instrument)


Rule = Callable[[Subject], Iterator[Problem]]
