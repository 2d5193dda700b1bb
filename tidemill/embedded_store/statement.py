"""Reads just enough of a statement to know how to run it.

The engine parses SQL; what must be known before is where an INSERT's data begins, which format was
asked for, whether the answer can be streamed, and whether files of this machine are touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

HEAD_BYTES = 262_144
"""An INSERT's text up to its data must fit here (ClickHouse's default ``max_query_size``)."""

# send_query answers block by block, each complete in itself: joined they are one answer only in
# formats without header and footer.
_STREAMED = {"NATIVE", "TABSEPARATED", "TSV", "CSV", "ROWBINARY", "JSONEACHROW", "NDJSON"}

_NAMES_FOLLOW = {"INTO", "TABLE", "."}

_TOKEN = re.compile(
    rb"""
    (?P<skip> \s+ | --[^\n]* | \#[\ !][^\n]* | /\*.*?\*/ )
  | (?P<string> '(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<quoted> `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*" )
  | (?P<word> [A-Za-z_][\w$]* )
  | (?P<number> \d[\w.]* )
  | (?P<mark> . )
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What was learnt.

    Attributes:
        verb: First keyword in capitals; INSERT and SELECT also where WITH comes first.
        format: Name after FORMAT (``Values`` for VALUES), or None.
        source_at: INSERT with data: what it reads from may be named here.
        head_end: INSERT with data: the statement without format and data ends here.
        data_at: INSERT with data: the data begins here; None for every other statement.
        files: It reads or writes files by INFILE or OUTFILE, which servers leave to their clients.
    """

    verb: str
    format: str | None = None
    source_at: int = 0
    head_end: int = 0
    data_at: int | None = None
    files: bool = False

    @property
    def streamed(self) -> bool:
        """Whether the answer can be sent block by block."""
        return self.verb == "SELECT" and (self.format or "TSV").upper() in _STREAMED

    @property
    def answers(self) -> bool:
        """Whether the statement gives rows (and so an answer has a format)."""
        return self.verb in {"SELECT", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "EXISTS", "CHECK"}


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    """In capitals for a bare word, else as it is."""
    word: bool
    depth: int
    start: int
    end: int


def _tokens(text: bytes) -> Iterator[_Token]:
    depth = 0
    for found in _TOKEN.finditer(text):
        kind = found.lastgroup
        if kind == "skip":
            continue
        raw = found.group()
        if raw in (b")", b"]", b"}"):
            depth -= 1
        shown = raw.upper() if kind == "word" else raw
        yield _Token(shown.decode("latin-1"), kind == "word", depth, found.start(), found.end())
        if raw in (b"(", b"[", b"{"):
            depth += 1


def read_statement(text: bytes) -> Statement:
    """Learn how to run a statement.

    Args:
        text: SQL; of an INSERT with data, at least the first ``HEAD_BYTES`` of both together.
    """
    verb = ""
    before = ""
    settings_at: int | None = None
    for token in _tokens(text):
        if not token.word:
            if token.text == "(" and not verb:
                verb = "SELECT"  # (SELECT ...) UNION ALL ...
            before = token.text
            continue
        if not verb or (verb == "WITH" and token.depth == 0 and token.text == "SELECT"):
            verb = "SELECT" if token.text == "FROM" else token.text
        elif verb == "WITH" and token.depth == 0 and token.text == "INSERT":
            verb = "INSERT"
        if verb == "INSERT" and token.depth == 0:
            if token.text == "SETTINGS" and before not in _NAMES_FOLLOW and settings_at is None:
                settings_at = token.start
            found = _insert_part(text, token, before)
            if found is not None:
                return replace(found, source_at=settings_at or found.head_end)
        before = token.text
    return Statement(verb, _asked_format(text), files=_writes_file(text))


def _insert_part(text: bytes, token: _Token, before: str) -> Statement | None:
    """What a keyword of an INSERT decides, or None to read on."""
    if before in _NAMES_FOLLOW:
        return None  # a table with a keyword's name
    if token.text == "VALUES":
        return Statement("INSERT", "Values", head_end=token.start, data_at=token.end)
    if token.text == "INFILE" and before == "FROM":
        return Statement("INSERT", files=True)
    if token.text in {"SELECT", "WITH", "WATCH", "EXPLAIN"}:
        return Statement("INSERT")
    if token.text == "FORMAT":
        found = next(iter(_tokens(text[token.end : token.end + 256])), None)
        if found is not None and found.word:
            start = token.end + found.start
            end = token.end + found.end
            at = _skip_line_end(text, end)
            name = text[start:end].decode()
            return Statement("INSERT", name, head_end=token.start, data_at=at)
    return None


def _skip_line_end(text: bytes, at: int) -> int:
    """Past the blanks and the one line end that may stand between a format's name and data."""
    while text[at : at + 1] in (b" ", b"\t", b"\f"):
        at += 1
    if text[at : at + 2] == b"\r\n":
        return at + 2
    return at + 1 if text[at : at + 1] == b"\n" else at


def _asked_format(text: bytes) -> str | None:
    """The name in a FORMAT clause at the end of a statement."""
    tokens = [token for token in _tokens(text) if token.text != ";"]
    for at, token in enumerate(tokens[:-1]):
        if not (token.word and token.depth == 0 and token.text == "FORMAT"):
            continue
        name, after = tokens[at + 1], tokens[at + 2 : at + 3]
        if name.word and (not after or after[0].text in {"SETTINGS", "INTO"}):
            return text[name.start : name.end].decode()
    return None


def _writes_file(text: bytes) -> bool:
    before = ""
    for token in _tokens(text):
        if token.word and token.text == "OUTFILE" and before == "INTO":
            return True
        before = token.text if token.word else ""
    return False
