"""A restart finds what streams belong to in the state: the same as if it were found out anew."""

import json
import zlib
from collections.abc import Iterable

import cramjam
import msgspec
import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.load import SourceFile
from streams.aggregates.encoding import pack, unpack
from streams.batch import decode_table
from streams.errors import Fatal
from streams.task.processor import InputRecord, OutputRecord
from topologies.deployment import Deployment
from topologies.identity.series_blocks import _HEADER
from topologies.preaggregate.memberships import MATCHING
from topologies.preaggregate.processor import PreaggregateConfig, PreaggregateProcessor
from topologies.rollup.processor import RollupProcessor

SECOND = 10**9
ONE = """
apiVersion: tidemill/v1
kind: Metric
name: {name}
description: A test
owner: test
source: {{metric: {metric}, unit: {unit}}}
space: {{keep: [{keep}]}}
time: {{granularities: [10s], grace: 0s, corrections: 1h}}
aggregate: {{over_time: {how}, over_space: sum}}
limits: {{series: 40}}
"""
FILES = [
    ("a", "load", '"1"', "room", "max"),
    ("b", "load", '"1"', "", "last"),
    ("c", "heat", "Cel", "room, floor", "max"),
    ("d", "heat", "K", "floor", "min"),
    ("e", "heat", "s", "floor", "max"),  # refuses all of them
]
Blocks = dict[bytes, bytes]


def deployment(count: int = len(FILES)) -> Deployment:
    texts = [
        ONE.format(name=f"test.{n}", metric=m, unit=u, keep=k, how=h)
        for n, m, u, k, h in FILES[:count]
    ]
    files = [SourceFile(f"{n}.yaml", text.encode()) for n, text in enumerate(texts)]
    return Deployment(compile_plan(check_files(files).definitions))


def task(count: int = len(FILES)) -> PreaggregateProcessor:
    config = PreaggregateConfig(
        deployed=deployment(count), sources=1, shard_partitions=1, key=bytes(16)
    )
    return PreaggregateProcessor(config, "telemetry.raw", 0)


def request(rooms: Iterable[int], at: int) -> bytes:
    message = ExportMetricsServiceRequest()
    block = message.resource_metrics.add()
    block.resource.attributes.add(key="floor").value.string_value = f"f{at % 3}"
    scope = block.scope_metrics.add()
    for name, unit in (("load", "1"), ("heat", "Cel")):
        metric = scope.metrics.add(name=name, unit=unit)
        for room in rooms:
            point = metric.gauge.data_points.add(time_unix_nano=at * SECOND, as_double=room + at)
            point.attributes.add(key="room").value.double_value = room / 4
    return message.SerializeToString()


def record(offset: int, rooms: Iterable[int], at: int, tenant: bytes = b"t") -> InputRecord:
    headers = (("encoding", b"otlp"), ("tenant", tenant), ("received", b"%d" % (at * SECOND)))
    return InputRecord(offset, 0, None, request(rooms, at), headers)


def mark(offset: int, at: int) -> InputRecord:
    value = b'{"time": %d}' % (at * SECOND)
    return InputRecord(offset, 0, None, value, (("control", b"idle"),))


def past() -> list[InputRecord]:
    found: list[InputRecord] = []
    for number, rooms in enumerate((range(30), range(20, 70), range(5))):
        tenant = b"other" if number == 1 else b"t"
        found.append(record(2 * number, rooms, 10 * number + 5, tenant))
        found.append(mark(2 * number + 1, 10 * number + 10))
    return found


def lived() -> tuple[PreaggregateProcessor, Blocks]:
    """One that took three snapshots while streams came."""
    made = task()
    blocks: Blocks = {}
    for first in (0, 2, 4):
        run(made, past()[first : first + 2])
        for key, value in made.snapshot(first + 2).items():
            blocks.pop(key, None)
            if value is not None:
                blocks[key] = value
    return made, blocks


def older(blocks: Blocks) -> Blocks:
    """The state as the release before wrote it."""
    found = {key: value for key, value in blocks.items() if not key.startswith(b"members/")}
    meta = json.loads(found[b"meta"])
    del meta["members"]
    found[b"meta"] = json.dumps(meta | {"format": 9}).encode()
    for key in [key for key in found if key.startswith(b"series/")]:
        head, stored = found[key][: _HEADER.size], found[key][_HEADER.size :]
        fields = list(_HEADER.unpack(head))
        body = bytes(cramjam.zstd.decompress(stored))
        fields[0], fields[-1] = b"TMS1", zlib.crc32(body)
        found[key] = _HEADER.pack(*fields) + body
    return found


def restored(blocks: Blocks, count: int = len(FILES)) -> PreaggregateProcessor:
    made = task(count)
    made.restore(sorted(blocks.items()))
    return made


