"""States that say what cannot be: refused, with no memory taken for what is not there."""

import struct

import pytest

from streams.aggregates import UnreadableState, made
from streams.aggregates.encoding import pack
from streams.aggregates.pooled import seal

MANY = 1 << 51


@pytest.mark.parametrize("spelling", ["distinct_count(6)", "top_k(3)", "exponential_histogram(20)"])
def test_a_state_of_more_rows_than_it_has_bytes_is_refused(spelling: str):
    aggregate = made(spelling)
    empty = aggregate.encode(aggregate.empty(0))
    title = 3 + empty[2]
    parts, at = [], title + 11
    for _ in range(empty[title + 10] - 1):
        (size,) = struct.unpack_from("<Q", empty, at)
        parts.append(empty[at + 8 : at + 8 + size])
        at += 8 + size
    assert seal(aggregate.name, aggregate.version, 0, *parts) == empty
    with pytest.raises(UnreadableState, match="rows"):
        aggregate.decode(seal(aggregate.name, aggregate.version, MANY, *parts))


def test_increases_of_more_rows_than_a_word_counts_are_refused():
    aggregate = made("increase")
    with pytest.raises(UnreadableState):
        aggregate.decode(pack("increase", aggregate.version, 2**64 - 1, b"", b"", b"", b""))
