"""YAML 1.2 with a line and a column for every node.

Input: the text of a file. Output: its documents as trees of nodes, and what is wrong with them.
Two parsers give the same tree: `quick` reads the plain style that definitions are written in, 30
times faster, and declines everything else; `full` is ruamel.yaml and reads all of YAML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from metric_registry.syntax import full, quick
from metric_registry.syntax.nodes import Node, Problem

_DOCUMENT_START = re.compile(r"^---(?=[ \t\n]|\Z)", re.MULTILINE)
_CONTENT = re.compile(r"^(?!---([ \t]+#.*|[ \t]*)$|\.\.\.[ \t]*$)[ \t]*[^ \t#\n]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file; `root` is None where it could not be read."""

    root: Node | None
    line: int
    problems: tuple[Problem, ...] = ()


def parse(text: str) -> list[Document]:
    """The documents of a file, in order; those without content are left out.

    A document that cannot be read has problems and no root, and the others are read all the same:
    `---` at the start of a line ends a document whatever stands before it (YAML 1.2, 9.1.2).
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    starts = [0, *(match.start() for match in _DOCUMENT_START.finditer(text) if match.start())]
    documents: list[Document] = []
    line = 1
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        chunk = text[start:end]
        if _only_directives(chunk):
            documents += _directives(chunk, line)
        elif _CONTENT.search(chunk):
            documents.append(_document(chunk, line))
        line += chunk.count("\n")
    return documents


def _only_directives(chunk: str) -> bool:
    lines = [line for line in chunk.split("\n") if line.strip() and line.lstrip()[0] != "#"]
    return bool(lines) and all(line.startswith("%") for line in lines)


def _directives(chunk: str, first_line: int) -> list[Document]:
    """What stands before the first `---` is only ever `%YAML 1.2`, which changes nothing."""
    return [
        Document(
            None,
            line,
            (Problem("TM009", "directives are not used here", line, 1, len(text), _ADVICE),),
        )
        for line, text in enumerate(chunk.split("\n"), first_line)
        if text.startswith("%") and text.split() != ["%YAML", "1.2"]
    ]


_ADVICE = "remove the line; definitions are YAML 1.2"


def _document(chunk: str, first_line: int) -> Document:
    root = quick.parse(chunk, first_line)
    if root is not None:
        return Document(root, root.line)
    root, problems = full.parse(chunk, first_line)
    line = root.line if root is not None else problems[0].line if problems else first_line
    return Document(root, line, problems)
