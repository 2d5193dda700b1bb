"""Keys of the upsert topic."""

from __future__ import annotations

import json
from datetime import datetime

from oracle import windows
from oracle.definitions import SECOND
from oracle.oracle import Key


def row_of(key: bytes) -> Key:
    """The row that a record of this key replaces."""
    told = json.loads(key)
    size = windows.parse(told["granularity"], told.get("zone", "UTC"))
    end = int(datetime.fromisoformat(told["window_end"]).timestamp()) * SECOND
    return Key(told["metric"], size, end, tuple(sorted(told["labels"].items())))
