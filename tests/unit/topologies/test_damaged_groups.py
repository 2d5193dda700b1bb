"""Groups of a damaged block are refused before anything is reserved for them."""

from __future__ import annotations

import struct

import pytest

from topologies.identity.stream import GroupLabels
from topologies.preaggregate.groups import Groups


@pytest.mark.parametrize("wrong", [0, 13, 15, 1 << 30, (1 << 32) - 1])
def test_lengths_that_are_not_those_of_the_labels_are_refused(wrong: int):
    groups = Groups()
    groups.number(GroupLabels(b'{"tenant":"t"}', 1, 2))
    hashes, lengths, owners, labels = groups.export(0, 1)
    assert struct.unpack("<I", lengths) == (14,)
    again = Groups()
    with pytest.raises(ValueError, match=f"strings of {wrong} bytes, but there are 14"):
        again.load([(hashes, struct.pack("<I", wrong), owners, labels)])
    again.load([(hashes, lengths, owners, labels)])
    assert len(again) == 1
