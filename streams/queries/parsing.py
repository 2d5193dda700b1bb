"""A question as people write it: names and texts, as of a URL, checked against the store."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from streams.event_time.windows import EARLIEST, LATEST, SECOND
from streams.operators.keys import pack
from streams.queries.answers import Bound, place_of
from streams.queries.questions import QueryError, Question
from streams.queries.shapes import StoreShape
from streams.schema import Type
from streams.values import values_of

MOST_ROWS = 10_000
MOST_WAIT_MS = 30_000
OPTIONS = ("from", "to", "limit", "next", "min_position", "wait_ms", "null")


@dataclass(frozen=True, slots=True)
class Asking:
    """A question, its whole key if it has one, and how long to wait for what it must be valid at.

    `bound`: by `topic/partition`, the least position.
    """

    shape: StoreShape
    question: Question
    key: Mapping[str, Any] | None
    bound: Bound
    wait_ms: int


def found_store(stores: Mapping[str, StoreShape], name: str) -> StoreShape:
    """The store of this name. Raises `QueryError` with those that exist."""
    if name in stores:
        return stores[name]
    close = difflib.get_close_matches(name, stores, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    message = f"there is no store {name!r}{hint}; there are {', '.join(stores) or 'none'}"
    raise QueryError(404, "unknown-store", message, stores=list(stores))


def parse(shape: StoreShape, given: Mapping[str, str]) -> Asking:
    """What is asked, by names and texts. Raises `QueryError`.

    A name is a key column (or `key.COLUMN`, where a column is called like an option) or an option:
    `from` and `to` (windows with ends in (from, to]; unix ns or RFC 3339), `limit`, `next` (of the
    page before), `min_position` (`topic/partition:offset`, several with commas), `wait_ms`, `null`
    (key columns without a value, several with commas).
    """
    values = _key_values(shape, given)
    whole = bool(shape.keys) and set(values) == set(shape.keys)
    limit = number_in(given, "limit", 100, 1, MOST_ROWS)
    question = Question(
        shape.name,
        _packed(shape, values) if whole else None,
        {} if whole else values,
        _time(shape, given, "from", EARLIEST),
        _time(shape, given, "to", LATEST),
        limit,
        behind_in(given),
    )
    wait_ms = number_in(given, "wait_ms", 2_000, 0, MOST_WAIT_MS)
    return Asking(shape, question, values if whole else None, bound_in(given), wait_ms)


def _key_values(shape: StoreShape, given: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, text in given.items():
        column = name.removeprefix("key.")
        if name in OPTIONS:
            continue
        kind = shape.keys.get(column)
        if kind is None:
            raise _wrong(shape, f"{name!r} is neither a key column nor an option")
        try:
            values[column] = _value(kind, text)
        except ValueError as error:
            raise _wrong(shape, f"{name}={text!r} is no {kind}: {error}") from error
    for column in filter(None, given.get("null", "").split(",")):
        if column not in shape.keys or not shape.keys[column].nullable:
            raise _wrong(shape, f"null={column!r} names no key column that may have no value")
        values[column] = None
    return values


def _wrong(shape: StoreShape, message: str) -> QueryError:
    columns = {name: str(kind) for name, kind in shape.keys.items()}
    there = ", ".join(f"{name} ({kind})" for name, kind in columns.items()) or "none"
    return QueryError(
        400, "wrong-key", f"{message}; the key columns of {shape.name} are {there}, "
        f"options are {', '.join(OPTIONS)}", keys=columns,
    )  # fmt: skip


def _value(kind: Type, text: str) -> Any:
    match kind.kind:
        case "i64":
            found = int(text)
        case "time":
            found = time_of(text)
        case "bool":
            if text not in ("true", "false"):
                raise ValueError("write true or false")
            return text == "true"
        case "bytes":
            return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()
        case _:
            return text
    if not -(1 << 63) <= found < 1 << 63:
        raise ValueError("it has more than 64 bits")
    return found


def time_of(text: str) -> int:
    """Unix ns, of digits or RFC 3339. Raises `ValueError`."""
    try:
        return int(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("say in which zone, as in 2026-11-22T05:00:00Z")
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * SECOND + moment.microsecond * 1_000


def _packed(shape: StoreShape, values: Mapping[str, Any]) -> bytes:
    if shape.kind == "bytes":
        return values["key"]
    columns = [values_of(kind, [values[name]]) for name, kind in shape.keys.items()]
    return pack(columns, 1).data.tobytes()


def _time(shape: StoreShape, given: Mapping[str, str], name: str, default: int) -> int:
    if name in given and shape.windows is None:
        raise QueryError(400, "no-windows", f"{name}: {shape.name} has no windows")
    return time_in(given, name, default)


def time_in(given: Mapping[str, str], name: str, default: int) -> int:
    """A time that may be given, unix ns. Raises `QueryError`."""
    if name not in given:
        return default
    try:
        return time_of(given[name])
    except ValueError as error:
        message = f"{name}={given[name]!r} is no time: unix ns, or RFC 3339 ({error})"
        raise QueryError(400, "wrong-time", message) from error


def number_in(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A number that may be given, within bounds. Raises `QueryError`."""
    text = given.get(name, str(default))
    if not text.isdecimal() or not least <= int(text) <= most:
        message = f"{name}={text!r} is no number from {least} to {most}"
        raise QueryError(400, "wrong-option", message)
    return int(text)


def behind_in(given: Mapping[str, str]) -> tuple[int, int] | None:
    """Where an earlier page came to, of `next`. Raises `QueryError`."""
    if "next" not in given:
        return None
    try:
        return place_of(given["next"])
    except ValueError as error:
        message = f"next={given['next']!r} is not what an answer said under `next`"
        raise QueryError(400, "wrong-option", message) from error


def bound_in(given: Mapping[str, str]) -> Bound:
    """What `min_position` says. Raises `QueryError`."""
    found: dict[str, int] = {}
    for part in filter(None, given.get("min_position", "").split(",")):
        name, _, offset = part.rpartition(":")
        if not name or not offset.isdecimal():
            message = f"min_position={part!r}: write it like orders/0:1234"
            raise QueryError(400, "wrong-option", message)
        found[name] = int(offset)
    return found
