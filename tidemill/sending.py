"""Sending the records of one transaction (S)."""

# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sent:
    """A record for a partition."""

    topic: str
    partition: int
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


async def send(producer: Any, records: Iterable[Sent]) -> None:
    """Send all, and wait until the log has them. Raises what the client raises, of the first."""
    waiting: list[Any] = []
    try:
        for one in records:
            sent = await producer.send(
                one.topic, one.value, key=one.key, partition=one.partition,
                headers=list(one.headers),
            )  # fmt: skip
            waiting.append(sent)
    finally:
        answers = await asyncio.gather(*waiting, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
