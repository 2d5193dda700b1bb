"""What a live source says a lookup's table is: records of a compacted topic, or rows of a query.

Both are JSON and become texts alike: a number is the text that stands in the JSON, digit by digit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, cast

MOST_HELD = 256 << 20
"""Bytes of keys and values that are held while a topic is read."""
_OF_A_KEY = 128
"""Bytes that a key takes beside its texts, about."""
_SHOWN = 60


class NotATable(ValueError):
    """What a source says cannot be a lookup's table; the message says where, and the way out."""


class Number(str):
    """A number, as its JSON writes it."""

    __slots__ = ()


Json: TypeAlias = "str | Number | bool | list[Json] | dict[str, Json] | None"
"""What JSON is read as."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """Rows by key: column -> JSON value. columns: all that the source has; None: it has no rows
    that would tell.
    """

    rows: Mapping[str, Mapping[str, object]]
    columns: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class _Last:
    """The last record of a key in a partition."""

    offset: int
    value: bytes | None


@dataclass(slots=True)
class LastRecords:
    """The last record of each key of a topic, taken one after the other in each partition's order.

    topic: its name, for messages.
    """

    topic: str
    _last: dict[bytes, dict[int, _Last]] = field(
        default_factory=dict[bytes, dict[int, _Last]], init=False
    )
    _held: int = field(default=0, init=False)

    def take(self, partition: int, offset: int, key: bytes | None, value: bytes | None) -> None:
        """The next record. value: None deletes the key.

        Raises:
            NotATable: It has no key, or there is more than a table can come of.
        """
        if not key:
            raise NotATable(
                f"{self.topic}/{partition}@{offset} has no key, so it is no row of a table: name a "
                "topic whose records are keyed as the table is"
            )
        if key not in self._last:
            self._last[key] = {}
            self._held += len(key) + _OF_A_KEY
        of_key = self._last[key]
        before = of_key.get(partition)
        self._held += len(value or b"") - len((before and before.value) or b"")
        of_key[partition] = _Last(offset, value)
        if self._held > MOST_HELD:
            raise NotATable(
                f"{self.topic} has more than {MOST_HELD >> 20} MiB of keys and values up to "
                f"{self.topic}/{partition}@{offset}: no table is so large; is it the right topic?"
            )

    def table(self, key_column: str) -> SourceTable:
        """What they come to.

        Raises:
            NotATable: A record is no row; the message has its place and key.
        """
        rows: dict[str, Mapping[str, object]] = {}
        for key, of_key in self._last.items():
            partition, last = self._newest(key, of_key)
            if last.value is None:
                continue
            where = f"{self.topic}/{partition}@{last.offset}"
            try:
                text = key.decode()
                row = json_object(last.value)
            except UnicodeDecodeError:
                raise NotATable(f"{where}: the key {key[:_SHOWN]!r} is not UTF-8") from None
            except ValueError as error:
                raise NotATable(
                    f"{where}, key {shown(text_of(key))}: {error}; send the row anew, or a record "
                    "without a value, which deletes it"
                ) from None
            said = row.get(key_column)
            if said is not None and _scalar(said) != text:
                raise NotATable(
                    f"{where}, key {shown(text)}: its `{key_column}` is {shown(str(said))}, and "
                    "that is another key: which of the two is meant nobody can tell"
                )
            rows[text] = row
        columns = frozenset(name for row in rows.values() for name in row)
        return SourceTable(rows, columns if rows else None)

    def _newest(self, key: bytes, of_key: Mapping[int, _Last]) -> tuple[int, _Last]:
        if len({last.value for last in of_key.values()}) > 1:
            places = " and ".join(
                f"{self.topic}/{partition}@{last.offset}"
                for partition, last in sorted(of_key.items())
            )
            raise NotATable(
                f"the key {shown(text_of(key))} stands in several partitions and differs, at "
                f"{places}: which is newer nobody can tell; send each key to one partition"
            )
        partition = min(of_key)
        return partition, of_key[partition]


def of_result(lines: Sequence[bytes], key_column: str) -> SourceTable:
    """The rows of a query: a JSON array of names, and one of values for each row.

    Raises:
        NotATable: The first column is not the key's, or a key stands twice or is null.
    """
    try:
        names, *every = (_array(line) for line in lines)
    except ValueError as error:
        raise NotATable(f"the store's answer is unreadable: {error}") from None
    columns = [str(name) for name in names]
    if columns[0] != key_column:
        raise NotATable(
            f"the first column of the query is `{columns[0]}`, and the table's key "
            f"`{key_column}`: select the key first, and name it (`... AS {key_column}`)"
        )
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise NotATable(f"two columns of the query are called `{twice[0]}`: rename one of the two")
    rows: dict[str, Mapping[str, object]] = {}
    for number, values in enumerate(every, 1):
        key = values[0]
        if key is None:
            raise NotATable(f"row {number:,} of the query has no key: leave out what has none")
        text = _scalar(key)
        if text is None:
            raise NotATable(f"row {number:,} of the query: its key is {_kind(key)}")
        if text in rows:
            raise NotATable(
                f"the query has two rows of the key {shown(text)}: which of them counts nobody "
                "could tell; group by the key"
            )
        rows[text] = dict(zip(columns, values, strict=True))
    return SourceTable(rows, frozenset(columns))


def json_object(data: bytes) -> Mapping[str, object]:
    """A JSON object. Raises ValueError, which says what is wrong with it."""
    found = _json(data)
    if not isinstance(found, dict):
        raise ValueError(f"the value is {_kind(found)}, and no JSON object")
    return found


def cell(value: object) -> str:
    """What stands in a table for a JSON value; nothing for null.

    Raises:
        ValueError: It is an object or an array, or text that is no Unicode.
    """
    text = "" if value is None else _scalar(value)
    if text is None:
        raise ValueError(f"is {_kind(value)}: a cell is a text, a number, true, false or null")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no text") from None
    return text


def shown(text: str) -> str:
    """A text of a source, for a message: short, on one line, and quoted."""
    return f"`{plain(text)}`" if text.isprintable() else plain(text)


def plain(text: str) -> str:
    """A text of a source, for a list of many: short, on one line, quoted if it must be."""
    short = text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
    return short if text.isprintable() else repr(short)


def text_of(key: bytes) -> str:
    """A key for a message, whatever its bytes."""
    return key.decode("utf-8", "replace")


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    return "a number" if isinstance(value, Number) else "a single value"


def _array(line: bytes) -> Sequence[object]:
    found = _json(line)
    if not isinstance(found, list) or not found:
        raise ValueError(f"{shown(line.decode('utf-8', 'replace'))} is no row")
    return found


def _json(data: bytes) -> Json:
    try:
        found = json.loads(
            data.decode(),
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_number,
            object_pairs_hook=_members,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise ValueError("no row of a table: it is nested too deeply") from None
    return cast(Json, found)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        left = iter(found)  # in order of their first place
        twice = next(name for name, _ in pairs if name != next(left, None))
        raise ValueError(f"{shown(twice)} stands in it twice")
    return found


def _no_number(text: str) -> object:
    raise ValueError(f"no JSON: {text} is no number")
