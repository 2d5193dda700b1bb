"""A worker process for the tests: counts records by key, emits (id, count) for each, once.

Run it with a JSON file of settings, or name it to `faust -A` with the file in COUNTING_SETTINGS.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from streams.config import TaskSettings, Topology, WorkerConfig
from streams.task.processor import InputRange, InputRecord, OutputRecord
from streams.worker.app import App, run_worker

BUSY = b"450"
FREE = Path(os.environ.get("COUNTING_BUSY", ""))


class Counting:
    """Counts by key in one block a key; a record `poison` raises; says when it is idle.

    With COUNTING_BUSY in the environment a record BUSY keeps it busy until that file exists; with
    COUNTING_LOOKS_BACK it reads every fourth record a second time before it takes the next one.
    """

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self.counts: dict[bytes, int] = {}
        self.changed: set[bytes] = set()
        self.out: list[OutputRecord] = []
        self.position: int | None = None
        self.back: InputRange | None = None

    def restore(self, blocks: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in blocks:
            if key == b"!":
                self.position = int(value)
            else:
                self.counts[key] = int(value)

    def replay_from(self) -> int | None:
        return self.position

    def process(self, records: Sequence[InputRecord]) -> int:
        for taken, record in enumerate(records, 1):
            if record.value == b"poison":
                raise RuntimeError("this record is poison")
            if record.value == BUSY:
                while os.environ.get("COUNTING_BUSY") and not FREE.exists():
                    time.sleep(0.05)
            key = record.key or b""
            self.counts[key] = self.counts.get(key, 0) + 1
            self.changed.add(key)
            value = b"%s %d" % (record.value, self.counts[key])
            self.out.append(OutputRecord("counted", None, key, value))
            if "COUNTING_LOOKS_BACK" in os.environ and record.offset % 4 == 0:
                self.back = InputRange(record.offset, record.offset + 1)
                return taken
        return len(records)

    def needs(self) -> InputRange | None:
        return self.back

    def supply(self, records: Sequence[InputRecord], done: bool) -> None:
        assert self.back is not None
        assert [record.offset for record in records] in ([], [self.back.start])
        if done:
            self.back = None

    def outputs(self) -> list[OutputRecord]:
        out, self.out = self.out, []
        return out

    def urgent(self) -> bool:
        return False

    def before_commit(self, position: int) -> list[OutputRecord]:
        return [OutputRecord("progress", 0, self.source, b"%d" % position)]

    def idle(self, now_ms: int) -> list[OutputRecord]:
        return [OutputRecord("progress", 0, b"idle " + self.source, b"%d" % now_ms)]

    def snapshot(self, position: int) -> dict[bytes, bytes | None]:
        blocks: dict[bytes, bytes | None] = {k: b"%d" % self.counts[k] for k in self.changed}
        self.changed.clear()
        return blocks | {b"!": b"%d" % position}

    def stats(self) -> dict[str, Any]:
        return {"keys": len(self.counts)}


def configure(path: str) -> tuple[WorkerConfig, list[Topology]]:
    given = json.loads(Path(path).read_text())
    config = WorkerConfig(**(given["worker"] | {"state_dir": Path(given["worker"]["state_dir"])}))
    settings = TaskSettings(**given.get("task", {}))
    topology = Topology(
        "counting",
        lambda topic, partition: Counting(f"{topic}/{partition}"),
        topics=tuple(given.get("topics", ())),
        pattern=given.get("pattern"),
        settings=settings,
        partitions=given.get("partitions"),
    )
    return config, [topology]


if __name__ == "__main__":
    run_worker(*configure(sys.argv[1]))
elif "COUNTING_SETTINGS" in os.environ:
    app = App(*configure(os.environ["COUNTING_SETTINGS"]))

    if os.environ.get("COUNTING_AGENT"):
        FILE = os.open(os.environ["COUNTING_AGENT"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)

        @app.agent(app.topic("counted", value_type=bytes, value_serializer="raw"))
        async def seen(stream: Any) -> None:
            async for value in stream:
                os.write(FILE, value + b"\n")
