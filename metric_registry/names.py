"""What a definition's name becomes elsewhere: a view of the store, and a metric of its readers.

Sources: OpenTelemetry, Metrics API, "Instrument name syntax" (names are case-insensitive) and
"Prometheus and OpenMetrics Compatibility" (what no name of theirs has is one `_`); ClickHouse,
`DatabaseOnDisk`: a view is a file of its escaped name, and goes away as another that says its
database and an identifier as well, within the 255 bytes of a file's name.
"""

from __future__ import annotations

import re

TABLES = frozenset(("rollups", "rollups_v1", "certificates_v1", "schema_versions"))
"""Those of the store's database that are no definition's view."""
LONGEST_ESCAPED = 205
"""Bytes of a view's escaped name in a database that is named `tidemill`."""
_NO_WORD = re.compile(r"[^A-Za-z0-9_]")
_NO_WORDS = re.compile(r"[^a-z0-9]+")


def escaped_length(name: str) -> int:
    """Bytes of a name as the store writes it: a letter, digit or `_` is one, all else three."""
    return len(name.encode()) + 2 * len(_NO_WORD.findall(name))


def for_readers(name: str) -> str:
    """What readers compare, to whom case, or `.`, `-`, `/` and `_`, are all the same."""
    return _NO_WORDS.sub("_", name.lower())