def run(made: PreaggregateProcessor, records: list[InputRecord]) -> list[OutputRecord]:
    """Process these, with what they ask of the past."""
    log = {each.offset: each for each in [*past(), *records]}
    while records:
        records = records[made.process(records) :]
        while (wanted := made.needs()) is not None:
            made.supply([log[n] for n in range(wanted.start, wanted.end) if n in log], True)
    return made.outputs()


def goes_on(made: PreaggregateProcessor, offset: int = 6) -> list[OutputRecord]:
    """Old and new streams, late points, and a mark behind them."""
    late = record(offset + 1, range(3), 12)
    return run(made, [record(offset, range(80), 35), late, mark(offset + 2, 60)])


def test_a_restored_task_goes_on_as_the_one_that_lived():
    live, blocks = lived()
    again, anew = restored(blocks), restored(older(blocks))
    assert again.ledger.body() == anew.ledger.body() == live.ledger.body()
    for one, other in zip(again.aggregations, anew.aggregations, strict=True):
        for a, b in zip(one.cells.arrays(), other.cells.arrays(), strict=True):
            assert np.array_equal(a, b)
    assert goes_on(again) == goes_on(anew) == goes_on(live)


def test_what_restored_tasks_save_is_enough_again():
    _, blocks = lived()
    for state in (blocks, older(blocks)):
        made = restored(state)
        made.process([record(6, range(80), 35)])
        made.outputs()
        changed = made.snapshot(7)
        state = {k: v for k, v in ({**state, **changed}).items() if v is not None}
        second = restored(state)
        made.process([mark(7, 60)])
        second.process([record(6, range(80), 35), mark(7, 60)])
        assert second.outputs() == made.outputs()


def test_other_definitions_replace_what_was_found():
    _, blocks = lived()
    made = restored(blocks, count=3)
    (asked,) = made.before_commit(6)
    made.process([InputRecord(6, 0, None, asked.value, asked.headers)])
    made.outputs()
    changed = made.snapshot(7)
    assert changed[b"members/0"] is None
    state = {k: v for k, v in (blocks | changed).items() if v is not None}
    assert goes_on(restored(state, 3), 7) == goes_on(made, 7)


def test_state_of_an_unknown_format_is_refused():
    _, blocks = lived()
    meta = json.loads(blocks[b"meta"])
    blocks[b"meta"] = json.dumps(meta | {"format": 99}).encode()
    with pytest.raises(Fatal, match="format 99"):
        restored(blocks)


def test_a_roll_up_goes_on_from_windows_that_it_has_not_read_yet():
    first, second = RollupProcessor(0), RollupProcessor(0)
    said = [o for o in task_outputs() if o.topic == "telemetry.partials" and o.partition == 0]
    half = next(n for n, o in enumerate(said) if decode_table(o.value).meta["kind"] == "revision")
    for made in (first, second):
        made.process([InputRecord(n, 0, o.key, o.value) for n, o in enumerate(said[:half])])
        made.outputs()
    blocks = {k: v for k, v in second.snapshot(half).items() if v is not None}
    windows = [key for key in blocks if key.startswith(b"window/")]
    assert windows
    before = dict(blocks)
    for key in windows:  # as the release before wrote it
        size = int.from_bytes(blocks[key][:2], "big")
        before[key] = blocks[key][2 + size :]
    meta = msgspec.json.decode(before[b"meta"])
    before[b"meta"] = msgspec.json.encode(meta | {"format": 7})
    rest = [InputRecord(n, 0, o.key, o.value) for n, o in enumerate(said[half:], half)]
    first.process(rest)
    wanted = first.outputs()
    for state in (blocks, before):
        made = RollupProcessor(0)
        made.restore(sorted(state.items()))
        made.process(rest)
        assert made.outputs() == wanted
        assert made.snapshot(len(said)).keys() >= {b"meta"}


def task_outputs() -> list[OutputRecord]:
    made = task()
    return run(made, past()) + goes_on(made)


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        pytest.param(0, 1 << 30, id="a-stream-that-there-is-not"),
        pytest.param(0, -1, id="a-stream-before-the-first"),
        pytest.param(3, 1 << 20, id="a-group-that-there-is-not"),
        pytest.param(3, -1, id="no-group"),
        pytest.param(4, 2, id="a-tenant-that-there-is-not"),
    ],
)
def test_damaged_memberships_are_refused_before_there_is_room_for_them(part: int, wrong: int):
    _, blocks = lived()
    key = max(key for key in blocks if key.startswith(b"members/"))
    _, parts = unpack("members", MATCHING, bytes(cramjam.zstd.decompress(blocks[key])), 10)
    numbers = np.frombuffer(parts[part], "<i4").copy()
    numbers[-1] = wrong
    parts[part] = numbers.tobytes()
    count = len(parts[2])
    blocks[key] = bytes(cramjam.zstd.compress(pack("members", MATCHING, count, *parts), 1))
    with pytest.raises(Fatal, match="what streams belong to is damaged"):
        restored(blocks)
