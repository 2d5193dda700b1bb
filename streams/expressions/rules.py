"""What operators of expressions accept, give and compute."""

from __future__ import annotations

from typing import Any

import numpy as np

from streams import schema as types
from streams.batch import Array
from streams.schema import Type
from streams.values import Bools, Values, masked

_ORDER = ("<", "<=", ">", ">=")
_LOGIC = ("&", "|")
CASTS = {
    ("i64", "f64"), ("i64", "bool"), ("i64", "time"), ("i64", "string"), ("f64", "i64"),
    ("f64", "bool"), ("bool", "i64"), ("bool", "f64"), ("time", "i64"), ("string", "bytes"),
}  # fmt: skip


def both(left: Values, right: Values) -> Bools | None:
    if left.valid is None:
        return right.valid
    return left.valid if right.valid is None else left.valid & right.valid


def made(kind: Type, data: Any, valid: Bools | None) -> Values:
    """A column whose type says whether rows are without a value."""
    made = masked(kind.required, data, valid)
    return made if made.valid is None else Values(kind.optional, made.data, made.valid)


def logic(operator: str, left: Values, right: Values) -> Values:
    """Three-valued: what is known decides."""
    a, b = left.numbers, right.numbers
    if left.valid is None and right.valid is None:
        return Values(types.boolean, a & b if operator == "&" else a | b)
    known_a, known_b = left.is_valid(), right.is_valid()
    if operator == "&":
        valid = (known_a & known_b) | (known_a & ~a) | (known_b & ~b)
        return made(types.boolean, a & b, valid)
    valid = (known_a & known_b) | (known_a & a) | (known_b & b)
    return made(types.boolean, (a & known_a) | (b & known_b), valid)


def computed(operator: str, a: Array, b: Array) -> Array:
    with np.errstate(all="ignore"):
        match operator:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return a.astype(np.float64, copy=False) / b
            case "//":
                return np.floor_divide(a, b)
            case "%":
                return np.mod(a, b)
            case "==":
                return a == b
            case "!=":
                return a != b
            case "<":
                return a < b
            case "<=":
                return a <= b
            case ">":
                return a > b
            case _:
                return a >= b


def common_type(left: Type, right: Type) -> Type | None:
    """The type that holds values of both."""
    nullable = left.nullable or right.nullable
    if left.kind == right.kind:
        return Type(left.kind, nullable)
    if left.is_number and right.is_number:
        return Type("f64", nullable)
    return None


def result_type(operator: str, left: Type, right: Type) -> Type | None:
    """What the operator gives, without regard to nulls; None: it is not for these types."""
    common = common_type(left, right)
    if operator in _LOGIC:
        return types.boolean if left.kind == right.kind == "bool" else None
    if operator in ("==", "!="):
        return types.boolean if common else None
    if operator in _ORDER:
        ordered = common is not None and common.kind in ("i64", "f64", "time")
        return types.boolean if ordered else None
    if left.is_number and right.is_number and common:
        return types.f64 if operator == "/" else common.required
    match left.kind, operator, right.kind:
        case ("time", "-", "time"):
            return types.i64
        case ("time", "+" | "-", "i64") | ("i64", "+", "time"):
            return types.time
        case _:
            return None


def advice(operator: str, left: Type, right: Type) -> str:
    said = f"{operator} is not for {left} and {right}"
    if operator in _LOGIC:
        return f"{said}; both sides are bool, so compare first, in brackets"
    if operator in _ORDER and left.is_text:
        return f"{said}; strings know ==, !=, is_in and starts_with"
    if "time" in (left.kind, right.kind):
        return f"{said}; write lit(datetime(..., tzinfo=UTC)), lit(nanoseconds, time), or cast"
    return f"{said}; cast one of them"
