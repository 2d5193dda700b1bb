"""Every offered version of every request: from its bytes, through the core, to its bytes."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from kio.index import load_request_schema, load_response_schema
from kio.serial import entity_reader, entity_writer

from broker.handlers import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    delete_groups,
    describe_groups,
    end_txn,
    find_coordinator,
    heartbeat,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_fetch,
    sync_group,
    txn_offset_commit,
)
from broker.handlers.port import Api
from broker.protocol.messages import decode_request, encode_response
from tests.unit.broker_groups.bench import Bench

OFFSET = {"partition_index": 1, "committed_offset": 7, "committed_metadata": "note"}
OFFSETS = {"topics": [{"name": "t", "partitions": [OFFSET]}]}
MEMBER = {"group_id": "g", "generation_id": 1, "member_id": "m"}
OWNER = {"transactional_id": "x", "producer_id": 1_001, "producer_epoch": 0}
REQUESTS: list[tuple[Api, dict[str, Any]]] = [
    (find_coordinator.API, {"key": "g", "coordinator_keys": ["g", "h"]}),
    (
        join_group.API,
        {
            "group_id": "g",
            "session_timeout": timedelta(seconds=10),
            "rebalance_timeout": timedelta(seconds=60),
            "protocol_type": "consumer",
            "protocols": [{"name": "range", "metadata": b"m"}],
        },
    ),
    (sync_group.API, {**MEMBER, "assignments": [{"member_id": "m", "assignment": b"a"}]}),
    (heartbeat.API, MEMBER),
    (leave_group.API, {**MEMBER, "members": [{"member_id": "m"}]}),
    (offset_commit.API, {"group_id": "g", "generation_id_or_member_epoch": -1, **OFFSETS}),
    (offset_fetch.API, {"group_id": "g", "topics": [{"name": "t", "partition_indexes": [1]}]}),
    (list_groups.API, {}),
    (describe_groups.API, {"groups": ["g"]}),
    (delete_groups.API, {"groups_names": ["g"]}),
    (
        init_producer_id.API,
        {
            **OWNER,
            "producer_id": -1,
            "producer_epoch": -1,
            "transaction_timeout": timedelta(seconds=60),
        },
    ),
    (
        add_partitions_to_txn.API,
        {
            **{f"v3_and_below_{name}": value for name, value in OWNER.items()},
            "v3_and_below_topics": [{"name": "t", "partitions": [0, 1]}],
        },
    ),
    (add_offsets_to_txn.API, {**OWNER, "group_id": "g"}),
    (txn_offset_commit.API, {**OWNER, "group_id": "g", "generation_id": -1, **OFFSETS}),
    (end_txn.API, {**OWNER, "committed": True}),
]
VERSIONS = [
    pytest.param(api, version, values, id=f"{api.name}-{version}")
    for api, values in REQUESTS
    for version in range(api.min_version, api.max_version + 1)
]


@dataclass
class FakeBroker:
    """Hands events to the two cores, and answers to whoever reads `bench.answers`."""

    bench: Bench = field(default_factory=Bench)
    config: Any = field(
        default_factory=lambda: SimpleNamespace(node_id=7, host="h", advertised_host=None)
    )
    port: int = 9092

    def tell(self, name: str, event: Any) -> None:
        self.bench.tell(name, event)

    def new_producer_id(self) -> int:
        return 5


def message(kind: type[Any], values: dict[str, Any]) -> Any:
    """A request of this schema: given values, else what the schema defaults to, else a zero."""
    hints = typing.get_type_hints(kind)
    given: dict[str, Any] = {}
    for each in dataclasses.fields(kind):
        default = each.default is not dataclasses.MISSING
        if each.name not in values and default:
            continue
        value = values.get(each.name, zero(each, hints[each.name]))
        nested = [a for a in typing.get_args(hints[each.name]) if dataclasses.is_dataclass(a)]
        inner = [a for u in typing.get_args(hints[each.name]) for a in typing.get_args(u)]
        nested += [a for a in inner if dataclasses.is_dataclass(a)]
        if nested and value is not None:
            value = tuple(message(nested[0], item) for item in value)
        given[each.name] = tuple(value) if isinstance(value, list) else value
    return kind(**given)


def zero(each: dataclasses.Field[Any], hint: Any) -> Any:
    if typing.get_origin(hint) is tuple:
        return ()
    kinds = {"string": "", "bytes": b"", "bool": False, "timedelta_i64": timedelta(seconds=0)}
    return kinds.get(each.metadata.get("kafka_type", ""), 0)


def decoded(api: Api, version: int, values: dict[str, Any]) -> Any:
    schema = load_request_schema(api.key, version)
    stream = BytesIO()
    entity_writer(schema)(stream, message(schema, values))
    return decode_request(api.key, version, stream.getvalue())


def answered(api: Api, version: int, fields: Any) -> Any:
    data = encode_response(api.key, version, fields)
    answer, size = entity_reader(load_response_schema(api.key, version))(data, 0)
    assert size == len(data)
    return answer


def ask(broker: FakeBroker, api: Api, version: int, values: dict[str, Any]) -> Any:
    body = decoded(api, version, values)
    request = SimpleNamespace(
        id=900 + api.key, version=version, client_id="c", client_host="/127.0.0.1", body=body
    )
    fields = api.handle(broker, request)
    if fields is None:
        broker.bench.pass_time(1_000)
        fields = broker.bench.answers[request.id]
    return answered(api, version, fields)


@pytest.mark.parametrize(("api", "version", "values"), VERSIONS)
def test_every_version_is_answered_in_its_own_form(api, version, values):
    ask(FakeBroker(), api, version, values)


@pytest.mark.parametrize(("api", "version", "values"), VERSIONS)
def test_a_failure_of_the_broker_is_told_in_every_version(api, version, values):
    answer = answered(api, version, api.failure(decoded(api, version, values)))
    assert "unknown_server_error" in repr(answer)


def test_a_transaction_in_the_oldest_versions_and_in_the_newest():
    for newest in (False, True):
        broker = FakeBroker()
        versions = {api.key: api.max_version if newest else api.min_version for api, _ in REQUESTS}
        for api, values in REQUESTS[10:]:
            answer = ask(broker, api, versions[api.key], values)
            assert "error_code=<ErrorCode.none" in repr(answer), (api.name, answer)
        fetch = ask(broker, offset_fetch.API, versions[9], REQUESTS[6][1])
        assert fetch.topics[0].partitions[0].committed_offset == 7


def test_errors_take_the_form_that_the_version_knows():
    broker = FakeBroker()
    left = {v: ask(FakeBroker(), leave_group.API, v, REQUESTS[4][1]) for v in (2, 3)}
    assert left[2].error_code.name == "unknown_member_id"
    assert left[3].error_code.name == "none"
    assert left[3].members[0].error_code.name == "unknown_member_id"
    for version, told in [(1, "invalid_producer_epoch"), (2, "producer_fenced")]:
        broker = FakeBroker()
        for _ in range(2):
            broker.bench.answers.clear()
            ask(broker, init_producer_id.API, 0, REQUESTS[10][1])
        assert ask(broker, end_txn.API, version, REQUESTS[14][1]).error_code.name == told


def test_a_coordinator_of_an_unknown_kind_is_refused_in_words():
    answer = ask(FakeBroker(), find_coordinator.API, 2, {"key": "k", "key_type": 2})
    assert answer.error_code.name == "invalid_request"
    assert "key_type" in answer.error_message
