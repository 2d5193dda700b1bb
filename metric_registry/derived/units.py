"""The unit of a derived number, and what its inputs are multiplied by to have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from metric_registry.derived.models import DerivedDefinition
from metric_registry.fields import Problem
from metric_registry.plan import ResolvedDefinition
from metric_registry.ucum import Quantity, UnitError, described, parse

_LARGEST = 1 << 53
"""Of a factor's numerator and denominator: doubles hold integers up to it."""
_ZERO = "a value of 0 is not none of it, so it has no ratio and no sum"


@dataclass(frozen=True, slots=True)
class Factors:
    """The unit of the result, and of each input (p, q): a value v of it counts as v * p / q."""

    unit: str
    of: tuple[tuple[int, int], ...]


def factors(model: DerivedDefinition, inputs: Sequence[ResolvedDefinition]) -> Factors | Problem:
    """What follows from units; a problem (TM812) where they do not fit."""
    derive = model.derive
    how, paths = derive.how, [path for _, path in derive.inputs]
    unit = _stated(model, inputs)
    if all(one.unit == unit for one in inputs) and how not in ("ratio", "share"):
        return Factors(unit, ((1, 1),) * len(inputs))
    try:
        given = [parse(one.unit) for one in inputs]
    except UnitError as error:
        return Problem(
            code="TM812",
            message=f"{error}, so nothing converts it",
            path=paths[0],
            help="write the inputs' units in UCUM",
        )
    try:
        wanted = parse(unit)
    except UnitError as error:
        return Problem(code="TM812", message=str(error), path=("unit",), help="write it in UCUM")
    for one, each, path in zip(inputs, given, paths, strict=True):
        if each.offset and (how not in ("mean", "quantile") or wanted != each):
            message = f"`{one.name}` is in {one.unit}: {_ZERO}"
            return Problem(
                code="TM812", message=message, path=path, help="let it publish kelvins: `unit: K`"
            )
    if how == "share":
        results = [Quantity(Fraction(1), ())]
    elif how == "ratio":
        results = [given[0].times(given[1], -1)]
    else:
        results = given
    for at, each in enumerate(results):
        if each.dimension != wanted.dimension or wanted.offset:
            return _differs(model, inputs, unit, each, paths[at])
    found = [(each.factor / wanted.factor).as_integer_ratio() for each in results]
    if max(max(pair) for pair in found) > _LARGEST:
        message = f"to `{unit}` takes a factor of too many digits"
        return Problem(code="TM812", message=message, path=("unit",), help="choose a nearer unit")
    return Factors(unit, tuple([*found, (1, 1)] if how == "ratio" else found))


def _stated(model: DerivedDefinition, inputs: Sequence[ResolvedDefinition]) -> str:
    """The unit of the result; of a ratio what follows, written as it is read."""
    if model.unit is not None:
        return model.unit
    how = model.derive.how
    if how == "share":
        return "1"
    if how != "ratio":
        return inputs[0].unit
    over, under = (one.unit for one in inputs)
    try:
        if parse(over).dimension == parse(under).dimension:
            return "1"
    except UnitError:
        return "1"
    return f"{over}/({under})" if set("./") & set(under) else f"{over}/{under}"


def _differs(
    model: DerivedDefinition,
    inputs: Sequence[ResolvedDefinition],
    unit: str,
    each: Quantity,
    path: tuple[str | int, ...],
) -> Problem:
    how = model.derive.how
    what = f"a {how} of " + " and ".join(f"`{one.unit}`" for one in inputs)
    if how in ("sum", "difference", "mean", "quantile"):
        what = f"the {'input' if how in ('sum', 'difference') else how}"
    return Problem(
        code="TM812",
        message=f"{what} is {described(each.dimension)}, and `{unit}` is "
        f"{described(parse(unit).dimension)}",
        path=("unit",) if model.unit is not None and path[2:] in (("of",), ("of", 0)) else path,
        help="leave `unit` out, and it follows from the inputs"
        if model.unit is not None
        else "only what is of one dimension is added up",
    )
