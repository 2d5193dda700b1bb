"""The replay behaves as agents do: the same bytes again until there is a final answer."""

import gzip
import threading
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from demo.generate import MINUTE, SECOND, Delivery
from demo.replay import next_end, send, summarize


class TroubledEdge(ThreadingHTTPServer):
    """Takes a body at the third attempt: first 503, then the connection ends without an answer.

    Bodies that begin with `bad` are refused for good.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: dict[bytes, int] = defaultdict(int)
        self.taken: list[bytes] = []
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: TroubledEdge

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = gzip.decompress(raw) if self.headers["Content-Encoding"] == "gzip" else raw
        with self.server.lock:
            self.server.seen[body] += 1
            attempt = self.server.seen[body]
            if attempt == 3 and not body.startswith(b"bad"):
                self.server.taken.append(body)
        if body.startswith(b"bad"):
            self._answer(400)
        elif attempt == 1:
            self._answer(503)
        elif attempt == 2:
            self.close_connection = True
        else:
            self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def edge() -> Iterator[TroubledEdge]:
    with TroubledEdge() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_delivery_is_sent_again_with_the_same_bytes_until_it_is_taken(edge: TroubledEdge) -> None:
    schedule = [
        Delivery(agent, 0.0, f"body {agent} {n}".encode()) for agent in range(3) for n in (1, 2)
    ]
    schedule.append(Delivery(1, 0.0, b"bad", "malformed"))
    answers = send(f"127.0.0.1:{edge.server_address[1]}", schedule, patience=20)
    assert sorted(edge.taken) == sorted(d.body for d in schedule if d.body != b"bad")
    assert {a.delivery.body for a in answers if a.acknowledged} == set(edge.taken)
    assert all(a.attempts == (1 if a.delivery.body == b"bad" else 3) for a in answers)
    found = summarize(answers, end=MINUTE)
    assert found["acknowledged"] == 6
    assert found["sent_again"] == 12
    assert found["unanswered"] == 0
    assert found["by_story"] == {"in order: 200": 6, "malformed: 400": 1}


def test_what_gets_no_answer_is_told(edge: TroubledEdge) -> None:
    address = f"127.0.0.1:{edge.server_address[1]}"
    answers = send(address, [Delivery(0, 0.0, b"once")], patience=0.05)
    assert [a.acknowledged for a in answers] == [False]
    assert summarize(answers, end=MINUTE)["unanswered"] == 1


def test_the_last_event_lies_just_before_a_full_minute() -> None:
    for now in (0, 1, 17 * SECOND, 57 * SECOND, 59 * SECOND):
        end = next_end(60, now)
        assert (end + 3 * SECOND) % MINUTE == 0
        assert 60 * SECOND <= end - now <= 123 * SECOND
