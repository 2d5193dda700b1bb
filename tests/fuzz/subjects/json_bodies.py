"""JSON: OTLP bodies (the reference: protobuf's json_format), and the rows of the `Json` codec."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from streams.codecs import Json
from streams.errors import Rejected
from streams.schema import Schema, boolean, f64, i64, string, time
from streams.task.processor import InputRecord
from tests.fuzz.subject import Outcome, shown
from tests.fuzz.subjects.otlp import requests
from topologies.edge.otlp_json import JsonError, request_to_protobuf

_IDS = {"traceId", "spanId", "trace_id", "span_id"}


class OtlpBodies:
    """`request_to_protobuf`."""

    def corpus(self) -> list[bytes]:
        found: list[bytes] = []
        for raw in requests():
            written = json_format.MessageToDict(ExportMetricsServiceRequest.FromString(raw))
            found.append(json.dumps(_other_ids(written, _to_hex)).encode())
        return found

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                raw = request_to_protobuf(message)
            except JsonError:
                continue
            ours = ExportMetricsServiceRequest.FromString(raw)
            accepted += 1
            try:
                theirs = _by_json_format(message)
            except (json_format.ParseError, ValueError, RecursionError):
                continue  # ours is more lenient: null for a whole list, for one
            one, other = (each.SerializeToString(deterministic=True) for each in (ours, theirs))
            if one != other:
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences)


def _by_json_format(message: bytes) -> ExportMetricsServiceRequest:
    value = _other_ids(json.loads(message), _to_base64)
    into = ExportMetricsServiceRequest()
    return json_format.ParseDict(value, into, ignore_unknown_fields=True)


def _other_ids(value: Any, change: Any) -> Any:
    """OTLP writes trace and span ids in hexadecimal, protobuf's JSON all bytes in base64."""
    if isinstance(value, list):
        return [_other_ids(each, change) for each in value]
    if isinstance(value, dict):
        return {
            name: change(each) if name in _IDS and isinstance(each, str) else
            _other_ids(each, change) for name, each in value.items()
        }  # fmt: skip
    return value


def _to_hex(text: str) -> str:
    return base64.b64decode(text).hex()


def _to_base64(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


SCHEMA = Schema(word=string, n=i64, x=f64.optional, ok=boolean, at=time, note=string.optional)


class Rows:
    """`streams.topology.codecs.Json`: objects, one a record or one a line."""

    def __init__(self) -> None:
        self._codec = Json(SCHEMA)

    def corpus(self) -> list[bytes]:
        rows: list[dict[str, Any]] = [
            {"word": "a", "n": 1, "x": 1.5, "ok": True, "at": 7, "note": None},
            {"word": "é\n\"}\n{\"", "n": -(2**63), "ok": False, "at": 2**63 - 1, "more": [{}, "]"]},
            {"word": "", "n": 0, "x": -0.0, "ok": True, "at": 0, "note": "\U0001f600"},
            {"word": "\\", "n": 12345678901, "x": 1e300, "ok": False, "at": -5, "note": "b"},
        ]  # fmt: skip
        lines = [json.dumps(row).encode() for row in rows]
        lines += [json.dumps(row, ensure_ascii=False).encode() for row in rows]
        return [*lines, b"\n".join(lines[:3]), lines[0] + b"\n\n" + lines[1] + b"\n"]

    def check(self, messages: Sequence[bytes]) -> Outcome:
        accepted, differences = 0, list[str]()
        for message in messages:
            try:
                found = self._codec.decode([InputRecord(0, 0, None, message)])
            except Rejected:
                continue
            accepted += 1
            columns = {name: values.to_list() for name, values in found.columns.items()}
            ours = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
            try:
                theirs: Any = _by_stdlib(message)
            except (ValueError, RecursionError) as error:
                theirs = f"refused: {error}"
            if repr(ours) != repr(theirs):
                differences.append(shown(message, ours, theirs))
        return Outcome(accepted, differences + self._together(messages))

    def _together(self, messages: Sequence[bytes]) -> list[str]:
        """Many records at once are what they are one by one."""
        alone = [each for each in messages if self._takes([each])]
        if not alone or not self._takes(alone):
            return ["records that are taken one by one are not taken together"] if alone else []
        records = [InputRecord(0, 0, None, each) for each in alone]
        whole = self._codec.decode(records)
        rows = [self._codec.decode([each]).columns["n"].to_list() for each in records]
        want = [n for each in rows for n in each]
        origin = [index for index, each in enumerate(rows) for _ in each]
        if whole.columns["n"].to_list() == want and whole.records.tolist() == origin:
            return []
        return ["records read together differ from the same read one by one"]

    def _takes(self, messages: Sequence[bytes]) -> bool:
        try:
            self._codec.decode([InputRecord(0, 0, None, each) for each in messages])
        except Rejected:
            return False
        return True


def _by_stdlib(message: bytes) -> list[dict[str, Any]]:
    text = message.decode("utf-8", "surrogateescape")  # members that are passed over are not read
    try:
        objects = [json.loads(text, parse_constant=_refuse)]
    except ValueError:
        objects = [
            json.loads(line, parse_constant=_refuse) for line in text.split("\n") if line.strip()
        ]
    return [_row(each) for each in objects]


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _row(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("no object")
    found: dict[str, Any] = {}
    for name, kind in SCHEMA.items():
        given = value.get(name)
        if given is None:
            if not kind.nullable:
                raise ValueError(f"no {name}")
        elif kind.kind == "f64":
            if isinstance(given, bool) or not isinstance(given, int | float):
                raise ValueError(name)
            given = float(given)
            if math.isinf(given):
                raise ValueError(name)
        elif kind.kind == "bool":
            if not isinstance(given, bool):
                raise ValueError(name)
        elif kind.kind == "string":
            if not isinstance(given, str):
                raise ValueError(name)
            given.encode()
        else:
            if isinstance(given, float) and given.is_integer():
                given = int(given)
            if isinstance(given, bool) or not isinstance(given, int):
                raise ValueError(name)
            if not -(2**63) <= given < 2**63:
                raise ValueError(name)
        found[name] = given
    return found
