"""From a document's data to a definition, or to what is wrong with its fields."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from metric_registry.catalogue import CATALOGUE
from metric_registry.models import GAUGE, MetricDefinition
from metric_registry.over_points import KNOWN, Written, settled
from metric_registry.syntax.nodes import Data, Path

Document = TypeVar("Document", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something that is wrong with a definition, by the path of the field it is about."""

    code: str
    message: str
    path: Path = ()
    on_key: bool = False
    """Whether it is about the field's name, not its value."""
    help: str = ""
    replacement: str | None = None


_KINDS = {
    "string_type": "text",
    "bool_type": "`true` or `false`",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_EXAMPLES = {
    "text": "write a text; quote it if it looks like a number",
    "`true` or `false`": "write `true` or `false` without quotes",
    "a whole number": "write a number without quotes",
    "a list": "write `[a, b]`",
    "a mapping": "write `{field: value}`",
}


def validate(data: Data, model: type[Document]) -> Document | list[Problem]:
    """The document of a kind that `data` holds, or what keeps it from being one."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    problems = [_problem(detail, _kind_of(model)) for detail in details]
    if any(p.code == "TM105" and p.path == ("kind",) for p in problems):
        return [p for p in problems if p.code == "TM105"]  # of which kind its fields are is unknown
    proposed = {(*p.path[:-1], p.replacement) for p in problems if p.code == "TM101"}
    another = any(p.code == "TM105" for p in problems)  # whose fields nobody knows
    return [
        problem
        for problem in problems
        if not (problem.code in ("TM102", "TM201") and (another or problem.path in proposed))
    ]


def _kind_of(model: type[BaseModel]) -> _Kind:
    """Defaults have the fields of definitions."""
    return _kind(MetricDefinition if issubclass(model, MetricDefinition) else model)


@cache
def _kind(model: type[BaseModel]) -> _Kind:
    return _Kind(_sections(model, ()), model is MetricDefinition)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of document: its fields by section, and whether it is a definition."""

    sections: Mapping[Path, list[str]]
    is_definition: bool


def _problem(detail: ErrorDetails, of: _Kind) -> Problem:
    kind = detail["type"]
    context = detail.get("ctx") or {}
    on_key = bool(detail["loc"]) and detail["loc"][-1] == "[key]"
    path = detail["loc"][:-1] if on_key else detail["loc"]
    if kind in CATALOGUE:
        if "at" in context:
            path = (*path, context["at"])
        return Problem(
            code=kind,
            message=_named(path, str(context["message"])),
            path=path,
            on_key=on_key,
            help=str(context.get("help", "")),
            replacement=context.get("replacement") or None,
        )
    if kind == "extra_forbidden":
        return _unknown_field(path, of)
    if kind == "missing":
        return _missing(path, of)
    if kind == "literal_error":
        return _unknown_choice(path, detail["input"], str(context["expected"]), of)
    if kind in ("too_short", "too_long"):
        return _size(path, kind, context)
    expected = _KINDS.get(kind, detail["msg"])
    meant = _meant(expected, detail["input"])
    return Problem(
        code="TM103",
        message=_named(path, f"must be {expected}"),
        path=path,
        on_key=on_key,
        help=f"write `{meant}`" if meant else _EXAMPLES.get(expected, ""),
        replacement=meant,
    )


def _meant(expected: str, given: object) -> str | None:
    """What was meant by a text where another kind of value is expected."""
    if isinstance(given, str) and expected == "a whole number":
        digits = given.strip().replace("_", "").replace(",", "")
        return digits if digits.isdecimal() and digits.isascii() else None
    if isinstance(given, str) and expected == "`true` or `false`":
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(given.lower())
    if isinstance(given, int | float) and expected == "text":
        return f'"{json.dumps(given)}"'
    return None


def _named(path: Path, message: str) -> str:
    """A message that begins with what is wrong is put after the field's name."""
    if message.startswith(("must ", "is ", "holds ")):
        return f"`{dotted(path)}` {message}"
    return message


def dotted(path: Path) -> str:
    """A path as people write it: `source.any_of[0].metric`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def _unknown_field(path: Path, of: _Kind) -> Problem:
    parent, name = path[:-1], str(path[-1])
    known = _field_names(parent, of)
    section = f" in `{dotted(parent)}`" if parent else ""
    message = f"there is no field `{name}`{section}"
    inside = of.is_definition and path[0] == _ENVIRONMENTS
    elsewhere = [
        where
        for where, fields in of.sections.items()
        if where != parent and not inside and _ANY not in where and name in fields
    ]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    if inside and (parent[2:], name) in _MEANING and name not in near:
        return Problem(
            code="TM506",
            message=f"an environment cannot change `{dotted((*parent[2:], name))}`, which says "
            "what the number is",
            path=path,
            on_key=True,
            help="an environment changes the grace, corrections, publication, limits, the service "
            "level and the owner; another number is another definition",
        )
    if near and not elsewhere:
        advice = f"did you mean `{near[0]}`?"
        return Problem(
            code="TM101",
            message=message,
            path=path,
            on_key=True,
            help=advice,
            replacement=near[0],
        )
    if elsewhere:
        places = " or ".join(
            f"in `{dotted(where)}`" if where else "at the top" for where in elsewhere
        )
        advice = f"`{name}` stands {places}"
    else:
        advice = "known here: " + ", ".join(f"`{field}`" for field in known)
    return Problem(code="TM101", message=message, path=path, on_key=True, help=advice)


def _missing(path: Path, of: _Kind) -> Problem:
    parent, name = path[:-1], str(path[-1])
    if name == "aggregate" and of.is_definition:
        message = "the definition does not say how it aggregates over time"
        return Problem(code="TM201", message=message, path=path, help=GAUGE)
    section = f" in `{dotted(parent)}`" if parent else ""
    return Problem(
        code="TM102",
        message=f"`{name}` is missing{section}",
        path=path,
        help=f"add `{(_ADDITIONS if of.is_definition else {}).get(name, f'{name}: ...')}`",
    )


_ADDITIONS = {
    "apiVersion": "apiVersion: tidemill/v1",
    "kind": "kind: Metric",
    "unit": 'unit: "1"` if it has none, else its unit in UCUM such as `By` or `s',
    "source": "source: {metric: ..., unit: ...}",
    "space": "space: {keep: [...]}",
    "keep": "keep: [...]` with the attributes that a group keeps, `[]` for none: `keep: []",
    "time": "time: {granularities: [10s, 1m, 1h]}",
    "granularities": "granularities: [10s, 1m, 1h]",
}


def _unknown_choice(path: Path, given: object, expected: str, of: _Kind) -> Problem:
    choices = [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]
    if path in (("apiVersion",), ("kind",)) and isinstance(given, str):
        choices = KINDS if path == ("kind",) and of.is_definition else choices
        if of.is_definition and given == "Test":
            return Problem(
                code="TM105",
                message="a test stands in a file of its own, whose name ends in `.test.yaml`",
                path=path,
                help="move it there; `tidemill registry test` runs it",
            )
        near = _nearest_word(given, choices)
        return Problem(
            code="TM105",
            message=f"`{path[0]}` is `{given}`, and only {_listed(choices)} "
            f"{'are' if len(choices) > 1 else 'is'} read",
            path=path,
            help=f"write `{near}`" if near else "name one of these kinds",
            replacement=near,
        )
    if not isinstance(given, str):
        message = _named(path, "must be one of a few words")
        advice = "one of " + ", ".join(f"`{choice}`" for choice in choices)
        return Problem(code="TM103", message=message, path=path, help=advice)
    meant = _SYNONYMS.get(given.lower())
    if path[:1] == ("aggregate",) and _is_over_points(given):
        return Problem(
            code="TM214",
            message=f"`{dotted(path)}` cannot be `{given}`: {_OF_NUMBERS}",
            path=path,
            help=f"`aggregate: {{over_points: {given}}}` takes all points of a group together",
        )
    near = [meant] if meant in choices else difflib.get_close_matches(given.lower(), choices, n=1)
    offered = "it is one of " if len(choices) > 1 else "it can only be "
    offered += ", ".join(f"`{choice}`" for choice in choices)
    return Problem(
        code="TM104",
        message=f"`{dotted(path)}` cannot be `{given}`",
        path=path,
        help=(f"did you mean `{near[0]}`? " if near else "") + offered,
        replacement=near[0] if near else None,
    )


def _nearest_word(given: str, choices: list[str]) -> str | None:
    """The choice that was meant, whatever its capitals; the only one if there is one."""
    if len(choices) == 1:
        return choices[0]
    lowered = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(given.lower(), lowered, n=1)
    return lowered[near[0]] if near else None


def _listed(choices: list[str]) -> str:
    *most, last = (f"`{choice}`" for choice in choices)
    return f"{', '.join(most)} and {last}" if most else last


_ENVIRONMENTS, _ANY = "environments", "*"
KINDS = ["Metric", "Defaults", "Lookup", "Derived"]
"""Of documents."""
_OF_NUMBERS = (
    "the two steps make numbers of numbers, and a quantile of quantiles, or a deviation of "
    "means, is none of the points"
)


def _is_over_points(given: str) -> bool:
    return settled(Written(given)).name in KNOWN


_SYNONYMS = {
    "mean": "avg",
    "average": "avg",
    "total": "sum",
    "add": "sum",
    "maximum": "max",
    "minimum": "min",
    "latest": "last",
    "delta": "increase",
    "counter": "increase",
    "size": "count",
}


def _size(path: Path, kind: str, context: dict[str, Any]) -> Problem:
    if kind == "too_short":
        message = f"`{dotted(path)}` is empty"
        return Problem(code="TM108", message=message, path=path, help="name at least one")
    most, actual = context.get("max_length"), context.get("actual_length")
    message = f"`{dotted(path)}` has {actual} entries"
    return Problem(code="TM110", message=message, path=path, help=f"at most {most} are allowed")


def _field_names(path: Path, of: _Kind) -> list[str]:
    """The fields of the section at `path`, as they are written."""
    steps = tuple(0 if isinstance(step, int) else step for step in path)
    for section, fields in of.sections.items():
        if len(section) == len(steps) and all(
            known in (step, _ANY) for known, step in zip(section, steps, strict=True)
        ):
            return fields
    return []


def _sections(model: type[BaseModel], path: Path) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {path: []}
    for name, info in model.model_fields.items():
        written = info.alias or name
        found[path].append(written)
        for inner, step in _models_in(info.annotation):
            found |= _sections(inner, (*path, written, *step))
    return found


@cache
def _models_in(annotation: Any) -> list[tuple[type[BaseModel], Path]]:
    """Models inside an annotation such as `list[SourceMetric] | None`, and the step to them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, ())]
    origin = get_origin(annotation)
    step: Path = (0,) if origin is list else (_ANY,) if origin is dict else ()
    inner: list[tuple[type[BaseModel], Path]] = []
    for argument in get_args(annotation):
        inner += [(model, (*step, *deeper)) for model, deeper in _models_in(argument)]
    return inner


_MEANING = {
    *(((), name) for name in ("source", "unit", "space", "aggregate", "name", "description")),
    *((("time",), name) for name in ("granularities", "zone")),
}
"""(section, field) that are the same in every environment."""
