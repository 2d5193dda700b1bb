"""Which groups have some labels, without reading the labels of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from streams.batch import BytesColumn
from topologies.identity.stream import quoted


def with_labels(column: BytesColumn, wanted: Mapping[str, str | None]) -> npt.NDArray[np.bool_]:
    """bool[n]: which of the labels have all of these; None: have no such label.

    Labels are compact JSON objects of strings. Quotes inside strings are escaped, so `,"` and `{"`
    are nowhere but before a key.
    """
    found = np.ones(len(column), np.bool_)
    for name, value in wanted.items():
        text = f"{quoted(name)}:{'' if value is None else quoted(value)}".encode()
        places = list(_keys(column.data, text))
        has = np.zeros(len(column), np.bool_)
        has[np.searchsorted(column.offsets, np.array(places, np.int64), side="right") - 1] = True
        found &= ~has if value is None else has
    return found


def _keys(data: bytes, text: bytes) -> Iterator[int]:
    """Where the text stands behind a brace or a comma."""
    at = data.find(text)
    while at >= 0:
        if data[at - 1] in b"{,":
            yield at
        at = data.find(text, at + 1)
