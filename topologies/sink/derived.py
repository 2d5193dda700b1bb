"""What a derived definition is computed by: SQL over the rows that everybody sees.

Nothing is kept of it, so it can never say otherwise than the rows of its inputs do, and follows
their corrections at once. Rows of several inputs meet by tenant, window and labels, in one pass
over the table; where a row could only be guessed there is none (see `README.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from metric_registry.derived.resolved import DerivedInput, ResolvedDerived
from metric_registry.pages.queries import identifier, literal
from topologies.sink.histograms import SHOWN
from topologies.sink.quantiles import NUMBER, Steps, explicit_quantile, exponential_quantile
from topologies.sink.queries import DEFAULT_LIMIT, QueryClient, conditions_of
from topologies.sink.schema import LATEST, Schema, duration_names

OVERFLOW = "otel.metric.overflow"
MARK = "derived"
"""The comment of a view by which it is told from a definition's own."""
_WINDOW = "tenant, resolution, hop, zone, window_end"
_NS_PER_S = 1_000_000_000


def derived_view(schema: Schema, name: str, select: str) -> str:
    """The statement that makes the view of a derived definition."""
    return (
        f"CREATE OR REPLACE VIEW {schema.database}.{identifier(name)}{schema.on_cluster} AS "
        f"{select} COMMENT '{MARK}'"
    )


def without_view(schema: Schema, name: str) -> str:
    """The statement that takes it away."""
    return f"DROP VIEW IF EXISTS {schema.database}.{identifier(name)}{schema.on_cluster}"


_SHOWN = (
    "rollup", "version", "unit", "tenant", "granularity", "zone", "resolution", "window_start",
    "window_end", "labels", "value", "inputs", "versions", "revisions",
)  # fmt: skip


def query_derived_rows(
    client: QueryClient,
    name: str,
    resolution: int,
    since: datetime,
    until: datetime,
    labels: Mapping[str, str],
    *,
    hop: int = 0,
    zone: str = "",
    limit: int = DEFAULT_LIMIT,
    schema: Schema | None = None,
) -> list[dict[str, Any]]:
    """Rows of the view by their columns, as `queries.query_rollups` has those of a definition."""
    where, parameters = conditions_of(resolution, hop, zone, since, until, labels)
    sql = (
        f"SELECT {', '.join(_SHOWN)} FROM {(schema or Schema()).database}.{identifier(name)} "
        f"WHERE {' AND '.join(where)} ORDER BY window_end, tenant, labels LIMIT {{limit:UInt64}}"
    )
    found = client.query(sql, parameters={**parameters, "limit": limit}).result_rows
    return [dict(zip(_SHOWN, row, strict=True)) for row in found]


def select_of(one: ResolvedDerived, schema: Schema, since: Mapping[str, int] | None = None) -> str:
    """The rows of a derived definition, by the columns of other views as far as it has them.

    `inputs` holds the numbers that it was computed from (of a histogram its count), `versions` and
    `revisions` those of their rows. `version` is empty where an input's row has another version
    than the one that the definition's names.

    since: Name of an input -> unix ns: windows that begin before have rows of other attributes or
        units of it, or none, so that several inputs do not meet in them.
    """
    if one.kind:
        return _of_histogram(one, schema)
    return _of_numbers(one, schema, since or {})


def _of_histogram(one: ResolvedDerived, schema: Schema) -> str:
    (given,) = one.inputs
    name = literal(given.name)
    conditions = [
        f"r.rollup = {name}", "r.is_deleted = 0", f"r.unit = {literal(given.unit)}",
        f"r.histogram = {literal(one.kind)}", "r.count > 0",
    ]  # fmt: skip
    columns = ", ".join(f"r.{column} AS {column}" for column in SHOWN[one.kind].split(", "))
    rows = (
        "SELECT r.tenant AS tenant, r.resolution AS resolution, r.hop AS hop, r.zone AS zone, "
        "r.window_start AS window_start, r.window_end AS window_end, r.labels AS labels, "
        f"r.version AS of_version, r.revision AS of_revision, {columns} "
        f"FROM {schema.rollups} AS r FINAL WHERE {' AND '.join(conditions)}"
    )
    for step in _histogram_value(one):
        named = ", ".join(f"{expression} AS {column}" for column, expression in step)
        rows = f"SELECT *, {named} FROM ({rows})"
    value = _scaled(NUMBER, given)
    shown = _shown(
        one,
        value=value,
        version=f"of_version = {literal(given.version)}",
        inputs=f"map({name}, toFloat64(count))",
        versions=f"map({name}, toString(of_version))",
        revisions=f"map({name}, of_revision)",
    )
    return f"SELECT {shown} FROM ({rows}) WHERE isFinite({value}) {LATEST}"


