"""Decoders of messages are made when their module is imported, by the one thread that imports it.

msgspec (0.22) notes what it knows of a class when the class is first decoded, and other threads
find the note before it is complete: `decode(data, type=...)` by two threads at once ends the
process with signal 11. A worker restores its tasks in threads.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("broker", "metric_registry", "streams", "topologies", "tidemill")
OWN_CLASS = {"streams/codecs/json_rows.py"}
"""Make the decoder beside the class that it alone decodes."""


def lazily_made(text: str) -> list[int]:
    """Lines that decode by a type given at the call, or make a decoder within a function."""
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    by_type = [c for c in calls if _called(c) in ("decode", "convert") and _has_type(c)]
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = [node for one in functions for part in one.body for node in ast.walk(part)]
    made = [c for c in inner if isinstance(c, ast.Call) and _called(c) == "Decoder"]
    return sorted({call.lineno for call in (*by_type, *made)})


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _has_type(call: ast.Call) -> bool:
    return any(keyword.arg == "type" for keyword in call.keywords)


def test_every_decoder_is_made_once() -> None:
    found = {
        str(path.relative_to(ROOT)): lines
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if (lines := lazily_made(path.read_text()))
    }
    assert found.keys() == OWN_CLASS, found


def test_both_ways_to_make_one_late_are_found() -> None:
    late = "def f(data):\n    return msgspec.json.decode(data, type=T)\n"
    inside = "def f(data):\n    return msgspec.json.Decoder(T).decode(data)\n"
    once = "D = msgspec.json.Decoder(T)\n\n\ndef f(data):\n    return D.decode(data)\n"
    assert [lazily_made(text) for text in (late, inside, once)] == [[2], [2], []]
