"""States of aggregates over points beside rows of groups.

By aggregate (as plans spell it) there are *pieces*: which rows of some table have a state, and
where it is. Rows are taken, joined and renumbered without touching a state; `settled` merges what
belongs together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.aggregates import made
from streams.batch import BytesColumn, MalformedTable

I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """Row index[j] of `state` belongs to row rows[j] of the table; both i64[k].

    A state is shared by pieces, and never changed.
    """

    rows: I64
    index: I64
    state: Any

    def where(self, rows: I64) -> Piece:
        """With other row numbers i64[k]; what has -1 is left out."""
        stays = rows >= 0
        if bool(stays.all()):
            return Piece(rows, self.index, self.state)
        return Piece(rows[stays], self.index[stays], self.state)


States = Mapping[str, tuple[Piece, ...]]
NO_STATES: States = {}


def renumbered(states: States, numbers: I64) -> States:
    """The states of rows that have new numbers i64[rows]; -1: they are gone."""
    found: dict[str, tuple[Piece, ...]] = {}
    for spelling, pieces in states.items():
        kept = tuple(piece.where(numbers[piece.rows]) for piece in pieces)
        kept = tuple(piece for piece in kept if len(piece.rows))
        if kept:
            found[spelling] = kept
    return found


def taken(states: States, chosen: I64, rows: int) -> States:
    """The states of the rows at these indexes, of so many rows."""
    numbers = np.full(rows, -1, np.int64)
    numbers[chosen] = np.arange(len(chosen))
    return renumbered(states, numbers)


def sliced(states: States, first: int, end: int) -> States:
    """The states of rows from `first` up to, without, `end`."""
    found: dict[str, tuple[Piece, ...]] = {}
    for spelling, pieces in states.items():
        kept = tuple(
            piece.where(
                np.where((piece.rows >= first) & (piece.rows < end), piece.rows - first, -1)
            )
            for piece in pieces
        )
        kept = tuple(piece for piece in kept if len(piece.rows))
        if kept:
            found[spelling] = kept
    return found


def joined(parts: Iterable[tuple[States, int]]) -> States:
    """The states of tables (each with its number of rows), one after the other."""
    found: dict[str, tuple[Piece, ...]] = {}
    at = 0
    for states, rows in parts:
        for spelling, pieces in states.items():
            moved = tuple(Piece(p.rows + at, p.index, p.state) for p in pieces)
            found[spelling] = found.get(spelling, ()) + moved
        at += rows
    return found


def merged_piece(spelling: str, pieces: Sequence[Piece]) -> Piece:
    """One piece with rows ascending, each once: states of one row merged."""
    aggregate = made(spelling)
    every = np.concatenate([piece.rows for piece in pieces])
    rows = np.unique(every)
    state = aggregate.empty(len(rows))
    for piece in pieces:
        aggregate.merge(state, np.searchsorted(rows, piece.rows), piece.state, piece.index)
    return Piece(rows, np.arange(len(rows)), state)


def settled(states: States) -> States:
    """The same with one piece an aggregate, whose state is its own."""
    return {spelling: (merged_piece(spelling, pieces),) for spelling, pieces in states.items()}


# ---------------------------------------------------------------- as bytes

_HEAD = 8


def state_column(states: States, rows: int) -> BytesColumn:
    """The states of a table's rows as a column: row k holds those of the k-th aggregate.

    Layout of an entry, little endian: length of the spelling u32 and the number k of states u32,
    the spelling, the rows i64[k] ascending, then what the aggregate's `encode` wrote.
    """
    blocks: list[bytes] = []
    for spelling, pieces in sorted(states.items()):
        piece = merged_piece(spelling, pieces)
        name = spelling.encode()
        head = len(name).to_bytes(4, "little") + len(piece.rows).to_bytes(4, "little")
        places = piece.rows.astype("<i8").tobytes()
        blocks.append(b"".join((head, name, places, made(spelling).encode(piece.state))))
    return BytesColumn.of([*blocks, *[b""] * (rows - len(blocks))])


def states_of(column: BytesColumn) -> States:
    """The states that `state_column` wrote.

    Raises:
        MalformedTable: An entry names rows that the table has not.
        UnknownAggregate: This program knows no such aggregate.
        UnreadableState: Another version of the aggregate wrote the state.
    """
    found: dict[str, tuple[Piece, ...]] = {}
    for block in column:
        if not block:
            break
        name, count = (int.from_bytes(block[at : at + 4], "little") for at in (0, 4))
        at = _HEAD + name
        spelling = block[_HEAD:at].decode()
        if len(block) < at + 8 * count:
            raise MalformedTable(f"the states of {spelling!r} are cut short")
        rows = np.frombuffer(block, "<i8", count, at).astype(np.int64)
        if count and not (int(rows.min()) >= 0 and int(rows.max()) < len(column)):
            raise MalformedTable(f"a state of {spelling!r} is of none of {len(column)} rows")
        state = made(spelling).decode(block[at + 8 * count :])
        found[spelling] = (Piece(rows, np.arange(count), state),)
    return found
