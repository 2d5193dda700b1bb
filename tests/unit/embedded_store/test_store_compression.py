"""Bodies in all codings are read to their end, or refused."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tidemill.embedded_store.compression import packer, unpack
from tidemill.embedded_store.errors import StoreError

PACK: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "gzip": gzip.compress,
    "deflate": zlib.compress,
}


def whole(coding: str, body: bytes, limit: int = 1 << 30) -> bytes:
    return b"".join(unpack(coding, body, limit))


@given(
    coding=st.sampled_from(sorted(PACK)),
    parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=6),
)
def test_every_frame_is_read(coding: str, parts: list[bytes]) -> None:
    assert whole(coding, b"".join(map(PACK[coding], parts))) == b"".join(parts)


@pytest.mark.parametrize("coding", sorted(PACK))
def test_large_bodies_come_in_pieces(coding: str) -> None:
    data = bytes(range(256)) * 40_000
    assert whole(coding, PACK[coding](data) * 2) == data * 2


@given(
    coding=st.sampled_from(sorted(PACK)),
    data=st.binary(min_size=200, max_size=3000),
    cut=st.floats(0.01, 0.95),
)
def test_a_body_cut_short_is_never_taken_for_whole(coding: str, data: bytes, cut: float) -> None:
    packed = PACK[coding](data)
    with pytest.raises(StoreError) as error:
        whole(coding, packed[: max(1, int(len(packed) * cut))])
    assert error.value.code == 271


@pytest.mark.parametrize("coding", sorted(PACK))
def test_a_bomb_is_stopped_at_the_limit(coding: str) -> None:
    with pytest.raises(StoreError) as error:
        whole(coding, PACK[coding](bytes(50_000_000)), limit=1_000_000)
    assert error.value.status == 413


def test_an_unknown_coding_is_told_what_is_known() -> None:
    with pytest.raises(StoreError, match="lz4, zstd, gzip, deflate"):
        whole("br", b"x")
    assert whole("", b"x") == whole("identity", b"x") == b"x"


@pytest.mark.parametrize("coding", sorted(PACK))
def test_answers_are_packed_piece_by_piece(coding: str) -> None:
    found = packer(f"br, {coding};q=0.5, *;q=0.1")
    assert found is not None
    name, packing = found
    assert name == coding
    packed = b"".join([packing.compress(b"a" * 1000), packing.compress(b"b"), packing.flush()])
    assert whole(coding, packed) == b"a" * 1000 + b"b"


def test_nothing_is_packed_that_was_not_asked_for() -> None:
    assert packer("") is None
    assert packer("br") is None


@pytest.mark.parametrize("coding", sorted(PACK))
def test_a_bomb_is_refused_before_it_is_unpacked(coding: str) -> None:
    pieces: list[int] = []
    with pytest.raises(StoreError):
        pieces.extend(map(len, unpack(coding, PACK[coding](bytes(200 << 20)), 40 << 20)))
    assert 0 < max(pieces) <= 33 << 20
