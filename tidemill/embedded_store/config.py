"""What the embedded store is told, validated once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Settings of one store process.

    Attributes:
        data: Its folder; made when missing. One process at a time may hold it.
        host: Address to listen on. Other than loopback only with a password.
        port: TCP port; 0 picks a free one.
        user: The one user.
        password: Asked for when not empty.
        memory_bytes: What queries, inserts and merges may hold together; beyond it a query fails
            with MEMORY_LIMIT_EXCEEDED and the store goes on.
        reserve_bytes: Disk that is left free. chdb takes no notice of a write that fails (a full
            disk, a limit): an insert would be acknowledged and its rows not be there. So nothing is
            written once less than this is free, and merges stop at half of it.
        threads: Requests that the engine works on at a time; others wait.
        queue: Requests that may wait; more are answered 503.
        max_body_bytes: A larger request body is answered 413.
        max_unpacked_bytes: A body that unpacks to more is refused.
        buffered_bytes: Request bodies held at a time; more are answered 503.
        answer_bytes: With ``wait_end_of_query``, how much of an answer is held before it is sent.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "default"
    password: str = ""
    memory_bytes: int = 2048 * _MIB
    reserve_bytes: int = 256 * _MIB
    threads: int = 8
    queue: int = 256
    max_body_bytes: int = 256 * _MIB
    max_unpacked_bytes: int = 1024 * _MIB
    buffered_bytes: int = 512 * _MIB
    answer_bytes: int = 64 * _MIB

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not between 0 and 65535")
        for name in ("threads", "memory_bytes", "max_body_bytes", "max_unpacked_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above zero")
        if not self.password and not is_loopback(self.host):
            raise ValueError(
                f"the store would listen on {self.host} for everybody: set a password, "
                "or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
