"""Files of traffic: which form each is in, and what it holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from metric_registry.drafts.seen import SeenMetric
from tidemill.otlp_files import Unreadable, read_requests
from tidemill.traffic.csv_samples import NoSamples, Rows, is_samples, samples_of
from tidemill.traffic.listed import is_list, listed
from tidemill.traffic.prometheus import requests_of
from tidemill.traffic.requests import as_requests

_HEAD = 65_536


class NotTraffic(ValueError):
    """A file is in no form that is known here; the message says which are."""


@dataclass(slots=True)
class Files:
    """What files hold: requests as they are read, lists of metrics, and what was left out."""

    lists: list[SeenMetric] = field(default_factory=list[SeenMetric])
    notes: list[str] = field(default_factory=list[str])

    def read(self, path: Path) -> Iterator[bytes]:
        """The requests of a file, in its order; what else it holds is noted.

        Raises:
            NotTraffic: Its form is not known.
            OSError: It cannot be read.
        """
        with path.open("rb") as content:
            head = content.read(_HEAD)
        text = head.decode("utf-8", "replace")
        begins = text.lstrip("\ufeff \t\r\n")
        if not head.strip():
            self.notes.append(f"{path} is empty")
        elif is_otlp(head):
            yield from self._otlp(path)
        elif is_list(text[: text.rfind("\n") + 1] or text):
            self.lists += listed(path.read_text(encoding="utf-8", errors="replace"))
        elif is_samples(begins.partition("\n")[0]):
            yield from self._samples(path)
        else:
            yield from self._prometheus(path)

    def _otlp(self, path: Path) -> Iterator[bytes]:
        try:
            for where, request in read_requests(path):
                if isinstance(request, str):
                    self.notes.append(f"{where} is no request: {request}")
                else:
                    yield request
        except Unreadable as error:
            raise NotTraffic(str(error)) from None

    def _samples(self, path: Path) -> Iterator[bytes]:
        rows = Rows()
        try:
            yield from as_requests(samples_of(path, rows))
        except NoSamples as error:
            raise NotTraffic(str(error)) from None
        if rows.left_out:
            self.notes.append(f"{rows.left_out:,} rows hold no sample; the first: {rows.first}")
        if rows.blank:
            self.notes.append(f"{path}: {rows.blank:,} samples are DCGM's blank, and left out")

    def _prometheus(self, path: Path) -> Iterator[bytes]:
        text = path.read_text(encoding="utf-8", errors="replace")
        try:
            yield from requests_of(text, time.time_ns())
        except ValueError as error:
            raise NotTraffic(
                f"{path} is in no form that is known here ({error}): neither OTLP (JSON lines or "
                "protobuf), nor a scrape in Prometheus' text format, nor CSV with columns "
                "`timestamp` and `value`, nor a list of dcgm-exporter's counters"
            ) from None


def is_otlp(head: bytes) -> bool:
    """Whether a file's beginning is one of OTLP's forms; requests in it are in their order."""
    begins = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    zstd = head[:4] == b"\x28\xb5\x2f\xfd"
    return zstd or head[:1] in (b"\0", b"\n", b"(") or begins[:1] == "{" or b"\0" in head


def order_of(path: Path) -> str | None:
    """What tells the order in which a file's requests came; None if there is none."""
    with path.open("rb") as content:
        return str(path) if is_otlp(content.read(_HEAD)) else None
