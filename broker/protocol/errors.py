"""Kafka's error codes, and the two ways a request can be refused before a handler sees it."""

from __future__ import annotations

from kio.schema.errors import ErrorCode

__all__ = ["ErrorCode", "MalformedRequestError"]


class MalformedRequestError(Exception):
    """The bytes are not what the header says; the connection cannot be trusted any further."""