def _histogram_value(one: ResolvedDerived) -> Steps:
    if one.how == "mean":
        return (((NUMBER, "sum / toFloat64(count)"),),)
    assert one.parameter is not None
    if one.how == "quantile":
        made = explicit_quantile if one.kind == "explicit" else exponential_quantile
        return made(one.parameter)
    below = "arraySum(arraySlice(bucket_counts, 1, at))"
    return (
        (("at", f"indexOf(explicit_bounds, {_double(one.parameter)})"),),
        ((NUMBER, f"if(at = 0, nan, toFloat64({below}) / toFloat64(count))"),),
    )


def _of_numbers(one: ResolvedDerived, schema: Schema, since: Mapping[str, int]) -> str:
    """One pass over the rows of all inputs; those of a window and group become columns.

    Rows are grouped by their labels themselves, not by the hash of these: an aggregate function
    that carries labels along costs five times as much as the grouping, and what is asked of labels
    holds of a key before anything is grouped.
    """
    several = any(given.summed for given in one.inputs)
    labels, over = "r.labels", f"mapContains(r.labels, {literal(OVERFLOW)})" if one.keep else "0"
    if several:
        kept = ", ".join(literal(name) for name in one.group_by)
        labels = f"mapFilter((k, v) -> k IN ({kept}), r.labels)"
    columns = [_columns(at, given) for at, given in enumerate(one.inputs)]
    names = ", ".join(literal(given.name) for given in one.inputs)
    inner = (
        "SELECT r.tenant AS tenant, r.resolution AS resolution, r.hop AS hop, r.zone AS zone, "
        "r.window_end AS window_end, any(r.window_start) AS window_start, "
        f"{labels} AS labels, {over} AS over, "
        f"max(r.recorded_at) AS came, {', '.join(columns)} "
        f"FROM {schema.rollups} AS r FINAL WHERE r.rollup IN ({names}) AND r.is_deleted = 0 "
        f"GROUP BY {_WINDOW}, labels{', over' * several}"
    )
    if beyond := _beyond(one):
        inner = _flagged(one, beyond, inner)
    value = _value(one)
    conditions = [*_conditions(one, since), f"isFinite({value})"]
    if not beyond:
        conditions.append("NOT over")
    if one.how == "ratio":
        conditions.append("value_1 != 0")
    known = (f"(there_{at} = 0 OR version_{at} = {literal(given.version)})"
             for at, given in enumerate(one.inputs))  # fmt: skip
    shown = _shown(
        one,
        value=value,
        version=" AND ".join(known),
        inputs=_map(one, "value"),
        versions=_map(one, "version"),
        revisions=_map(one, "revision"),
    )
    return f"SELECT {shown} FROM ({inner}) WHERE {' AND '.join(conditions)} {LATEST}"


def _beyond(one: ResolvedDerived) -> list[int]:
    """Inputs, by their place, of which groups beyond a limit make others unknown."""
    zero = one.absent == "zero"
    return [at for at, given in enumerate(one.inputs) if one.keep and (given.summed or zero)]


def _flagged(one: ResolvedDerived, beyond: list[int], rows: str) -> str:
    """Groups that are within limits, each with whether those of its window are beyond one.

    Grouped by windows and taken apart again: a window function would sort all of them, labels and
    all, which takes three times as long.
    """
    columns = ["labels", "came"]
    for at, _ in enumerate(one.inputs):
        columns += [f"there_{at}", f"value_{at}", f"revision_{at}", f"version_{at}"]
    columns += [f"least_version_{at}" for at, given in enumerate(one.inputs) if given.summed]
    held = (f"groupArrayIf({column}, NOT over) AS each_{column}" for column in columns)
    flags = (f"max(over AND there_{at} > 0) AS beyond_{at}" for at in beyond)
    windows = (
        f"SELECT {_WINDOW}, any(window_start) AS window_start, {', '.join([*held, *flags])} "
        f"FROM ({rows}) GROUP BY {_WINDOW}"
    )
    return (
        f"SELECT {_WINDOW}, window_start, {', '.join(columns)}, "
        f"{', '.join(f'beyond_{at}' for at in beyond)} FROM ({windows}) "
        f"ARRAY JOIN {', '.join(f'each_{column} AS {column}' for column in columns)}"
    )


