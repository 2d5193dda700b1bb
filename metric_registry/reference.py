"""The reference of definitions as a page, generated from the models and the catalogue.

`tidemill registry reference > docs/definition-reference.md` writes it; a test says that the page is
what this gives. What a field means is its description in `models.py`; what a value looks like is
`VALUES` of `kinds.py`, which every kind of value must be in.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from metric_registry import durations, models, over_points, values
from metric_registry.cases import models as cases
from metric_registry.catalogue import CATALOGUE
from metric_registry.derived import models as derived
from metric_registry.fix import SAFE
from metric_registry.kinds import BY_FUNCTION, SHORT_BY_FUNCTION, STEPS, VALUES, function_of

VERSIONED = {
    "name": ("name",),
    "sources": ("source.metric", "source.any_of"),
    "patterns": ("source.match",),
    "attributes": ("source.attributes",),
    "where": ("source.where",),
    "source_unit": ("source.unit",),
    "source_instrument": ("source.instrument",),
    "unit": ("unit",),
    "keep": ("space.keep", "space.hierarchy"),
    "over_time": ("aggregate.over_time",),
    "over_space": ("aggregate.over_space",),
    "over_points": ("aggregate.over_points",),
    "granularities": ("time.granularities",),
    "zone_rules": ("time.zone",),
    "grace_ns": ("time.grace",),
    "corrections_ns": ("time.corrections",),
    "series_limit": ("limits.series",),
    "beyond": ("limits.beyond",),
}
"""Each semantic field of a plan, and the fields of a definition that it is made of."""
_FIELDS = {path for paths in VERSIONED.values() for path in paths}


_PLAIN = {str: "text", bool: "`true` or `false`", int: "whole number"}
_GROUPS = {
    "TM0": "Files",
    "TM1": "Fields",
    "TM2": "Measurement",
    "TM3": "Time and windows",
    "TM4": "Publication and limits",
    "TM5": "Definitions together",
    "TM6": "Tests of definitions",
    "TM7": "Live data",
    "TM8": "What is derived",
}


def reference() -> str:
    """The page, as Markdown."""
    parts = [_HEAD, *_definitions(), *_derived(), *_lookups(), *_tests()]
    parts += [*_values(), *_aggregates(), *_checks()]
    return "\n\n".join(parts) + "\n"


_HEAD = """# Reference of definitions

Every field of a definition and of its tests, every kind of value, and every check. This page is \
generated from the models (`make reference`); how definitions work together is in \
[metric_registry](../metric_registry/README.md), what a number means in \
[what a number means](what-a-number-means.md).

