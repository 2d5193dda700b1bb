"""Expressions over columns give, row by row, what a plain evaluation of one row gives.

Longer: TIDEMILL_EXPRESSIONS (how many random expressions, 150 if not given).
"""

import math
import operator
import os
import random

import pytest

from streams.expressions import Expr, col, lit, when
from streams.schema import Schema, TopologyError, Type, binary, boolean, f64, i64, string, time
from streams.values import values_of

EXPRESSIONS = int(os.environ.get("TIDEMILL_EXPRESSIONS", "150"))
ROWS = 40
SCHEMA = Schema(
    i=i64, j=i64.optional, x=f64, y=f64.optional, p=boolean, q=boolean.optional,
    s=string, t=string.optional, at=time, until=time.optional, b=binary,
)  # fmt: skip
INTEGERS = [0, 1, -1, 2, 3, -7, 2**53 + 1, 2**63 - 1, -(2**63)]
DOUBLES = [0.0, -0.0, 1.0, -1.5, 3.0, math.inf, -math.inf, math.nan, 1e300, 9.3e18, 0.1]
TEXTS = ["", "a", "ab", "abc", "b", "é", "ab\0"]
SAMPLES = {
    "i64": INTEGERS, "f64": DOUBLES, "bool": [True, False], "string": TEXTS,
    "bytes": [text.encode() for text in TEXTS], "time": [0, 5, -5, 10**18],
}  # fmt: skip


def wrapped(number):
    return (number + 2**63) % 2**64 - 2**63


class Plain:
    """An expression and how one row of it is computed: a function of a dict."""

    def __init__(self, expression: Expr, kind: Type, of):
        self.expression, self.kind, self.of = expression, kind.required, of


