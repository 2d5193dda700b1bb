"""Regular expressions in linear time: what agents send must not be able to stop a worker.

The usual syntax without what needs backtracking: literals, `.`, `[a-z]`, `[^0-9]`, `\\d \\w \\s`
and their opposites (ASCII), `(...)`, `(?:...)`, `|`, `* + ? {2,5}` and their lazy forms, `^`, `$`
(the end). Of several matches the leftmost counts, then the one a backtracking matcher finds first
(R. Cox, "Regular Expression Matching: the Virtual Machine Approach"): as Python's `re`, in time of
pattern times text. What can be empty is not repeated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from metric_registry.pattern_syntax import Chars, Node, Parser, PatternError

MOST_STEPS = 2_000
LONGEST_PATTERN = 255
LONGEST_TEXT = 1_024
"""Characters; what is longer matches nothing."""


@dataclass(slots=True)
class Pattern:
    """A compiled pattern. `groups`: how many it captures."""

    groups: int
    _program: list[tuple[str, int, int, Chars | None]]

    def search(self, text: str) -> tuple[str | None, ...] | None:
        """The match and its groups, None where one takes no part; None: there is no match."""
        if len(text) > LONGEST_TEXT:
            return None
        width = 2 * (self.groups + 1)
        running: list[tuple[int, tuple[int, ...]]] = []
        best: tuple[int, ...] | None = None
        for at in range(len(text) + 1):
            seen: set[int] = set()
            ready: list[tuple[int, tuple[int, ...]]] = []
            for pc, saved in running:
                self._follow(pc, saved, at, len(text), seen, ready)
            if best is None:
                self._follow(0, (-1,) * width, at, len(text), seen, ready)
            running = []
            for pc, saved in ready:
                kind, _, _, chars = self._program[pc]
                if kind == "match":
                    best = saved
                    break
                if at < len(text) and chars is not None and chars.has(text[at]):
                    running.append((pc + 1, saved))
            if not running and best is not None:
                break
        if best is None:
            return None
        spans = zip(best[::2], best[1::2], strict=True)
        return tuple(None if b < 0 or e < 0 else text[b:e] for b, e in spans)

    def _follow(
        self,
        first: int,
        saved: tuple[int, ...],
        at: int,
        end: int,
        seen: set[int],
        ready: list[tuple[int, tuple[int, ...]]],
    ) -> None:
        """Adds the steps that wait for a character, in order of preference."""
        waiting = [(first, saved)]
        while waiting:
            pc, slots = waiting.pop()
            if pc in seen:
                continue
            seen.add(pc)
            kind, a, b, _ = self._program[pc]
            if kind == "split":
                waiting += [(b, slots), (a, slots)]
            elif kind == "jump":
                waiting.append((a, slots))
            elif kind == "save":
                waiting.append((pc + 1, (*slots[:a], at, *slots[a + 1 :])))
            elif kind == "begin" or kind == "end":
                if at == (0 if kind == "begin" else end):
                    waiting.append((pc + 1, slots))
            else:
                ready.append((pc, slots))


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Pattern:
    """The pattern, compiled.

    Raises:
        PatternError: It is none, or asks for what is not offered here.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise PatternError(f"a pattern has at most {LONGEST_PATTERN} characters", 0)
    parser = Parser(pattern)
    node = parser.parse()
    program: list[tuple[str, int, int, Chars | None]] = []
    _emit(Node("group", (node,), low=-1), program)
    program.append(("match", 0, 0, None))
    return Pattern(parser.groups, program)


def _emit(node: Node, out: list[tuple[str, int, int, Chars | None]]) -> None:
    if len(out) > MOST_STEPS:
        raise PatternError("the pattern is too large: its counts multiply", 0)
    if node.kind == "chars":
        out.append(("chars", 0, 0, node.chars))
    elif node.kind in ("begin", "end"):
        out.append((node.kind, 0, 0, None))
    elif node.kind == "cat":
        for part in node.parts:
            _emit(part, out)
    elif node.kind == "group":
        number = max(0, node.low)
        if node.low:
            out.append(("save", 2 * number, 0, None))
        _emit(node.parts[0], out)
        if node.low:
            out.append(("save", 2 * number + 1, 0, None))
    elif node.kind == "alt":
        jumps: list[int] = []
        for part in node.parts[:-1]:
            split = len(out)
            out.append(("split", 0, 0, None))
            _emit(part, out)
            jumps.append(len(out))
            out.append(("jump", 0, 0, None))
            out[split] = ("split", split + 1, len(out), None)
        _emit(node.parts[-1], out)
        for jump in jumps:
            out[jump] = ("jump", len(out), 0, None)
    else:
        _repeat(node, out)


def _repeat(node: Node, out: list[tuple[str, int, int, Chars | None]]) -> None:
    for _ in range(node.low):
        _emit(node.parts[0], out)
    again = len(out)
    for _ in range(1 if node.high < 0 else node.high - node.low):
        split = len(out)
        out.append(("split", 0, 0, None))
        _emit(node.parts[0], out)
        if node.high < 0:
            out.append(("jump", again, 0, None))
        first, second = (len(out), split + 1) if node.lazy else (split + 1, len(out))
        out[split] = ("split", first, second, None)