- [Definitions](#definitions) · [Defaults](#defaults) · \
[Derived definitions](#derived-definitions) · [Lookups](#lookups) · [Tests](#tests) · \
[Values](#values) · [Aggregates over points](#aggregates-over-points) · [Checks](#checks)"""


# ------------------------------------------------------------ fields


def _definitions() -> Iterator[str]:
    yield "## Definitions"
    yield (
        "A document of `kind: Metric`. Fields that are marked ● are part of the version: a change "
        "of their meaning makes another number, and a new version. What is required may also come "
        "from [defaults](#defaults)."
    )
    seen: dict[Any, str] = {}
    yield from _sections(models.MetricDefinition, "", "", seen)
    yield "## Defaults"
    yield (
        "A document of `kind: Defaults` may say every field of a definition, and requires none of "
        "them. " + _sentence(models.Defaults)
    )
    yield _table(
        [
            ("name", models.Defaults.model_fields["name"]),
            ("description", models.Defaults.model_fields["description"]),
        ],
        "",
        "",
        seen,
        versions=False,
    )


def _derived() -> Iterator[str]:
    yield "## Derived definitions"
    yield "A document of `kind: Derived`: " + _sentence(derived.DerivedDefinition)
    yield from _sections(derived.DerivedDefinition, "", " of a derived definition", {},
                         versions=False)  # fmt: skip


def _lookups() -> Iterator[str]:
    yield "## Lookups"
    yield (
        "A document of `kind: Lookup`: " + _sentence(models.LookupDocument) + " The columns that "
        "a definition takes of it are part of its version."
    )
    yield from _sections(models.LookupDocument, "", " of a lookup", {}, versions=False)


def _tests() -> Iterator[str]:
    yield "## Tests"
    yield (
        "A document of `kind: Test`, in a file whose name ends in `.test.yaml`: "
        + _sentence(cases.CaseDocument)
        + " `tidemill registry test` runs it."
    )
    yield from _sections(cases.CaseDocument, "", " of a test", {}, versions=False)


def _sections(
    model: type[BaseModel], path: str, of: str, seen: dict[Any, str], *, versions: bool = True
) -> Iterator[str]:
    """The table of a section, then those inside it; each model once, where it comes first."""
    seen[model] = path
    if path:
        yield f"### {_heading(path, of)}"
        yield _sentence(model)
    fields = [(info.alias or name, info) for name, info in model.model_fields.items()]
    inside: list[tuple[type[BaseModel], str]] = []
    for name, info in fields:
        for inner, step in _models_in(info.annotation):
            if inner not in seen:
                seen[inner] = f"{path}.{name}{step}".removeprefix(".")
                inside.append((inner, seen[inner]))
    yield _table(fields, path, of, seen, versions=versions)
    for inner, at in inside:
        yield from _sections(inner, at, of, seen, versions=versions)


def _heading(path: str, of: str) -> str:
    return f"`{path}`{of}"


def _table(
    fields: list[tuple[str, FieldInfo]],
    path: str,
    of: str,
    seen: dict[Any, str],
    *,
    versions: bool,
) -> str:
    head = ["field", "value", "unless said", *(["version"] if versions else []), "meaning"]
    rows = [head, ["---"] * len(head)]
    for name, info in fields:
        at = f"{path}.{name}".removeprefix(".")
        cells = [f"`{name}`", words(info.annotation, info.metadata, of, seen), _unless(info)]
        if versions:
            cells.append("●" if _is_versioned(at) else "")
        rows.append([*cells, _plain(info.description or _of_model(info))])
    return "\n".join(f"| {' | '.join(_cell(one) for one in row)} |" for row in rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _is_versioned(path: str) -> bool:
    """Whether a field, or the section that it is in, is part of the version."""
    path = path.removeprefix("environments.NAME.")
    return any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in _FIELDS)


def _of_model(info: FieldInfo) -> str:
    found = _models_in(info.annotation)
    return _sentence(found[0][0]) if found else ""


def _sentence(model: type[BaseModel]) -> str:
    return " ".join((model.__doc__ or "").split())


def _models_in(annotation: Any) -> list[tuple[type[BaseModel], str]]:
    """Models inside an annotation, and the step to each as people write it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, "")]
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Annotated:
        return _models_in(arguments[0])
    if origin is dict:
        key = STEPS.get(function_of(arguments[0]), "NAME")
        return [(model, f".{key}{step}") for model, step in _models_in(arguments[1])]
    step = "[]" if origin is list else ""
    return [(model, step + deeper) for one in arguments for model, deeper in _models_in(one)]


def words(annotation: Any, metadata: Any, of: str, seen: dict[Any, str]) -> str:
    """What a field takes, in words.

    Raises:
        KeyError: A kind of value that is not in `VALUES`.
    """
    inner: Any = getattr(annotation, "__metadata__", ())
    function = next((one.func for one in metadata if hasattr(one, "func")), None)
    if function in BY_FUNCTION:
        name = BY_FUNCTION[function].name
        return f"[{name}](#values)"
    before = ""
    if function is not None:
        before = SHORT_BY_FUNCTION[function]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        path = seen[annotation]
        return f"{before}[section](#{slug(_heading(path, of))})"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return words(arguments[0], inner, of, seen)
    if origin in (Union, types.UnionType):
        (some,) = (one for one in arguments if one is not type(None))
        return words(some, (), of, seen)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin is list:
        return f"list of {words(arguments[0], (), of, seen)}"
    if origin is dict:
        key, value = (words(one, (), of, seen) for one in arguments)
        return f"map of {key} to {value}"
    return _PLAIN[annotation]


def slug(heading: str) -> str:
    """The anchor that a heading has on GitHub."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _unless(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    extra = info.json_schema_extra
    if isinstance(extra, dict) and "default" in extra:
        return f"`{extra['default']}`"
    default = info.default
    if default is PydanticUndefined or default is None or default in ((), ""):
        return ""
    function = next((one.func for one in info.metadata if hasattr(one, "func")), None)
    if function is function_of(values.Duration):
        return f"`{durations.render(default)}`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


# ------------------------------------------------------------ the rest


def _values() -> Iterator[str]:
    yield "## Values"
    rows = ["| value | how it is written |", "|---|---|"]
    rows += [f"| {one.name} | {_cell(one.written)} |" for one in VALUES if one.written]
    yield "\n".join(rows)


def _aggregates() -> Iterator[str]:
    yield "## Aggregates over points"
    yield (
        "`p50`, `p99.9` and the like are quantiles. The unit is that of the result where the "
        "source is in `ms`. The last two columns say which of them histogram points have "
        "(`source.instrument`)."
    )
    head = ["aggregate", "parameter", "result", "unit", *over_points.OF_HISTOGRAMS]
    rows = [head, ["---"] * len(head)]
    for name, known in over_points.KNOWN.items():
        refused = known.refusal({})
        asked = "" if refused == "takes no parameter" else refused.removeprefix("takes ")
        if known.default is not None:
            asked += f"; else `{known.default}`"
        has = ["●" if name in of else "" for of in over_points.OF_HISTOGRAMS.values()]
        rows.append([f"`{name}`", asked, known.result, f"`{known.unit('ms')}`", *has])
    yield "\n".join(f"| {' | '.join(_cell(one) for one in row)} |" for row in rows)


def _checks() -> Iterator[str]:
    yield "## Checks"
    yield (
        "What `tidemill registry check` tells; `registry test` tells what begins with TM6, and "
        "what is wrong with a test's fields, and `registry live-check` what begins with TM7. Codes "
        "keep their meaning. A warning fails a check under `--strict` only. Examples show the "
        "sections of a definition that matter."
    )
    for group, title in _GROUPS.items():
        yield f"### {title}"
        for code in (one for one in CATALOGUE.values() if one.code.startswith(group)):
            yield f"#### {code.code}: {code.title}"
            about = [code.explanation]
            about += [_SEVERITIES[code.severity]] if code.severity != "error" else []
            about += [_FIXED] if code.code in SAFE else []
            yield _plain(" ".join(about))
            for head, lines in (("Instead of", code.example), ("write", code.fix)):
                if lines:
                    yield f"{head}\n\n```yaml\n{lines}\n```"


_SEVERITIES = {"warning": "It is a warning.", "information": "It is information."}
_FIXED = "`check --fix` puts it right where only one thing can have been meant."


def _plain(text: str) -> str:
    """A sentence in which no character outside code is Markdown's."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*<])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)