def _columns(at: int, given: DerivedInput) -> str:
    """Of one input: how many rows there are, and what they say; NaN where that does not fit.

    Of an input that is added up the numbers are taken in their order, so that the same rows have
    the same sum. Another one has a row of each version, so that two rows are a guess.
    """
    mine = f"r.rollup = {literal(given.name)}"
    odd = f"r.unit != {literal(given.unit)} OR r.histogram != '' OR NOT isFinite(r.value)"
    number = f"if({odd}, nan, r.value)"
    if not given.summed:
        return (
            f"countIf({mine}) AS there_{at}, anyIf({number}, {mine}) AS value_{at}, "
            f"anyIf(r.revision, {mine}) AS revision_{at}, "
            f"anyIf(toString(r.version), {mine}) AS version_{at}"
        )
    return (
        f"countIf({mine}) AS there_{at}, "
        f"arraySum(arraySort(groupArrayIf({number}, {mine}))) AS value_{at}, "
        f"maxIf(r.revision, {mine}) AS revision_{at}, "
        f"toString(maxIf(r.version, {mine})) AS version_{at}, "
        f"toString(minIf(r.version, {mine})) AS least_version_{at}"
    )


def _conditions(one: ResolvedDerived, since: Mapping[str, int]) -> list[str]:
    """When nothing of a row is a guess."""
    found: list[str] = []
    for at, given in enumerate(one.inputs):
        alike = f"version_{at} = least_version_{at}" if given.summed else f"there_{at} <= 1"
        found.append(alike)
        if given.name in since:
            begins = -(-since[given.name] // _NS_PER_S)
            found.append(f"window_start >= fromUnixTimestamp64Second({begins}, 'UTC')")
        if given.summed and one.keep:
            found.append(f"NOT beyond_{at}")
        if one.absent == "none" or (one.how == "ratio" and at == 1):
            found.append(f"there_{at} > 0")
            continue
        zero = [f"came + toIntervalSecond({one.wait_s}) <= now()"]
        if one.keep:
            zero.append(f"NOT beyond_{at}")
        found.append(f"(there_{at} > 0 OR ({' AND '.join(zero)}))")
    return found


def _value(one: ResolvedDerived) -> str:
    if one.how == "ratio":
        of = one.inputs[0]
        return f"(value_0 * {_double(of.p)}) / (value_1 * {_double(of.q)})"
    parts = [_scaled(f"value_{at}", given) for at, given in enumerate(one.inputs)]
    return (" + " if one.how == "sum" else " - ").join(parts)


def _scaled(value: str, given: DerivedInput) -> str:
    over = value if given.p == 1 else f"{value} * {_double(given.p)}"
    return over if given.q == 1 else f"({over}) / {_double(given.q)}"


def _shown(
    one: ResolvedDerived, *, value: str, version: str, inputs: str, versions: str, revisions: str
) -> str:
    """The columns, in the order of other views."""
    return (
        f"tenant, {literal(one.name)} AS rollup, if({version}, {literal(one.version)}, '') AS "
        f"version, {literal(one.unit)} AS unit, {duration_names()} AS granularity, zone, "
        f"resolution, hop, window_start, window_end, labels, {value} AS value, "
        f"{inputs} AS inputs, {versions} AS versions, {revisions} AS revisions"
    )


def _map(one: ResolvedDerived, column: str) -> str:
    """Name -> what the input says, of those that say something."""
    names = [literal(given.name) for given in one.inputs]
    pairs = (f"{name}, {column}_{at}" for at, name in enumerate(names))
    if one.absent == "none":  # no row but of all
        return f"map({', '.join(pairs)})"
    there = ", ".join(f"there_{at}" for at in range(len(names)))
    said = ", ".join(f"{column}_{at}" for at in range(len(names)))
    kept = (f"arrayFilter((x, n) -> n > 0, [{of}], [{there}])" for of in (", ".join(names), said))
    return f"mapFromArrays({', '.join(kept)})"


def _double(number: float) -> str:
    return f"toFloat64({number!r})"
