"""Failures as ClickHouse tells them: a code, a sentence, an HTTP status.

Codes and statuses follow ClickHouse's ``ErrorCodes`` and ``exceptionCodeToHTTPStatus``.
"""

from __future__ import annotations

import re

SYNTAX_ERROR = 62
NOT_IMPLEMENTED = 48
READONLY = 164
TOO_MANY_SIMULTANEOUS_QUERIES = 202
QUERY_IS_TOO_LARGE = 229
UNKNOWN_COMPRESSION_METHOD = 89
CANNOT_DECOMPRESS = 271
NOT_ENOUGH_SPACE = 243
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
INVALID_SESSION_TIMEOUT = 374
QUERY_WAS_CANCELLED = 394
BAD_REQUEST_PARAMETER = 36
AUTHENTICATION_FAILED = 516
INTERNAL = 1001

_NAMES = {
    SYNTAX_ERROR: "SYNTAX_ERROR",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    READONLY: "READONLY",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    INVALID_SESSION_TIMEOUT: "INVALID_SESSION_TIMEOUT",
    QUERY_WAS_CANCELLED: "QUERY_WAS_CANCELLED",
    BAD_REQUEST_PARAMETER: "BAD_ARGUMENTS",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    INTERNAL: "STD_EXCEPTION",
}

_STATUS = {
    # 400: what was sent cannot be read
    **dict.fromkeys((26, 27, 38, 41, 50, 53, 57, 62, 69, 70, 72, 117, 130, 131, 456), 400),
    **dict.fromkeys((BAD_REQUEST_PARAMETER, CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD), 400),
    AUTHENTICATION_FAILED: 403,
    497: 403,
    # 404: what was named is not there
    **dict.fromkeys((16, 46, 47, 60, 63, 73, 81, 83, 115, 218, SESSION_NOT_FOUND), 404),
    159: 408,
    QUERY_IS_TOO_LARGE: 413,
    NOT_IMPLEMENTED: 501,
    TOO_MANY_SIMULTANEOUS_QUERIES: 503,
}
_CODE = re.compile(r"Code: (\d+)\. ")


class StoreError(Exception):
    """A request that failed, as its client is told.

    Attributes:
        code: ClickHouse's number for it.
        status: The HTTP status that goes with it.
    """

    def __init__(self, code: int, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status if status is not None else _STATUS.get(code, 500)

    def text(self, version: str) -> str:
        """The body of the answer, in ClickHouse's form."""
        if self.message.startswith("Code: "):
            text = self.message
        else:
            name = _NAMES.get(self.code, "STD_EXCEPTION")
            text = f"Code: {self.code}. DB::Exception: {self.message} ({name})"
        return text if "(version " in text else f"{text} (version {version})"


class StartError(Exception):
    """The store cannot start; the message says what to do."""


def engine_error(message: str) -> StoreError:
    """The engine's own message, cut to where its code begins."""
    at = message.find("Code: ")
    text = (message[at:] if at >= 0 else message).strip()
    found = _CODE.match(text)
    return StoreError(int(found.group(1)) if found else INTERNAL, text)


def exception_block(error: StoreError, tag: str, version: str) -> bytes:
    """How an error is told inside an answer that has begun (ClickHouse 25.11 and later).

    ``__exception__ TAG message length TAG __exception__``; a client that knows the tag from the
    header ``X-ClickHouse-Exception-Tag`` cannot take it for data.
    """
    message = error.text(version).encode()
    body = b"__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n"
    return b"\r\n" + body % (tag.encode(), message, len(message) + 1, tag.encode())
