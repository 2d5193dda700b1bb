"""Asking the workers of a deployment what windows hold: whichever answers, answers for all."""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

import msgspec

from tidemill.settings import Settings

_SECONDS = 45.0
"""Longer than a worker waits by itself."""


class NoAnswer(Exception):
    """A worker says why it does not answer. `passes`: the same question may be answered later."""

    def __init__(self, message: str, passes: bool) -> None:
        super().__init__(message)
        self.passes = passes


def ask(settings: Settings, metric: str, asked: Mapping[str, str]) -> dict[str, Any] | None:
    """The answer of the first worker that can be reached; None: there is none.

    Raises `NoAnswer`.
    """
    for number in range(settings.workers):
        url = f"http://127.0.0.1:{settings.worker_port + number}/windows/{quote(metric, safe='')}"
        try:
            with urllib.request.urlopen(f"{url}?{urlencode(asked)}", timeout=_SECONDS) as answer:
                return msgspec.json.decode(answer.read())
        except HTTPError as error:
            raise _refused(error) from None
        except (OSError, http.client.HTTPException):
            continue  # another one may be there
    return None


def join(answers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The pages of one question as one answer.

    Each page is a question by itself: where records were counted between them no position holds for
    all rows. Then `position` is None, and `pages` says how many rows each has and its position.
    """
    last = answers[-1]
    joined = {**last, "rows": [row for answer in answers for row in answer["rows"]]}
    if any(answer["position"] != last["position"] for answer in answers):
        pages = [{"rows": len(one["rows"]), "position": one["position"]} for one in answers]
        joined |= {"position": None, "pages": pages}
    return joined


def _refused(error: HTTPError) -> NoAnswer:
    body = error.read()
    try:
        said: dict[str, Any] = msgspec.json.decode(body)
        return NoAnswer(str(said["message"]), "retry_after_ms" in said)
    except (msgspec.DecodeError, KeyError):
        return NoAnswer(f"the worker answered {error.code}: {body[:200]!r}", error.code >= 500)
