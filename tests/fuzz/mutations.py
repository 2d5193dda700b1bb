"""Damage: bytes that were good, changed the way transport, bugs and attackers change them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

VARINTS = (
    b"\x80", b"\xff", b"\x80\x00", b"\xff" * 9 + b"\x01", b"\xff" * 10, b"\x80" * 9 + b"\x01",
    b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x7f", b"\x80\x80\x80\x80\x10",
)  # fmt: skip
"""Too long, without an end, past 32 bits, past 64 bits."""
WORDS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
Mutate = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def _byte(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def _bit(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _step(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """A length, a count or a tag that is one off."""
    at = rng.randrange(len(data))
    data[at] = (data[at] + rng.choice((1, -1))) & 255


def _cut(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def _gone(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice((1, 2, 4, 9, 40))]


def _noise(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 9)))


def _twice(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at, begin = rng.randrange(len(data) + 1), rng.randrange(len(data))
    data[at:at] = data[begin : begin + rng.randrange(1, 60)]


def _varint(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.randrange(2)] = rng.choice(VARINTS)


def _word(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """A length or count of a fixed width, at either end of its range."""
    size = rng.choice((2, 4, 8))
    word = rng.choice((*WORDS, len(data), 1 << 62, (1 << 63) - 1, (1 << 64) - 1))
    at = rng.randrange(len(data))
    order = rng.choice(("little", "big"))
    data[at : at + size] = (word & ((1 << 8 * size) - 1)).to_bytes(size, order)


def _splice(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """The head of this, the rest of another."""
    other = rng.choice(corpus)
    data[rng.randrange(len(data)) :] = other[rng.randrange(len(other) + 1) :]


def _swap(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """A piece of another in place of a piece of this."""
    other = rng.choice(corpus)
    begin, at = rng.randrange(len(other) + 1), rng.randrange(len(data))
    size = rng.randrange(1, 60)
    data[at : at + size] = other[begin : begin + size]


def _deep(rng: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    """The same few bytes very often: what opens a list, a message, a map."""
    at = rng.randrange(len(data) + 1)
    piece = rng.choice((b"[", b'{"a":', b"\x2a\x02", b"\x32\x04\x0a\x02", bytes(data[at : at + 3])))
    data[at:at] = piece * rng.choice((10, 100, 101, 120, 1500))


MUTATIONS: tuple[Mutate, ...] = (
    _byte, _bit, _bit, _step, _step, _cut, _gone, _noise, _twice, _varint, _word, _splice, _swap,
)  # fmt: skip


def mutated(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus with one to four changes; one of 200 is nested deeply."""
    data = bytearray(rng.choice(corpus))
    if rng.random() < 0.005:
        _deep(rng, data, corpus)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if data:
            rng.choice(MUTATIONS)(rng, data, corpus)
    return bytes(data)
