"""A stream as people and definitions see it, and the labels of the group it belongs to."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from topologies.encodings import points

TENANT = "tenant"
FORCED = "resource."
"""In front of a name: the resource's attribute alone is meant."""
quoted = json.encoder.encode_basestring
"""A string as `json.dumps(text, ensure_ascii=False)` writes it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What identifies a stream.

    Attribute values are str, bool, int, float, list, dict, bytes or None. ``kind`` is that of
    :mod:`topologies.encodings.points`, without MONOTONIC; ``bounds`` are those of its explicit
    histograms: points of other bounds are of another stream. Streams of one metric share their
    dictionaries of resource and scope: read them only.
    """

    slot: int
    tenant: str
    resource: dict[str, Any]
    scope_name: str
    scope_version: str
    scope: dict[str, Any]
    metric: str
    unit: str
    kind: int
    monotonic: bool
    attributes: dict[str, Any]
    bounds: tuple[float, ...] = ()

    @property
    def kind_name(self) -> str:
        """The kind in words."""
        return points.kind_name(self.kind)


class GroupLabels(NamedTuple):
    """``labels``: a JSON object of strings, keys sorted, compact, UTF-8; ``hi``, ``lo``: the
    halves of its BLAKE2b-128, big endian: the canonical hash of the group."""

    labels: bytes
    hi: int
    lo: int


def look_up(stream: Stream, name: str) -> str | None:
    """The value of a grouping attribute as a label, or ``None`` if the stream has none.

    Looked for in the point's attributes, then the scope's, then the resource's; ``resource.NAME``
    only there; ``tenant`` is the tenant.
    """
    if name == TENANT:
        return stream.tenant
    if name.startswith(FORCED):
        places, key = (stream.resource,), name.removeprefix(FORCED)
    else:
        places, key = (stream.attributes, stream.scope, stream.resource), name
    for place in places:
        if key in place:
            return render(place[key])
    return None


def group_labels(
    stream: Stream, keep: Sequence[str], lookup: Callable[[str], str | None] | None = None
) -> GroupLabels:
    """The group of a stream, by the attributes kept and always the tenant.

    lookup: Gives the attributes, if not `look_up` of the stream.
    """
    labels = {TENANT: stream.tenant}
    for name in keep:
        value = look_up(stream, name) if lookup is None else lookup(name)
        if value is not None:
            labels[name] = value
    written = ",".join([f"{quoted(name)}:{quoted(labels[name])}" for name in sorted(labels)])
    data = f"{{{written}}}".encode()
    digest = hashlib.blake2b(data, digest_size=16).digest()
    return GroupLabels(data, int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big"))


def render(value: Any) -> str:
    """An attribute value as a label: strings as they are, all else as compact JSON."""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_base64
    )


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()
