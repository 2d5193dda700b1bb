"""Since when a definition counts that comes while a change of partitions is announced.

Windows lie on one side of a change, or are not published. Those of the definitions that were there
when it was announced end at its time; one that comes later, with windows that do not, counts from
that time on.
"""

from __future__ import annotations

from collections.abc import Iterable

from metric_registry.plan import ResolvedDefinition
from streams.event_time.levels import window_end
from topologies.epochs import Epochs, Listed
from topologies.windows import level_of


def levels_of(definitions: Iterable[ResolvedDefinition]) -> list[int]:
    """The levels of all windows that these definitions compute."""
    return sorted({level_of(size, d.zone_rules) for d in definitions for size in d.granularities})


def crossed(definition: ResolvedDefinition, since: int, epochs: Epochs) -> list[Listed]:
    """The epochs that begin inside of a window which the definition counts from `since` (unix ns).

    Windows that overlap lie in two epochs whenever these begin; they are not meant.
    """
    levels = levels_of([definition])
    return [
        epoch
        for epoch in epochs.later
        if epoch.since > since
        and any(window_end(epoch.since, level) != epoch.since for level in levels)
    ]


def counts_from(definition: ResolvedDefinition, since: int, epochs: Epochs) -> int:
    """From when (unix ns) a new definition counts that could from `since` on."""
    across = crossed(definition, since, epochs)
    return across[-1].since if across else since
