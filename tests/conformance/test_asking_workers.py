"""Two real workers on a real broker answer for each other, and for one that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import pytest
from aiokafka import AIOKafkaProducer

from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
SECOND = 10**9
SHOPS = "abcdef"


def wait_until(what: str, done: Any, seconds: float = 240.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := done():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


class Stack:
    """A broker, workers, and the rows that were produced, by partition, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker, one, two = free_ports(3)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = {"one": one, "two": two}
        self.rows: list[list[tuple[str, int, int]]] = [[], []]
        self.now = 0
        data = str(folder / "broker")
        self._start("broker", "broker", "--data", data, "--port", str(self.broker),
                    "--metrics-port", "-1")  # fmt: skip
        wait_until("the broker listens", self._listens)

    def start(self, name: str) -> None:
        state = str(self.folder / f"state-{name}")
        module = "tests.conformance.worker_asked"
        self._start(name, module, f"127.0.0.1:{self.broker}", state, str(self.ports[name]))

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait(10)

    def _start(self, name: str, module: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", module, *arguments]
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.broker), 1):
            return True
        return False

    def produce(self, chance: random.Random, count: int) -> None:
        async def send() -> None:
            producer = AIOKafkaProducer(
                bootstrap_servers=f"127.0.0.1:{self.broker}", enable_idempotence=True
            )
            await producer.start()
            for _ in range(count):
                self.now += chance.randrange(2 * SECOND)
                row = {"shop": chance.choice(SHOPS), "amount": chance.randint(1, 9)}
                at = chance.randrange(2)
                value = json.dumps(row | {"at": self.now}).encode()
                sent = await producer.send_and_wait("rows", value, partition=at)
                assert sent.offset == len(self.rows[at])
                self.rows[at].append((row["shop"], row["amount"], self.now))
            await producer.stop()

        asyncio.run(send())

    def ask(self, name: str, path: str, **asked: Any) -> tuple[int, dict[str, Any], Any]:
        """(status, answer, headers) of a worker; a connection that fails is status 0."""
        url = f"http://127.0.0.1:{self.ports[name]}{path}?{urlencode(asked)}"
        try:
            with urllib.request.urlopen(url, timeout=40) as answer:
                return answer.status, json.load(answer), answer.headers
        except HTTPError as error:
            return error.code, json.load(error), error.headers
        except OSError:
            return 0, {}, {}

    def end(self) -> str:
        return ",".join(f"rows/{at}:{len(rows)}" for at, rows in enumerate(self.rows))

    # ------------------------------------------------------------ what must be answered

    def wanted(self, position: dict[str, int], shop: str) -> dict[int, tuple[int, int]]:
        """Window end -> (rows, their sum) of the windows of a shop that are open at a position."""
        seen = [rows[: position[f"rows/{at}"]] for at, rows in enumerate(self.rows)]
        size = 10 * SECOND
        closed = min(max((at for *_, at in rows), default=-1) // size * size for rows in seen)
        found: dict[int, tuple[int, int]] = {}
        for row_shop, amount, at in (row for rows in seen for row in rows):
            end = -(-at // size) * size
            if row_shop == shop and end > closed:
                count, total = found.get(end, (0, 0))
                found[end] = count + 1, total + amount
        return found

    def check(self, answer: dict[str, Any], shop: str) -> None:
        found = {row["window_end"]: (row["count"], row["total"]) for row in answer["rows"]}
        assert found == self.wanted(answer["position"], shop), answer

    def totals(self, name: str) -> bool:
        """Whether every shop's totals are those of all rows."""
        rows = [row for part in self.rows for row in part]
        for shop in SHOPS:
            mine = [row[1] for row in rows if row[0] == shop]
            status, answer, _ = self.ask(name, "/stores/ever", shop=shop)
            if status != 200 or [(r["count"], r["total"]) for r in answer["rows"]] != [
                (len(mine), sum(mine))
            ]:
                return False
        return True


def check_wrong_questions(stack: Stack) -> None:
    """Each is told what is right."""
    for path, asked, status, code in (
        ("/stores/window", {}, 404, "unknown-store"),
        ("/where/window", {}, 404, "unknown-store"),
        ("/stores/windows", {"shops": "a"}, 400, "wrong-key"),
        ("/stores/windows", {"from": "yesterday"}, 400, "wrong-time"),
        ("/stores/ever", {"from": "0"}, 400, "no-windows"),
        ("/stores/windows", {"min_position": "rows/7:1"}, 400, "unknown-position"),
        ("/stores/windows", {"min_position": "rows/1:1", "wait_ms": "0"}, 503, "behind"),
    ):
        found, said, headers = stack.ask("one", path, **asked)
        assert (found, said["error"]) == (status, code), said
        assert ("Retry-After" in headers) == (status == 503)
    stores = urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['one']}/stores", timeout=10)
    assert [store["store"] for store in json.load(stores)] == ["windows", "ever"]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    try:
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)


@pytest.mark.timeout(900)
def test_every_key_is_answered_by_either_worker_during_and_after_the_death_of_one(stack: Stack):
    chance = random.Random(7)
    stack.start("one")
    stack.start("two")

    def shared() -> bool:
        told = [stack.ask(name, "/where/windows") for name in stack.ports]
        parts = [found.get("held_by", []) for _, found, _ in told]
        return all(len({task["worker"] for task in each}) == 2 for each in parts)

    wait_until("both workers have tasks, and know it", shared)
    check_wrong_questions(stack)
    for _ in range(3):
        stack.produce(chance, 40)
        for name in stack.ports:
            for shop in SHOPS:
                asked = {"shop": shop, "min_position": stack.end(), "wait_ms": 30_000}
                status, answer, _ = stack.ask(name, "/stores/windows", **asked)
                assert status == 200, answer
                stack.check(answer, shop)
    for name in stack.ports:
        wait_until(f"the totals of worker {name}", lambda name=name: stack.totals(name))

    stack.kill("two")
    refused: set[str] = set()
    answered: set[str] = set()
    end = time.monotonic() + 240
    while answered != set(SHOPS) and time.monotonic() < end:
        stack.produce(chance, 2)
        for shop in SHOPS:
            asked = {"shop": shop, "min_position": stack.end(), "wait_ms": 300}
            status, answer, headers = stack.ask("one", "/stores/windows", **asked)
            if status == 200:
                stack.check(answer, shop)
                answered.add(shop)
            else:
                assert status == 503, answer
                assert int(headers["Retry-After"]) >= 1
                refused.add(answer["error"])
    assert answered == set(SHOPS)
    assert "unreachable" in refused, refused
    wait_until("the totals, by the one that is left", lambda: stack.totals("one"))

    stack.start("two")
    wait_until("the other one is back", shared)
    stack.produce(chance, 20)
    for name in stack.ports:
        asked = {"min_position": stack.end(), "wait_ms": 30_000}
        status, answer, _ = stack.ask(name, "/stores/windows", **asked)
        assert status == 200, answer
        for shop in SHOPS:
            rows = [row for row in answer["rows"] if row["shop"] == shop]
            stack.check(answer | {"rows": rows}, shop)
