"""Sends the demo's deliveries to an edge as agents do: again and again until there is an answer.

    python tests/demo/replay.py --edge 127.0.0.1:4318 --seed 1 --out .tidemill/demo

An answer of 429 or 5xx, a time-out and a broken connection are followed by the same bytes; other
answers are final. Writes what was acknowledged (`acknowledged.otlp.zst`) and a summary
(`replay.json`). Exit code 0: every delivery has its answer.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.framing import read_framed, write_framed
from demo.generate import HOSTS, MINUTE, SECOND, Delivery, deliveries

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "tests" / "data" / "host_10m.otlp.zst"


@dataclass(frozen=True, slots=True)
class Answer:
    """The final answer to one delivery, and how often it had to be sent."""

    delivery: Delivery
    status: int
    attempts: int

    @property
    def acknowledged(self) -> bool:
        """The edge has taken it: it must count, once."""
        return 200 <= self.status < 300


class Agent:
    """Sends one host's deliveries in order.

    patience: seconds until it gives a delivery up; stop: gives up all that is left.
    """

    def __init__(
        self,
        address: str,
        token: str | None,
        *,
        patience: float,
        zipped: bool,
        stop: threading.Event,
    ) -> None:
        self._address = address
        self._stop = stop
        self._patience = patience
        self._zipped = zipped
        self._headers = {"Content-Type": "application/x-protobuf"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        if zipped:
            self._headers["Content-Encoding"] = "gzip"
        self._connection: http.client.HTTPConnection | None = None
        self.answers: list[Answer] = []

    def run(self, schedule: Sequence[Delivery], began: float) -> None:
        """Send each delivery at its time after `began` (monotonic), or as soon as possible."""
        for delivery in schedule:
            self._stop.wait(max(0.0, began + delivery.at - time.monotonic()))
            self.answers.append(self._deliver(delivery))
        self._close()

    def _deliver(self, delivery: Delivery) -> Answer:
        body = gzip.compress(delivery.body, 1) if self._zipped else delivery.body
        give_up = time.monotonic() + self._patience
        attempts, pause, status = 0, 0.1, 0
        while time.monotonic() < give_up and not self._stop.is_set():
            attempts += 1
            try:
                status = self._post(body)
                if status != 429 and status < 500:
                    return Answer(delivery, status, attempts)
            except (OSError, http.client.HTTPException):
                self._close()
            self._stop.wait(pause)
            pause = min(1.5, pause * 2)
        return Answer(delivery, status, attempts)

    def _post(self, body: bytes) -> int:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._address, timeout=12)
        self._connection.request("POST", "/v1/metrics", body, self._headers)
        response = self._connection.getresponse()
        response.read()
        return response.status

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def send(
    address: str,
    schedule: Sequence[Delivery],
    *,
    token: str | None = None,
    patience: float = 120,
    stop: threading.Event | None = None,
) -> list[Answer]:
    """Send everything, one thread a host; the first host's agent compresses."""
    began = time.monotonic()
    ended = stop or threading.Event()
    agents = [
        Agent(address, token, patience=patience, zipped=number == 0, stop=ended)
        for number in range(len(HOSTS))
    ]
    threads = [
        threading.Thread(target=agent.run, args=([d for d in schedule if d.agent == n], began))
        for n, agent in enumerate(agents)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answer for agent in agents for answer in agent.answers]


def next_end(seconds: float, now: int) -> int:
    """The last event's time: just before a full minute, at least `seconds` from now, so that the
    last windows close soon after it.
    """
    return -(-(now + round((seconds + 3) * SECOND)) // MINUTE) * MINUTE - 3 * SECOND


def last_end(now: int) -> int:
    """The last event's time for those in a hurry: just before the full minute that has passed."""
    return now // MINUTE * MINUTE - 3 * SECOND


def summarize(answers: Sequence[Answer], end: int) -> dict[str, object]:
    """What was sent, by story and status, for people and for the summary file."""
    by_story = Counter(f"{a.delivery.story}: {a.status or 'no answer'}" for a in answers)
    return {
        "deliveries": len(answers),
        "acknowledged": sum(answer.acknowledged for answer in answers),
        "sent_again": sum(answer.attempts - 1 for answer in answers),
        "unanswered": sum(
            answer.status == 429 or not 0 < answer.status < 500 for answer in answers
        ),
        "last_event": end,
        "sealed_through": -(-end // MINUTE) * MINUTE,
        "by_story": dict(sorted(by_story.items())),
    }


def replay(
    address: str,
    out: Path,
    *,
    seed: int,
    seconds: float,
    token: str | None = None,
    first: int | None = None,
    past: bool = False,
    stop: threading.Event | None = None,
) -> dict[str, object]:
    """Generate, send, and write down what was acknowledged; returns the summary.

    first: how many of the recording's requests are used; all, if not told. past: the events have
    happened already when they are sent; else the last is sent as it happens.
    """
    out.mkdir(parents=True, exist_ok=True)
    now = time.time_ns()
    end = last_end(now) if past else next_end(seconds, now)
    lasts = seconds if past else (end - now) / SECOND
    recording = list(read_framed(RECORDING))[:first]
    schedule = deliveries(recording, seed=seed, seconds=lasts, end=end)
    answers = send(address, schedule, token=token, stop=stop)
    write_framed(
        out / "acknowledged.otlp.zst", [a.delivery.body for a in answers if a.acknowledged]
    )
    found = summarize(answers, end) | {"seed": seed, "seconds": round(lasts, 1)}
    (out / "replay.json").write_text(json.dumps(found, indent=2) + "\n")
    return found


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", default="127.0.0.1:4318", help="host:port")
    parser.add_argument("--token")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="sending takes at least so long")
    parser.add_argument("--out", type=Path, default=ROOT / ".tidemill" / "demo")
    given = parser.parse_args()
    found = replay(given.edge, given.out, seed=given.seed, seconds=given.seconds, token=given.token)
    print(json.dumps(found, indent=2))
    return 1 if found["unanswered"] else 0


if __name__ == "__main__":
    sys.exit(main())
