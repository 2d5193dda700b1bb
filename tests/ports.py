"""Ports of loopback for servers of tests, which keep them while they are stopped and started again.

The system gives connections ports above the first of `ip_local_port_range`, so these are below it;
and a block of them is one process's until it ends, so tests side by side do not meet.
"""

from __future__ import annotations

import fcntl
import random
import socket
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO

FIRST = 12_000
BLOCK = 50
_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_locks: list[IO[bytes]] = []
_left: list[int] = []


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, one behind the other. count: at most `BLOCK`."""
    assert 0 < count <= BLOCK, "more ports than a block holds"
    while True:
        if len(_left) < count:
            _left[:] = _block()
        ports = _left[:count]
        del _left[:count]
        if _unused(ports):
            return ports


def _block() -> list[int]:
    """Ports that no other process of tests takes before this one ends."""
    behind = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else 32_768
    firsts = list(range(FIRST, behind - BLOCK + 1, BLOCK))
    random.SystemRandom().shuffle(firsts)
    folder = Path(tempfile.gettempdir()) / "tidemill-test-ports"
    folder.mkdir(exist_ok=True)
    for first in firsts:
        lock = (folder / str(first)).open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            _locks.append(lock)
            return list(range(first, first + BLOCK))
    raise RuntimeError(f"all blocks of ports from {FIRST} to {behind} are taken by tests")


def _unused(ports: list[int]) -> bool:
    with ExitStack() as held:
        for port in ports:
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
