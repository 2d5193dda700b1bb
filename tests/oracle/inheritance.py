"""What definitions take from defaults and environments, read from plain dictionaries.

Lightest first: defaults of the folders from the outermost inwards, then those named by `extends`
(each behind what it extends itself, each once), then the definition; then, in the same order, what
they say of the environment. Dictionaries are laid over one another, all else replaces what was.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

Doc = dict[str, Any]
OWN = {"apiVersion", "kind", "name", "description", "include", "extends", "environments"}
SPELLED = {"60s": "1m", "60m": "1h", "3600s": "1h", "24h": "1d"}
"""Sizes of windows in other words."""


def whole(docs: Iterable[tuple[PurePath, Doc]], environment: str = "") -> list[Doc]:
    """The definitions, each with all that it takes, of (folder, document)."""
    every = list(docs)
    defaults = [(folder, doc) for folder, doc in every if doc.get("kind") == "Defaults"]
    named = {doc["name"]: doc for _, doc in defaults if "name" in doc}
    of_folder = {folder: doc for folder, doc in defaults if "name" not in doc}
    found: list[Doc] = []
    for folder, doc in every:
        if doc.get("kind") == "Defaults":
            continue
        chain: list[Doc] = []
        for above in [*reversed(folder.parents), folder]:
            if above in of_folder:
                _add(chain, of_folder[above], named)
        _add(chain, doc, named)
        made: Doc = {}
        for layer in chain:
            _lay(made, {k: v for k, v in layer.items() if k not in OWN}, ())
        for layer in chain:
            _lay(made, (layer.get("environments") or {}).get(environment, {}), ())
        found.append({k: doc[k] for k in OWN - {"include", "extends"} if k in doc} | made)
    return [{k: v for k, v in doc.items() if k != "environments"} for doc in found]


def _add(chain: list[Doc], doc: Doc, named: dict[str, Doc]) -> None:
    extends = doc.get("extends", [])
    for name in [extends] if isinstance(extends, str) else extends:
        _add(chain, named[name], named)
    if not any(doc is other for other in chain):
        chain.append(doc)


def _lay(under: Doc, over: Doc, path: tuple[str, ...]) -> None:
    if path == ("source",) and {"metric", "match", "any_of"} & set(over):
        for name in ("metric", "match", "any_of"):
            under.pop(name, None)
    for key, value in over.items():
        name = SPELLED.get(key, key) if path == ("publish", "keep") else key
        one = name == "aggregate" or path == ("source", "attributes")
        if isinstance(value, dict) and not one:
            below = under.get(name)
            under[name] = dict(below) if isinstance(below, dict) else {}
            _lay(under[name], value, (*path, name))
        else:
            under[name] = value
