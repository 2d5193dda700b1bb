"""Aggregates, one file each: exact, and the same to the bit in any order."""

from streams.aggregates.encoding import UnreadableState
from streams.aggregates.port import Aggregate, Points
from streams.aggregates.registry import (
    DuplicateAggregate,
    UnknownAggregate,
    aggregate,
    names,
    register,
)

__all__ = [
    "Aggregate",
    "DuplicateAggregate",
    "Points",
    "UnknownAggregate",
    "UnreadableState",
    "aggregate",
    "names",
    "register",
]
