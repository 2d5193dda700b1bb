"""Typed expressions over columns: checked against a schema, evaluated over whole columns.

    col("price") * col("quantity")
    (col("country") == "FR") & col("email").starts_with("a")
    when(col("price") > 100).then("dear").otherwise("cheap")

Rows without a value (null), as in SQL: arithmetic and comparison with null is null; `&`, `|`, `~`
follow three-valued logic (False & null is False); a condition that is null does not hold, in
`where` as in `when`. `i64` wraps past 64 bits; `//` and `%` round down and give null for a divisor
of zero; `/` is a division of doubles; integers meet doubles as doubles (inexact past 2**53).
Strings know `==`, `!=`, `is_in`, `starts_with`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, cast

import numpy as np

from streams import schema as types
from streams.batch import Array, BytesColumn
from streams.expressions import texts
from streams.expressions.rules import (
    CASTS,
    advice,
    both,
    common_type,
    computed,
    logic,
    made,
    result_type,
)
from streams.schema import Schema, TopologyError, Type
from streams.values import Bools, Values, constant, masked

Rows: TypeAlias = Mapping[str, Values]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Expr:
    """An expression. Operators make larger ones; nothing is computed before `evaluate`."""

    __hash__ = object.__hash__

    def type_in(self, schema: Schema) -> Type:
        """What it holds over such rows. Raises `TopologyError`."""
        raise NotImplementedError

    def evaluate(self, rows: Rows, n: int) -> Values:
        """The n rows of its column."""
        raise NotImplementedError

    def columns(self) -> set[str]:
        """The columns it reads."""
        return set()

    def __bool__(self) -> bool:
        raise TypeError("an expression is no truth value: use &, | and ~, with brackets")

    def __add__(self, other: Any) -> Expr:
        return Binary("+", self, lit(other))

    def __radd__(self, other: Any) -> Expr:
        return Binary("+", lit(other), self)

    def __sub__(self, other: Any) -> Expr:
        return Binary("-", self, lit(other))

    def __rsub__(self, other: Any) -> Expr:
        return Binary("-", lit(other), self)

    def __mul__(self, other: Any) -> Expr:
        return Binary("*", self, lit(other))

    def __rmul__(self, other: Any) -> Expr:
        return Binary("*", lit(other), self)

    def __truediv__(self, other: Any) -> Expr:
        return Binary("/", self, lit(other))

    def __rtruediv__(self, other: Any) -> Expr:
        return Binary("/", lit(other), self)

    def __floordiv__(self, other: Any) -> Expr:
        return Binary("//", self, lit(other))

    def __mod__(self, other: Any) -> Expr:
        return Binary("%", self, lit(other))

    def __neg__(self) -> Expr:
        return Binary("*", lit(-1), self)  # 0 - x would lose the sign of 0.0

    def __eq__(self, other: Any) -> Expr:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Binary("==", self, lit(other))

    def __ne__(self, other: Any) -> Expr:  # pyright: ignore[reportIncompatibleMethodOverride]
        return Binary("!=", self, lit(other))

    def __lt__(self, other: Any) -> Expr:
        return Binary("<", self, lit(other))

    def __le__(self, other: Any) -> Expr:
        return Binary("<=", self, lit(other))

    def __gt__(self, other: Any) -> Expr:
        return Binary(">", self, lit(other))

    def __ge__(self, other: Any) -> Expr:
        return Binary(">=", self, lit(other))

    def __and__(self, other: Any) -> Expr:
        return Binary("&", self, lit(other))

    def __or__(self, other: Any) -> Expr:
        return Binary("|", self, lit(other))

    def __invert__(self) -> Expr:
        return Not(self)

    def is_null(self) -> Expr:
        """Whether a row has no value."""
        return IsNull(self)

    def fill_null(self, value: Any) -> Expr:
        """The value of another expression where there is none."""
        return When(((IsNull(self), lit(value)),), self, fills=True)

    def is_in(self, values: Iterable[Any]) -> Expr:
        """Whether it is one of these values."""
        return IsIn(self, tuple(lit(value) for value in values))

    def starts_with(self, prefix: str | bytes) -> Expr:
        """Whether a string begins with the prefix."""
        return StartsWith(self, prefix)

    def cast(self, kind: Type) -> Expr:
        """The same as another type; a double that no i64 is near to becomes null."""
        return Cast(self, kind)


@dataclass(frozen=True, slots=True, eq=False)
class Column(Expr):
    """A column by its name."""

    name: str

    def type_in(self, schema: Schema) -> Type:
        if self.name not in schema:
            raise TopologyError(
                f"there is no column {self.name!r}; there are {', '.join(schema) or 'none'}"
            )
        return schema[self.name]

    def evaluate(self, rows: Rows, n: int) -> Values:
        return rows[self.name]

    def columns(self) -> set[str]:
        return {self.name}

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, eq=False)
class Literal(Expr):
    """A value, or None, of a type."""

    value: Any
    kind: Type

    def type_in(self, schema: Schema) -> Type:
        return self.kind

    def evaluate(self, rows: Rows, n: int) -> Values:
        return constant(self.kind, self.value, n)

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Binary(Expr):
    """Two expressions and an operator between them."""

    operator: str
    left: Expr
    right: Expr

    def type_in(self, schema: Schema) -> Type:
        left, right = self.left.type_in(schema), self.right.type_in(schema)
        kind = result_type(self.operator, left, right)
        if kind is None:
            raise TopologyError(f"{self!r}: {advice(self.operator, left, right)}")
        by_zero = self.operator in ("//", "%") and kind.kind == "i64"
        return kind.optional if left.nullable or right.nullable or by_zero else kind

    def evaluate(self, rows: Rows, n: int) -> Values:
        left = self.left.evaluate(rows, n)
        if left.type.is_text and isinstance(self.right, Literal) and self.right.value is not None:
            return _compared(self.operator, left, self.right)
        right = self.right.evaluate(rows, n)
        if self.operator in ("&", "|"):
            return logic(self.operator, left, right)
        kind = result_type(self.operator, left.type, right.type)
        assert kind is not None, "checked when the topology was built"
        valid = both(left, right)
        if left.type.is_text:
            same = texts.equal(left.texts, right.texts)
            return made(types.boolean, same == (self.operator == "=="), valid)
        a, b = left.numbers, right.numbers
        if left.type.kind != right.type.kind and "f64" in (left.type.kind, right.type.kind):
            a, b = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
        if self.operator in ("//", "%") and kind.kind == "i64":
            there = b != 0
            valid = there if valid is None else valid & there
            b = np.where(there, b, 1)
        return made(kind, computed(self.operator, a, b), valid)

    def columns(self) -> set[str]:
        return self.left.columns() | self.right.columns()

    def __repr__(self) -> str:
        return f"({self.left!r} {self.operator} {self.right!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Not(Expr):
    """`~`: null stays null."""

    of: Expr

    def type_in(self, schema: Schema) -> Type:
        kind = self.of.type_in(schema)
        if kind.kind != "bool":
            raise TopologyError(f"~{self.of!r}: ~ is for bool, and this is {kind}; compare it")
        return kind

    def evaluate(self, rows: Rows, n: int) -> Values:
        found = self.of.evaluate(rows, n)
        return masked(found.type, ~found.numbers, found.valid)

    def columns(self) -> set[str]:
        return self.of.columns()

    def __repr__(self) -> str:
        return f"~{self.of!r}"


@dataclass(frozen=True, slots=True, eq=False)
class IsNull(Expr):
    """Never null itself."""

    of: Expr

    def type_in(self, schema: Schema) -> Type:
        self.of.type_in(schema)
        return types.boolean

    def evaluate(self, rows: Rows, n: int) -> Values:
        return Values(types.boolean, ~self.of.evaluate(rows, n).is_valid())

    def columns(self) -> set[str]:
        return self.of.columns()

    def __repr__(self) -> str:
        return f"{self.of!r}.is_null()"


@dataclass(frozen=True, slots=True, eq=False)
class IsIn(Expr):
    """Null for null; a list of nothing holds nothing."""

    of: Expr
    among: tuple[Expr, ...]

    def type_in(self, schema: Schema) -> Type:
        nullable = self.of.type_in(schema).nullable
        for value in self.among:
            nullable |= Binary("==", self.of, value).type_in(schema).nullable
        return types.boolean.optional if nullable else types.boolean

    def evaluate(self, rows: Rows, n: int) -> Values:
        found = self.of.evaluate(rows, n)
        found_in: Values = masked(types.boolean, np.zeros(n, np.bool_), found.valid)
        for value in self.among:
            found_in = logic(
                "|", found_in, Binary("==", Column("x"), value).evaluate({"x": found}, n)
            )
        return found_in

    def columns(self) -> set[str]:
        return self.of.columns()

    def __repr__(self) -> str:
        return f"{self.of!r}.is_in({list(self.among)})"


@dataclass(frozen=True, slots=True, eq=False)
class StartsWith(Expr):
    """Null for null."""

    of: Expr
    prefix: str | bytes

    def type_in(self, schema: Schema) -> Type:
        kind = self.of.type_in(schema)
        if not kind.is_text:
            raise TopologyError(f"{self!r}: starts_with is for strings, and this is {kind}")
        return Type("bool", kind.nullable)

    def evaluate(self, rows: Rows, n: int) -> Values:
        found = self.of.evaluate(rows, n)
        prefix = self.prefix.encode() if isinstance(self.prefix, str) else self.prefix
        return made(types.boolean, texts.starts_with(found.texts, prefix), found.valid)

    def columns(self) -> set[str]:
        return self.of.columns()

    def __repr__(self) -> str:
        return f"{self.of!r}.starts_with({self.prefix!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Cast(Expr):
    """Another type; f64 to i64 cuts the fraction off."""

    of: Expr
    to: Type

    def type_in(self, schema: Schema) -> Type:
        kind = self.of.type_in(schema)
        if kind.kind == self.to.kind:
            return kind
        if (kind.kind, self.to.kind) not in CASTS:
            raise TopologyError(
                f"{self!r}: {kind} cannot be cast to {self.to}; compute it in map_batches, or let "
                "the codec read the column as this type"
            )
        return Type(self.to.kind, kind.nullable or (kind.kind == "f64" and self.to.kind == "i64"))

    def evaluate(self, rows: Rows, n: int) -> Values:
        found = self.of.evaluate(rows, n)
        kind, to = found.type.kind, Type(self.to.kind)
        if kind == to.kind:
            return found
        if to.is_text:
            data = found.texts if kind == "string" else texts.decimals(found.numbers)
            return made(to, data, found.valid)
        if to.kind == "bool":
            return made(to, found.numbers != 0, found.valid)
        if kind != "f64":
            dtype = np.float64 if to.kind == "f64" else np.int64
            return made(to, found.numbers.astype(dtype), found.valid)
        near = (found.numbers >= -(2.0**63)) & (found.numbers < 2.0**63)
        whole = np.where(near, found.numbers, 0.0).astype(np.int64)
        return made(to, whole, near if found.valid is None else near & found.valid)

    def columns(self) -> set[str]:
        return self.of.columns()

    def __repr__(self) -> str:
        return f"{self.of!r}.cast({self.to})"


@dataclass(frozen=True, slots=True, eq=False)
class When(Expr):
    """The value of the first condition that holds, else another. `fills`: made by fill_null."""

    cases: tuple[tuple[Expr, Expr], ...]
    other: Expr
    fills: bool = False

    def type_in(self, schema: Schema) -> Type:
        found = self.other.type_in(schema)
        other_nullable = found.nullable
        for condition, value in self.cases:
            kind = condition.type_in(schema)
            if kind.kind != "bool":
                raise TopologyError(f"when({condition!r}): a condition is bool, not {kind}")
            each = value.type_in(schema)
            common = common_type(found, each)
            if common is None:
                raise TopologyError(f"{self!r}: one value is {found}, another {each}; cast one")
            found = common
        if self.fills:
            return Type(found.kind, other_nullable and self.cases[0][1].type_in(schema).nullable)
        return found

    def evaluate(self, rows: Rows, n: int) -> Values:
        parts = [self.other.evaluate(rows, n)]
        choice = np.zeros(n, np.int64)
        for condition, value in reversed(self.cases):
            parts.append(value.evaluate(rows, n))
            choice[_holds(condition.evaluate(rows, n))] = len(parts) - 1
        kind = parts[0].type
        for part in parts:
            common = common_type(kind, part.type)
            assert common is not None, "checked when the topology was built"
            kind = common
        valid = np.choose(choice, [part.is_valid() for part in parts]).astype(np.bool_)
        if kind.is_text:
            data = BytesColumn.join([part.texts for part in parts])
            return made(kind, data.take(choice * n + np.arange(n)), valid)
        dtype = np.bool_ if kind.kind == "bool" else np.float64 if kind.kind == "f64" else np.int64
        numbers = [part.numbers.astype(dtype, copy=False) for part in parts]
        return made(kind, cast("Array", np.choose(choice, numbers)), valid)

    def columns(self) -> set[str]:
        found = self.other.columns()
        for condition, value in self.cases:
            found |= condition.columns() | value.columns()
        return found

    def __repr__(self) -> str:
        if self.fills:
            return f"{self.other!r}.fill_null({self.cases[0][1]!r})"
        cases = ".".join(f"when({c!r}).then({v!r})" for c, v in self.cases)
        return f"{cases}.otherwise({self.other!r})"


@dataclass(frozen=True, slots=True)
class Cases:
    """Begun with `when`; `otherwise` makes the expression."""

    made: tuple[tuple[Expr, Expr], ...]
    condition: Expr | None = None

    def then(self, value: Any) -> Cases:
        """The value where the condition holds."""
        if self.condition is None:
            raise TopologyError("then() comes after when()")
        return Cases((*self.made, (self.condition, lit(value))))

    def when(self, condition: Any) -> Cases:
        """Another condition, asked where none before it holds."""
        return Cases(self.made, lit(condition))

    def otherwise(self, value: Any) -> Expr:
        """The value where no condition holds."""
        if not self.made or self.condition is not None:
            raise TopologyError("otherwise() comes after then()")
        return When(self.made, lit(value))


def col(name: str) -> Expr:
    """The column of this name."""
    return Column(name)


def lit(value: Any, kind: Type | None = None) -> Expr:
    """A value as an expression; `lit(None, f64)` is a null. Raises `TopologyError`."""
    if isinstance(value, Expr):
        return value
    if kind is not None:
        return Literal(value, kind.optional if value is None else kind)
    match value:
        case bool():
            return Literal(value, types.boolean)
        case int() if -(2**63) <= value < 2**63:
            return Literal(value, types.i64)
        case float():
            return Literal(value, types.f64)
        case str():
            return Literal(value, types.string)
        case bytes():
            return Literal(value, types.binary)
        case datetime() if value.tzinfo is not None:
            since = (value - _EPOCH) // timedelta(microseconds=1)
            return Literal(since * 1000, types.time)
        case _:
            raise TopologyError(
                f"{value!r} is no literal: use int of 64 bits, float, bool, str, bytes, a datetime "
                "with a zone, or lit(value, type)"
            )


def when(condition: Any) -> Cases:
    """`when(condition).then(value).otherwise(value)`."""
    return Cases((), lit(condition))


def holds(expression: Expr, rows: Rows, n: int) -> Bools:
    """bool[n]: the rows for which a condition holds; null does not."""
    return _holds(expression.evaluate(rows, n))


def _holds(found: Values) -> Bools:
    return found.numbers if found.valid is None else found.numbers & found.valid


def _compared(operator: str, found: Values, literal: Literal) -> Values:
    """Whether strings are, or are not, a literal; no column of it is made."""
    wanted = literal.value.encode() if isinstance(literal.value, str) else literal.value
    same = texts.equal_to(found.texts, wanted)
    return made(types.boolean, same == (operator == "=="), found.valid)