def divided(op, a, b):
    if op == "/":
        a, b = float(a), float(b)
        if b == 0:
            if a == 0 or math.isnan(a):
                return math.nan
            return math.copysign(math.inf, a) * math.copysign(1, b)
        return a / b
    if isinstance(a, float) or isinstance(b, float):
        return None  # drawn for integers only
    if b == 0:
        return None
    return wrapped(a // b) if op == "//" else a % b


def calculated(op, a, b):
    if a is None or b is None:
        return None
    if isinstance(a, float) or isinstance(b, float):
        a, b = float(a), float(b)
    if op in ("/", "//", "%"):
        return divided(op, a, b)
    found = {"+": operator.add, "-": operator.sub, "*": operator.mul}[op](a, b)
    return found if isinstance(found, float) else wrapped(found)


def compared(op, a, b):
    if a is None or b is None:
        return None
    if isinstance(a, float) or isinstance(b, float):
        a, b = float(a), float(b)
    names = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
    return getattr(operator, names[op])(a, b)


def conjunction(a, b):
    if a is False or b is False:
        return False
    return None if a is None or b is None else True


def cast_plain(value, kind, to):
    if value is None:
        return None
    if kind == "f64" and to == "i64":
        return int(value) if math.isfinite(value) and -(2.0**63) <= value < 2.0**63 else None
    return {"f64": float, "bool": bool, "string": str, "i64": int, "time": int}[to](value)


class Draw:
    """Random expressions of a wanted type, each with its plain meaning."""

    def __init__(self, chance):
        self.chance = chance

    def any(self, kind, depth):
        chance = self.chance
        if depth == 0 or chance.random() < 0.15:
            return self.leaf(kind)
        ways = [self.chosen, self.filled]
        ways += {
            "i64": [self.arithmetic, self.between_times, self.cast],
            "f64": [self.arithmetic, self.cast],
            "bool": [self.comparison, self.comparison, self.logic, self.text_test, self.null_test],
            "string": [self.cast],
            "time": [self.shifted],
            "bytes": [],
        }[kind]
        return chance.choice(ways)(kind, depth - 1)

    def leaf(self, kind):
        names = [name for name, each in SCHEMA.items() if each.kind == kind]
        if self.chance.random() < 0.6:
            name = self.chance.choice(names)
            return Plain(col(name), SCHEMA[name], lambda row: row[name])
        value = self.chance.choice(SAMPLES[kind])
        return Plain(lit(value, Type(kind)), Type(kind), lambda row: value)

    def arithmetic(self, kind, depth):
        ops = ["+", "-", "*"] + (["//", "%"] if kind == "i64" else ["/"])
        op = self.chance.choice(ops)
        sides = (
            [kind, kind] if kind == "i64" else self.chance.choice([["f64", "f64"], ["i64", "f64"]])
        )
        if op == "/" and self.chance.random() < 0.5:
            sides = ["i64", "i64"]
        a, b = self.any(sides[0], depth), self.any(sides[1], depth)
        binary_ops = {
            "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
            "//": operator.floordiv, "%": operator.mod,
        }  # fmt: skip
        made = binary_ops[op](a.expression, b.expression)
        return Plain(made, Type(kind), lambda row: calculated(op, a.of(row), b.of(row)))

    def between_times(self, kind, depth):
        a, b = self.any("time", depth), self.any("time", depth)
        made = a.expression - b.expression
        return Plain(made, Type(kind), lambda row: calculated("-", a.of(row), b.of(row)))

    def shifted(self, kind, depth):
        a, b = self.any("time", depth), self.any("i64", depth)
        made = a.expression + b.expression
        return Plain(made, Type(kind), lambda row: calculated("+", a.of(row), b.of(row)))

    def cast(self, kind, depth):
        source = self.chance.choice(
            {"i64": ["f64", "bool", "time"], "f64": ["i64", "bool"], "string": ["i64"]}[kind]
        )
        a = self.any(source, depth)
        made = a.expression.cast(Type(kind))
        return Plain(made, Type(kind), lambda row: cast_plain(a.of(row), source, kind))

    def comparison(self, kind, depth):
        of = self.chance.choice(["i64", "f64", "mixed", "time", "string", "bytes", "bool"])
        sides = ["i64", "f64"] if of == "mixed" else [of, of]
        ops = ["==", "!="] + ([] if of in ("string", "bytes", "bool") else ["<", "<=", ">", ">="])
        op = self.chance.choice(ops)
        a, b = self.any(sides[0], depth), self.any(sides[1], depth)
        names = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge"}
        made = getattr(operator, names[op])(a.expression, b.expression)
        return Plain(made, boolean, lambda row: compared(op, a.of(row), b.of(row)))

    def logic(self, kind, depth):
        a, b = self.any("bool", depth), self.any("bool", depth)

        def inverse(value):
            return None if value is None else not value

        match self.chance.choice("&|~"):
            case "&":
                made = a.expression & b.expression
                return Plain(made, boolean, lambda row: conjunction(a.of(row), b.of(row)))
            case "|":
                made = a.expression | b.expression
                return Plain(
                    made,
                    boolean,
                    lambda row: inverse(conjunction(inverse(a.of(row)), inverse(b.of(row)))),
                )
            case _:
                return Plain(~a.expression, boolean, lambda row: inverse(a.of(row)))

    def text_test(self, kind, depth):
        a = self.any("string", depth)
        if self.chance.random() < 0.5:
            prefix = self.chance.choice(TEXTS)
            made = a.expression.starts_with(prefix)
            return Plain(
                made, boolean,
                lambda row: None if a.of(row) is None else a.of(row).startswith(prefix),
            )  # fmt: skip
        among = self.chance.sample(TEXTS, self.chance.randrange(4))
        made = a.expression.is_in(among)
        return Plain(made, boolean, lambda row: None if a.of(row) is None else a.of(row) in among)

    def null_test(self, kind, depth):
        a = self.any(self.chance.choice(list(SAMPLES)), depth)
        return Plain(a.expression.is_null(), boolean, lambda row: a.of(row) is None)

    def chosen(self, kind, depth):
        c, a, b = self.any("bool", depth), self.any(kind, depth), self.any(kind, depth)
        made = when(c.expression).then(a.expression).otherwise(b.expression)
        return Plain(made, a.kind, lambda row: a.of(row) if c.of(row) is True else b.of(row))

    def filled(self, kind, depth):
        a, b = self.any(kind, depth), self.any(kind, depth)
        made = a.expression.fill_null(b.expression)
        return Plain(
            made, a.kind, lambda row: b.of(row) if a.of(row) is None else a.of(row)
        )  # fmt: skip


def same(found, wanted):
    if isinstance(found, float) and isinstance(wanted, float):
        if math.isnan(found) or math.isnan(wanted):
            return math.isnan(found) and math.isnan(wanted)
        return found == wanted and math.copysign(1, found) == math.copysign(1, wanted)
    return type(found) is type(wanted) and found == wanted


@pytest.mark.parametrize("seed", range(EXPRESSIONS))
def test_an_expression_over_columns_is_the_same_row_by_row(seed):
    chance = random.Random(seed)
    rows = []
    for _ in range(ROWS):
        row = {}
        for name, kind in SCHEMA.items():
            absent = kind.nullable and chance.random() < 0.3
            row[name] = None if absent else chance.choice(SAMPLES[kind.kind])
        rows.append(row)
    columns = {name: values_of(kind, [row[name] for row in rows]) for name, kind in SCHEMA.items()}
    for kind in SAMPLES:
        drawn = Draw(chance).any(kind, 4)
        checked = drawn.expression.type_in(SCHEMA)
        found = drawn.expression.evaluate(columns, ROWS)
        assert checked.kind == found.type.kind == kind
        wanted = [drawn.of(row) for row in rows]
        pairs = zip(found.to_list(), wanted, strict=True)
        assert all(same(a, b) for a, b in pairs), drawn.expression
        assert checked.nullable or None not in wanted, drawn.expression
        none = drawn.expression.evaluate(
            {n: c.take(columns["i"].numbers[:0]) for n, c in columns.items()}, 0
        )
        assert none.to_list() == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (col("i") & lit(True), "both sides are bool, so compare first"),
        (col("s") < "a", "strings know ==, !=, is_in and starts_with"),
        (col("at") > 3, "write lit"),
        (col("none") + 1, "there is no column 'none'; there are i, j"),
        (col("s") + 1, "is not for string and i64; cast one"),
        (~col("i"), "~ is for bool, and this is i64"),
        (when(col("i")).then(1).otherwise(2), "a condition is bool, not i64"),
        (when(col("p")).then(1).otherwise("a"), "one value is string, another i64"),
        (col("s").cast(f64), "string cannot be cast to f64; compute it in map_batches"),
        (col("i").starts_with("a"), "starts_with is for strings"),
        (col("i").is_in(["a"]), "== is not for i64 and string"),
    ],
)
def test_an_expression_of_wrong_types_is_refused_with_what_to_do(wrong, said):
    with pytest.raises(TopologyError) as caught:
        wrong.type_in(SCHEMA)
    assert said in str(caught.value)


def test_an_expression_is_no_truth_value():
    with pytest.raises(TypeError, match=r"use &, \| and ~"):
        bool(col("p"))
    with pytest.raises(TopologyError, match="is no literal"):
        lit(2**63)
