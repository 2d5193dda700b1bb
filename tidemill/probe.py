"""Small questions to the processes of a deployment over loopback HTTP and TCP."""

from __future__ import annotations

import asyncio
import http.client
import urllib.request
from typing import Any

import msgspec


class Unreachable(ConnectionError):
    """Nothing answers there, or not in time."""


async def get(url: str, timeout: float = 2.0) -> bytes:
    """The body of a GET that answered 200.

    Raises:
        Unreachable: No answer, another status, or none within `timeout` seconds.
    """
    return await asyncio.to_thread(_get, url, timeout)


def _get(url: str, timeout: float) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{url}: {error}") from error


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
