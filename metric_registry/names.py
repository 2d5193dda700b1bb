"""What names say, and what a definition's becomes elsewhere: a view, and a metric of its readers.

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
CANDIDATE = ".candidate"
"""Behind a definition's name: what it would become, computed beside it to be compared."""
_NO_WORD = re.compile(r"[^A-Za-z0-9_]")
_NO_WORDS = re.compile(r"[^a-z0-9]+")
_STATE = re.compile(r"(?:^|.*[._/-])(?:limit|utilization)|.+_total")
_MEAN = re.compile(r"(?:^|.*[._/-])(?:avg|mean|average)")
_QUANTILE = re.compile(r"(?:^|.*[._/-])(?:p[0-9]{2,3}|median|[0-9]{2}(?:th)?[._-]?percentile)")


def escaped_length(name: str) -> int:
    """Bytes of a name as the store writes it: a letter, digit or `_` is one, all else three."""
    return len(name.encode()) + 2 * len(_NO_WORD.findall(name))


def for_readers(name: str) -> str:
    """What readers compare, to whom case, or `.`, `-`, `/` and `_`, are all the same."""
    return _NO_WORDS.sub("_", name.lower())


def is_candidate(name: str) -> bool:
    """Whether it is the name of a candidate, which no definition of a file has."""
    return name.endswith(CANDIDATE)


def is_mean(name: str) -> bool:
    """Whether a metric's name says that its values are means."""
    return _MEAN.fullmatch(name) is not None


def is_quantile(name: str) -> bool:
    """Whether a metric's name says that its values are quantiles."""
    return _QUANTILE.fullmatch(name) is not None


def is_state(name: str) -> bool:
    """Whether a metric's name says that its values are there all the time, and points look at
    them: a limit, a utilization, a running total."""
    return _STATE.fullmatch(name) is not None
