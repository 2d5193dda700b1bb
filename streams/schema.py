"""What the columns of a stream are called and hold; checked when a topology is built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["i64", "f64", "bool", "string", "bytes", "time"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class TopologyError(ValueError):
    """A topology cannot be built. The message names operator and column and says what to do."""


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a column. `nullable`: whether rows may have no value.

    `i64` wraps past 64 bits; `f64` is a double; `time` is unix nanoseconds; `string` is UTF-8.
    """

    kind: Kind
    nullable: bool = False

    @property
    def optional(self) -> Type:
        """The same type, where rows may have no value."""
        return replace(self, nullable=True)

    @property
    def required(self) -> Type:
        """The same type, where every row has a value."""
        return replace(self, nullable=False)

    @property
    def is_text(self) -> bool:
        """Whether rows are byte strings."""
        return self.kind in ("string", "bytes")

    @property
    def is_number(self) -> bool:
        return self.kind in ("i64", "f64")

    def __str__(self) -> str:
        return f"{self.kind}?" if self.nullable else self.kind


i64 = Type("i64")
f64 = Type("f64")
boolean = Type("bool")
string = Type("string")
binary = Type("bytes")
time = Type("time")


class Schema(Mapping[str, Type]):
    """Names and types of columns, in their order.

    >>> Schema(shop=string, amount=f64.optional)
    Schema(shop: string, amount: f64?)
    """

    def __init__(self, columns: Mapping[str, Type] | None = None, /, **named: Type) -> None:
        """Raises `TopologyError` for a name that is no identifier, or a type that is none."""
        self._columns = dict(columns or {}, **named)
        for name, kind in self._columns.items():
            if not _NAME.fullmatch(name):
                raise TopologyError(
                    f"a column cannot be called {name!r}: use letters, digits and _"
                )
            if not isinstance(kind, Type):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TopologyError(
                    f"column {name!r} has the type {kind!r}; use i64, f64, boolean, string, "
                    "binary or time of streams.schema"
                )

    def __getitem__(self, name: str) -> Type:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"Schema({', '.join(f'{name}: {kind}' for name, kind in self.items())})"

    def __or__(self, other: Mapping[str, Type]) -> Schema:
        """Both; columns of `other` replace those of the same name in place."""
        return Schema({**self._columns, **other})
