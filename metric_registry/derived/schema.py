"""The JSON Schema of all kinds of documents."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from metric_registry.derived.models import HOWS, DerivedDefinition
from metric_registry.models import schema as without_derived


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a document, for editors: a definition, defaults, or a
    derived definition."""
    whole = without_derived()
    derived = TypeAdapter(DerivedDefinition).json_schema(
        by_alias=True, ref_template="#/$defs/{model}"
    )
    inner: dict[str, Any] = derived.pop("$defs")
    inner["Derive"]["oneOf"] = [{"required": [how]} for how in HOWS]
    other = {part: whole.pop(part) for part in ("if", "then", "else")}
    whole |= {
        "if": {"properties": {"kind": {"const": "Derived"}}, "required": ["kind"]},
        "then": {"$ref": "#/$defs/DerivedDefinition"},
        "else": other,
    }
    whole["$defs"] = {**whole["$defs"], "DerivedDefinition": derived, **inner}
    return whole
