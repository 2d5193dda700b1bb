"""What a request's parts mean, how errors are told, how long sessions last."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, cast

import pytest

from tidemill.embedded_store.config import StoreConfig
from tidemill.embedded_store.errors import StoreError, engine_error, exception_block
from tidemill.embedded_store.request import Request, credentials, read_request
from tidemill.embedded_store.sessions import Sessions


def request(query: bytes = b"", method: str = "POST", **headers: str) -> Request:
    return read_request(method, query, headers, b"", "fresh")


def test_settings_parameters_and_the_interfaces_own_words_are_told_apart() -> None:
    found = request(b"max_threads=2&param_x=5&query=SELECT+1&wait_end_of_query=1&user=me")
    assert dict(found.settings) == {"max_threads": "2"}
    assert dict(found.parameters) == {"x": "5"}
    assert found.query == b"SELECT 1"
    assert found.wait_end


def test_a_name_that_could_not_be_a_setting_is_refused() -> None:
    with pytest.raises(StoreError, match="no name of a setting"):
        request(b"a%20%3D%201%2C%20b=2")


def test_coding_of_the_answer_needs_both_header_and_setting() -> None:
    headers = {"accept-encoding": "lz4"}
    assert read_request("GET", b"", headers, b"", "f").accepted == ""
    asked = read_request("GET", b"enable_http_compression=1", headers, b"", "f")
    assert asked.accepted == "lz4"


def test_user_and_password_come_from_header_or_address() -> None:
    basic = "Basic " + base64.b64encode(b"me:pass:word").decode()
    assert credentials(b"", {"authorization": basic}) == ("me", "pass:word")
    assert credentials(b"user=me&password=p", {}) == ("me", "p")
    assert credentials(b"", {"x-clickhouse-user": "me", "x-clickhouse-key": "k"}) == ("me", "k")
    assert credentials(b"", {}) == ("default", "")
    assert credentials(b"", {"authorization": "Basic !!"}) == ("", "")


def test_the_engines_message_is_cut_to_where_its_code_begins() -> None:
    error = engine_error("Streaming insert finish failed: Code: 243. DB::Exception: No. (X)")
    assert (error.code, error.message) == (243, "Code: 243. DB::Exception: No. (X)")
    assert engine_error("it broke").code == 1001
    assert error.text("1.2") == "Code: 243. DB::Exception: No. (X) (version 1.2)"


def test_the_exception_block_tells_the_length_of_its_message() -> None:
    block = exception_block(StoreError(395, "nö"), "tagtagtagtagtagt", "1")
    head, tag, rest = block.removeprefix(b"\r\n").split(b"\r\n", 2)
    assert (head, tag) == (b"__exception__", b"tagtagtagtagtagt")
    message, footer = rest.split(b"\n", 1)
    assert footer == b"%d tagtagtagtagtagt\r\n__exception__\r\n" % (len(message) + 1)


class Handle:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def test_a_session_ends_when_it_was_not_used_for_its_time() -> None:
    now = [0.0]
    opened: list[Handle] = []

    def make() -> Any:
        opened.append(Handle())
        return opened[-1]

    sessions = Sessions(make, lambda: now[0])
    mine = request(b"session_id=s&session_timeout=10")
    first = sessions.borrow(mine)
    with pytest.raises(StoreError) as error:
        sessions.borrow(mine)
    assert error.value.code == 373
    now[0] = 100
    sessions.expire()
    assert not opened[0].closed, "a session in use does not end"
    sessions.give_back(mine, usable=True)
    now[0] = 109
    assert sessions.borrow(mine) is first
    sessions.give_back(mine, usable=True)
    now[0] = 120
    assert sessions.borrow(mine) is not first
    assert opened[0].closed
    sessions.give_back(mine, usable=False)
    assert cast("Handle", opened[1]).closed
    assert len(sessions) == 0


def test_a_session_that_must_be_there_is_told_when_it_is_not() -> None:
    sessions = Sessions(lambda: cast("Any", Handle()))
    with pytest.raises(StoreError) as error:
        sessions.borrow(request(b"session_id=s&session_check=1"))
    assert (error.value.code, error.value.status) == (372, 404)


def test_a_configuration_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ValueError, match="set a password"):
        StoreConfig(Path("x"), host="0.0.0.0")
    with pytest.raises(ValueError, match="port"):
        StoreConfig(Path("x"), port=70_000)
    assert StoreConfig(Path("x"), host="0.0.0.0", password="p").port == 8123
    assert StoreConfig(Path("x"), host="::1").host == "::1"
