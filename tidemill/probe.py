"""Small questions to the processes of a deployment over loopback HTTP and TCP."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec


class Unreachable(ConnectionError):
    """Nothing answers there, or not in time."""


async def get(url: str, timeout: float = 2.0) -> bytes:
    """The body of a GET that answered 200.

    Raises:
        Unreachable: No answer, another status, or none within `timeout` seconds.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(
                    f"GET {target} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
                )
                raw = await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        raise Unreachable(f"{url}: {error or 'no answer in time'}") from error
    head, _, body = raw.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        raise Unreachable(f"{url}: answered {head.splitlines()[:1]}")
    return body


async def get_json(url: str, timeout: float = 2.0) -> Any:
    """The JSON that a GET answers. Raises Unreachable, also where it is no JSON."""
    body = await get(url, timeout)
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Unreachable(f"{url}: answered no JSON: {error}") from error


async def listens(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether something accepts connections there."""
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
        writer.close()
    except (OSError, TimeoutError):
        return False
    return True
