"""The definitions that one with a hierarchy stands for, from plain dictionaries: one a level."""

from __future__ import annotations

from typing import Any

Doc = dict[str, Any]


def apart(doc: Doc) -> list[Doc]:
    """One definition a level, the finest first, as people would write them without hierarchies."""
    space = dict(doc.get("space") or {})
    entries = space.pop("hierarchy", None)
    if not entries:
        return [doc]
    steps = [{"by": one} if isinstance(one, str) else one for one in entries]
    found: list[Doc] = []
    for number, step in enumerate(steps):
        rest = [one["by"] for one in steps[number:]]
        if rest[-1] == "all":
            rest.pop()
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in step["by"])
        made = doc["name"] + (".all" if step["by"] == "all" else ".by_" + plain)
        name = step.get("name", made) if number else doc["name"]
        found.append({**doc, "name": name, "space": {**space, "keep": [*space["keep"], *rest]}})
    return found
