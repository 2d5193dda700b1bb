"""What becomes of a definition's rows and series, granularity by granularity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from metric_registry.differences.numbers import (
    Numbers,
    in_tables,
    on_the_final_topic,
)
from metric_registry.differences.shape import (
    Series,
    contract,
    is_cumulative,
    series_of,
)
from metric_registry.granularities import Granularity, is_calendar, order, text_of
from metric_registry.plan import ResolvedDefinition

Rows = Literal["begin", "end", "go on", "new version"]
"""new version: rows of windows that begin at the change or later have it, earlier ones stay."""
Becomes = Literal["none", "begin", "end", "go on", "new run", "replaced"]
"""Of series. new run: the same series, whose sums begin at zero. replaced: others begin beside the
old ones. Of keys of the upsert topic, likewise."""
Ending = Literal["", "expire", "stop"]
"""How series end. expire: zeros, where they add up, and a point without a value. stop: without a
word."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one granularity.

    Attributes:
        rows: Of the tables, and numbers of their latest revisions.
        lost, gained: Labels that rows of the tables had, and will have.
        moved: Whether windows begin and end at other times.
        series: Of the final topic; before, after: which; points: their numbers.
        ending: Of the old series; after so many windows without data.
        forgets: Whether series of which there is no data at the change end without a word.
        upserts: Keys of the upsert topic.
    """

    granularity: str
    rows: Rows
    numbers: Numbers
    lost: tuple[str, ...]
    gained: tuple[str, ...]
    moved: bool
    series: Becomes
    before: Series | None
    after: Series | None
    points: Numbers
    ending: Ending
    expire_after: int
    forgets: bool
    upserts: Becomes

    @property
    def breaks(self) -> bool:
        """Whether something that somebody reads ends, or looks otherwise."""
        ends = self.rows == "end" or "end" in (self.series, self.upserts)
        return ends or bool(self.lost or self.gained) or self.moved or self._looks_otherwise

    @property
    def _looks_otherwise(self) -> bool:
        before, after = self.before, self.after
        if before is None or after is None:
            return False
        return _but_version(before) != _but_version(after)


def _but_version(one: Series) -> tuple[object, ...]:
    return one.name, one.zone, one.unit, one.data, one.temporality, one.monotonic, one.labels


def outcomes(was: ResolvedDefinition | None, now: ResolvedDefinition | None) -> tuple[Outcome, ...]:
    """Of every granularity that either has, finer ones first."""
    before = {text_of(one.size): one for one in _sizes(was)}
    after = {text_of(one.size): one for one in _sizes(now)}
    every = sorted({**before, **after}.items(), key=lambda item: order(item[1].size))
    return tuple(_outcome(text, before.get(text), after.get(text)) for text, _ in every)


@dataclass(frozen=True, slots=True)
class _At:
    """A definition at one of its granularities."""

    one: ResolvedDefinition
    size: Granularity

    @property
    def series(self) -> Series | None:
        return series_of(self.one, self.size)


def _sizes(one: ResolvedDefinition | None) -> list[_At]:
    return [] if one is None else [_At(one, size) for size in one.granularities]


def _outcome(text: str, was: _At | None, now: _At | None) -> Outcome:
    if was is not None and now is not None:
        return _goes_on(text, was, now)
    before = None if was is None else was.series
    after = None if now is None else now.series
    there = was or now
    assert there is not None
    which: Becomes = "begin" if was is None else "end"
    return Outcome(
        granularity=text,
        rows="begin" if was is None else "end",
        numbers="",
        lost=(),
        gained=(),
        moved=False,
        series="none" if before is None and after is None else which,
        before=before,
        after=after,
        points="",
        ending="" if before is None else "expire",
        expire_after=0 if was is None else _expiry(was),
        forgets=False,
        upserts=which if there.one.publish_upsert else "none",
    )


def _goes_on(text: str, was: _At, now: _At) -> Outcome:
    """Of a granularity that both have."""
    before, after = was.series, now.series
    same = was.one.version == now.one.version
    anew = contract(was.one) != contract(now.one)
    series = _series(was, now)
    both = before is not None and after is not None
    given = was.one, now.one, was.size, now.size
    rules = was.one.zone_rules != now.one.zone_rules
    ends = series in ("end", "replaced")
    return Outcome(
        granularity=text,
        rows="go on" if same else "new version",
        numbers=in_tables(*given),
        lost=tuple(sorted(set(was.one.keep) - set(now.one.keep))),
        gained=tuple(sorted(set(now.one.keep) - set(was.one.keep))),
        moved=was.size != now.size or (is_calendar(now.size) and rules),
        series=series,
        before=before,
        after=after,
        points=on_the_final_topic(*given) if both else "",
        ending="" if not ends else "stop" if same else "expire",
        expire_after=_expiry(was),
        forgets=anew and series in ("go on", "new run"),
        upserts=_upserts(was.one, now.one),
    )


def _series(was: _At, now: _At) -> Becomes:
    before, after = was.series, now.series
    if before is None or after is None:
        return "none" if before == after else "begin" if before is None else "end"
    if before != after:
        return "replaced"
    anew = contract(was.one) != contract(now.one)
    return "new run" if anew and after.temporality and is_cumulative(now.one) else "go on"


def _upserts(was: ResolvedDefinition, now: ResolvedDefinition) -> Becomes:
    if not (was.publish_upsert and now.publish_upsert):
        return "end" if was.publish_upsert else "begin" if now.publish_upsert else "none"
    return "go on" if was.version == now.version else "replaced"


def _expiry(was: _At) -> int:
    return dict(was.one.publish_expire_after)[was.size]
