"""What of a definition differs, field by field, as definitions write it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from metric_registry.differences.shape import COLUMNS, adds_up
from metric_registry.durations import render, render_seconds
from metric_registry.explain import made_of, reads
from metric_registry.granularities import Granularity, is_calendar, text_of
from metric_registry.plan import ResolvedDefinition


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that differs. effect: what that does; semantic: it makes a new version."""

    field: str
    before: str
    after: str
    effect: str
    semantic: bool


def field_changes(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    """Every field that differs, in the order in which definitions write them."""
    for field, words, effect in _PLAIN:
        before, after = words(was), words(now)
        if before != after:
            yield FieldChange(field, before, after, effect, semantic=True)
    for changes in (
        _attributes,
        _tables,
        _unit,
        _labels,
        _windows,
        _waiting,
        _aggregate,
        _limit,
        _publication,
    ):
        yield from changes(was, now)


Words = Callable[[ResolvedDefinition], str]
_OTHER_STREAMS = "other streams are counted: rows may come, go and have other numbers"


def _where(one: ResolvedDefinition) -> str:
    said = (f"{name}: {_list(values)}" for name, values in one.where)
    return "{" + ", ".join(said) + "}"


def _made(one: ResolvedDefinition) -> str:
    return "; ".join(map(made_of, one.attributes)) or "none"


_PLAIN: tuple[tuple[str, Words, str], ...] = (
    ("source", reads, _OTHER_STREAMS),
    (
        "source.instrument",
        lambda one: one.source_instrument.replace("_", " ") or "numbers",
        "points of another kind are counted, and of those before none",
    ),
    ("source.where", _where, _OTHER_STREAMS),
    (
        "source.unit",
        lambda one: one.source_unit,
        "values of points that do not say their unit are read in another one",
    ),
)


def _attributes(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    """But for the content of tables."""
    before, after = _made(was), _made(now)
    steps = [[replace(each, table=None) for each in one.attributes] for one in (was, now)]
    looked_up = [[each.name for each in one.attributes if each.table] for one in (was, now)]
    if steps[0] != steps[1] or looked_up[0] != looked_up[1]:
        yield FieldChange("source.attributes", before, after, _OTHER_GROUPS, semantic=True)


def _tables(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    """Tables with another content: which keys, and of a few what they become."""
    before = {each.name: each for each in was.attributes if each.table is not None}
    for made in now.attributes:
        old = before.get(made.name)
        if old is None or old.table is None or made.table is None or old.table == made.table:
            continue
        said = [
            f"{one.column}, {_keys(len(one.table.entries))}" for one in (old, made) if one.table
        ]
        effect = f"{_keys_changed(old.table.entries, made.table.entries)}: {_OTHER_GROUPS}"
        yield FieldChange(f"source.attributes.{made.name}", said[0], said[1], effect, semantic=True)


_OTHER_GROUPS = "streams fall into other groups, or meet other conditions"
_KEYS_SHOWN = 3


def _keys_changed(was: Mapping[str, str], now: Mapping[str, str]) -> str:
    """`2 keys added (c8, c9), 1 changed (c1: gold -> silver)`."""
    added = [f"{key}: {now[key]}" for key in sorted(now.keys() - was.keys())]
    gone = [f"{key}: {was[key]}" for key in sorted(was.keys() - now.keys())]
    both = sorted(was.keys() & now.keys())
    other = [f"{key}: {was[key]} -> {now[key]}" for key in both if was[key] != now[key]]
    parts: list[str] = []
    for what, found in (("added", added), ("changed", other), ("removed", gone)):
        if found:
            more = ", ..." if len(found) > _KEYS_SHOWN else ""
            shown = ", ".join(found[:_KEYS_SHOWN])
            parts.append(f"{_keys(len(found))} {what} ({shown}{more})")
    return ", ".join(parts)


def _keys(number: int) -> str:
    return f"{number:,} key{'' if number == 1 else 's'}"


def _unit(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    if was.unit != now.unit:
        effect = f"values are in {now.unit}: thresholds and panels for {was.unit} are wrong"
        yield FieldChange("unit", was.unit, now.unit, effect, semantic=True)
    elif was.read_unit != now.read_unit:
        effect = "values are counted in another unit, and what is published of them has the same"
        yield FieldChange("unit", was.read_unit, now.read_unit, effect, semantic=False)


def _labels(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    lost = sorted(set(was.keep) - set(now.keep))
    won = sorted(set(now.keep) - set(was.keep))
    effects: list[str] = []
    if lost:
        effects.append(f"rows lose {_names(lost)}: who selects or groups by it finds nothing")
    if won:
        effects.append(f"rows gain {_names(won)}: what was one row may be several")
    if effects:
        before, after = _list(was.keep), _list(now.keep)
        yield FieldChange("space.keep", before, after, "; ".join(effects), semantic=True)


def _windows(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    before, after = (list(map(text_of, one.granularities)) for one in (was, now))
    effects: list[str] = []
    if lost := [text for text in before if text not in after]:
        effects.append(f"there are no more rows of {', '.join(lost)}")
    if won := [text for text in after if text not in before]:
        effects.append(f"rows of {', '.join(won)} begin with their first whole window")
    if was.finest != now.finest:
        late = render(now.corrections_ns)
        effects.append(f"of points about {late} late others count, by the finest windows")
    if effects:
        yield FieldChange(
            "time.granularities", _list(before), _list(after), "; ".join(effects), semantic=True
        )
    calendar = [one for one in (was, now) if any(map(is_calendar, one.granularities))]
    if was.zone_rules != now.zone_rules and (was.zone != now.zone or len(calendar) == 2):
        effect = "days, weeks and months begin and end at other times"
        names = was.zone, now.zone
        if was.zone == now.zone:
            effect = f"the rules of {now.zone} are others: " + effect
            names = "its rules before", "its rules now"
        yield FieldChange("time.zone", *names, effect, semantic=True)


def _waiting(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    if was.grace_ns != now.grace_ns:
        effect = f"windows are published {render(now.grace_ns)} after their end, with what came"
        before, after = render(was.grace_ns), render(now.grace_ns)
        yield FieldChange("time.grace", before, after, effect, semantic=True)
    if was.corrections_ns != now.corrections_ns:
        before, after = render(was.corrections_ns), render(now.corrections_ns)
        effect = f"points count that come up to {after} late"
        yield FieldChange("time.corrections", before, after, effect, semantic=True)


def _aggregate(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    before, after = _how(was), _how(now)
    if before == after and was.instrument == now.instrument:
        return
    effect = "the numbers mean something else"
    if was.instrument != now.instrument:
        kinds = [one.instrument.replace("_", " ") for one in (was, now)]
        effect = f"what was a {kinds[0]} on the final topic is a {kinds[1]}"
        columns = [COLUMNS.get(one.instrument, ()) for one in (was, now)]
        gone = [name for name in columns[0] if name not in columns[1]]
        come = [name for name in columns[1] if name not in columns[0]]
        effect += f"; the view loses {_names(gone)}" if gone else ""
        effect += f"; the view gains {_names(come)}" if come else ""
    yield FieldChange("aggregate", before, after, effect, semantic=True)


def _how(one: ResolvedDefinition) -> str:
    if one.over_points:
        return f"{one.over_points} over points"
    return f"{one.over_time} over time, {one.over_space} over space"


def _limit(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    if was.series_limit != now.series_limit:
        before, after = f"{was.series_limit:,}", f"{now.series_limit:,}"
        effect = "so many groups of a tenant and window have rows, the others are one"
        yield FieldChange("limits.series", before, after, effect, semantic=True)


def _publication(was: ResolvedDefinition, now: ResolvedDefinition) -> Iterator[FieldChange]:
    for field, words, effects in _SWITCHES:
        before, after = words(was), words(now)
        if before != after:
            texts = ("true" if before else "false", "true" if after else "false")
            yield FieldChange(field, *texts, effects[after], semantic=False)
    if was.publish_temporality != now.publish_temporality and adds_up(now):
        effect = f"points of the final topic are {now.publish_temporality}"
        yield FieldChange(
            "publish.temporality", was.publish_temporality, now.publish_temporality, effect,
            semantic=False,
        )  # fmt: skip
    if was.publish_late != now.publish_late:
        carried = now.publish_late == "carry"
        effect = "what late points change is " + (
            "also added to the next point of the final topic" if carried else "in tables alone"
        )
        yield FieldChange(
            "publish.late", was.publish_late, now.publish_late, effect, semantic=False
        )
    yield from _by_size(was.publish_expire_after, now.publish_expire_after, "expire_after")
    yield from _by_size(was.retention, now.retention, "keep")


_SWITCHES: tuple[tuple[str, Callable[[ResolvedDefinition], bool], tuple[str, str]], ...] = (
    (
        "publish.final",
        lambda one: one.publish_final,
        ("the final topic gets no more points of it", "the final topic gets its points"),
    ),
    (
        "publish.upsert",
        lambda one: one.publish_upsert,
        (
            "the upsert topic gets no more of its rows; the last ones stay",
            "the upsert topic gets its rows, from their next change on",
        ),
    ),
)


def _by_size(
    was: Iterable[tuple[Granularity, int]], now: Iterable[tuple[Granularity, int]], field: str
) -> Iterator[FieldChange]:
    """Of granularities that both have."""
    after = {text_of(size): value for size, value in now}
    for text, then in ((text_of(size), value) for size, value in was):
        here = after.get(text, then)
        if then == here:
            continue
        name = f"publish.{field}.{text}"
        if field == "keep":
            effect = f"it asks for rows of {text} {render_seconds(here)} long"
            yield FieldChange(
                name, render_seconds(then), render_seconds(here), effect, semantic=False
            )
        else:
            effect = f"a series of {text} ends after {here} windows without data"
            yield FieldChange(name, str(then), str(here), effect, semantic=False)


def _list(values: Iterable[str]) -> str:
    return f"[{', '.join(values)}]"


def _names(values: Iterable[str]) -> str:
    return ", ".join(f"`{value}`" for value in values)
