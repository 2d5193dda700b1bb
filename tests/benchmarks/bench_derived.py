"""What a question to a derived definition costs beside one to its inputs.

    python tests/benchmarks/bench_derived.py [--groups 500] [--windows 360] [--times 5]

An hour of ten-second windows of 500 groups with five labels: 180,000 rows an input, in parts as the
sink inserts them. All columns of all rows are computed, and thrown away by the store (`FORMAT
Null`). CPU seconds are of the store's process, per million rows of the inputs, the median; beside
each is what the plain views of the same inputs cost (a scan of the same rows with FINAL), and what
the same question costs of one service's rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil

from metric_registry.check import check_files
from metric_registry.derived.resolved import ResolvedDerived
from metric_registry.load import SourceFile
from metric_registry.pages.queries import identifier
from tidemill.embedded_store.testing import StoreProcess
from topologies.sink.derived import derived_view, select_of
from topologies.sink.schema import Schema, definition_view
from topologies.sink.store import Store, StoreAddress

SCHEMA = Schema()
BASE = 1_700_000_000
BATCH_WINDOWS = 60
"""Windows of an insert, as many as a sink that is not behind has at once of ten definitions."""
LABELS = ("cluster", "host", "region", "service")
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
NUMBERS = {"errors": LABELS, "requests": LABELS, "by.host": LABELS, "by.service": LABELS[3:]}
_ONE_SERVICE = " WHERE labels['service'] = 's3'"
DERIVED: dict[str, dict[str, Any]] = {
    "ratio": {"ratio": {"of": "errors", "by": "requests"}},
    "ratio_absent_zero": {"ratio": {"of": "errors", "by": "requests", "absent": "zero"}},
    "ratio_of_sums": {"ratio": {"of": "by.host", "by": "by.service"}},
    "sum": {"sum": {"of": ["errors", "requests"]}},
    "difference": {"difference": {"of": "requests", "less": "errors"}},
    "mean": {"mean": {"of": "latency"}},
    "share": {"share": {"of": "latency", "at_most": 0.25}},
    "quantile_explicit": {"quantile": {"of": "latency", "q": 0.99}},
    "quantile_exponential": {"quantile": {"of": "sketch", "q": 0.99}},
}


def definitions() -> tuple[dict[str, str], tuple[ResolvedDerived, ...]]:
    """Name of an input -> its kind of histogram; and what is derived from them."""
    head = {"apiVersion": "tidemill/v1", "description": "d", "owner": "o"}
    documents: list[dict[str, Any]] = []
    for name in (*NUMBERS, "latency", "sketch"):
        by: dict[str, Any] = {"over_time": "increase"}
        if name == "latency":
            by = {"over_points": {"explicit_histogram": list(BOUNDS)}}
        elif name == "sketch":
            by = {"over_points": "exponential_histogram"}
        documents.append(
            head
            | {"kind": "Metric", "name": name, "source": {"metric": f"of.{name}", "unit": "s"}}
            | {"space": {"keep": list(NUMBERS.get(name, LABELS))}, "aggregate": by}
            | {"time": {"granularities": ["10s"]}}
        )
    documents += [head | {"kind": "Derived", "name": n, "derive": d} for n, d in DERIVED.items()]
    text = "\n---\n".join(map(json.dumps, documents))
    report = check_files([SourceFile("bench.yaml", text.encode())])
    assert not report.errors, report.text()
    kinds = {"latency": "explicit", "sketch": "exponential"}
    return {name: kinds.get(name, "") for name in (*NUMBERS, "latency", "sketch")}, report.derived


def fill(client: Any, name: str, kind: str, version: str, groups: int, windows: int) -> int:
    """Rows of one input, each of the first revision; how many."""
    if name == "by.service":
        groups //= 10
    labels = {
        "cluster": "concat('c', toString(g % 7))", "host": "concat('host-', toString(g))",
        "region": "concat('r', toString(g % 3))", "service": f"concat('s', toString(g % {groups}))",
    }  # fmt: skip
    if name == "by.host":
        labels["service"] = f"concat('s', toString(g % {groups // 10}))"
    kept = {**{key: labels[key] for key in NUMBERS.get(name, LABELS)}, "tenant": "'t'"}
    pairs = ", ".join(f"'{key}', {text}" for key, text in kept.items())
    shape = {"value": "round(10 + cityHash64(number) % 1000, 0)"}
    counts = "arrayMap(i -> cityHash64(number, i) % 90, range({}))"
    if kind == "explicit":
        shape = {"value": "nan", "explicit_bounds": str(list(BOUNDS)), "min": "0.001", "max": "9.",
                 "bucket_counts": counts.format(len(BOUNDS) + 1)}  # fmt: skip
        shape |= {"count": "arraySum(bucket_counts)", "sum": "0.2 * count"}
    elif kind == "exponential":
        shape = {"value": "nan", "scale": "3", "positive_offset": "-40", "min": "0.032",
                 "max": "1e3", "positive_bucket_counts": counts.format(80)}  # fmt: skip
        shape |= {"count": "arraySum(positive_bucket_counts)", "sum": "0.2 * count"}
    for first in range(0, windows, BATCH_WINDOWS):
        rows = groups * min(BATCH_WINDOWS, windows - first)
        client.command(
            f"INSERT INTO {SCHEMA.rollups} (rollup, version, unit, tenant, resolution, "
            f"window_end, `group`, labels, points, revision, histogram, {', '.join(shape)}) "
            f"SELECT '{name}', '{version}', 's', 't', 10, fromUnixTimestamp({BASE} + 10 * "
            f"({first} + intDiv(number, {groups}))), reinterpretAsUInt128(sipHash128(g)), "
            f"map({pairs}), 3, 1, '{kind}', "
            + ", ".join(f"{text} AS {column}" for column, text in shape.items())
            + f" FROM (SELECT number, number % {groups} AS g FROM numbers({rows}))"
        )
    return groups * windows


def wait_for_merges(client: Any) -> None:
    """What merges cost is booked under the same process, and is no question's."""
    while client.query("SELECT count() FROM system.merges").result_rows[0][0]:
        time.sleep(0.1)


def cpu(process: int) -> float:
    times = psutil.Process(process).cpu_times()
    return times.user + times.system


def seconds_of(ask: Callable[[], object], process: int, times: int) -> float:
    """CPU seconds of a question, the median; the first one is not counted."""
    ask()
    found: list[float] = []
    for _ in range(times):
        began = cpu(process)
        ask()
        found.append(cpu(process) - began)
    return statistics.median(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--windows", type=int, default=360)
    parser.add_argument("--times", type=int, default=5)
    given = parser.parse_args()
    kinds, derived = definitions()
    with tempfile.TemporaryDirectory() as folder, StoreProcess(Path(folder) / "store") as store:
        assert store.process is not None
        process = store.process.pid
        opened = Store(StoreAddress(port=store.port), SCHEMA)
        opened.ensure_schema()
        opened.close()
        client: Any = clickhouse_connect.get_client(
            host="127.0.0.1", port=store.port, autogenerate_session_id=False
        )
        version = {each.name: each.version for one in derived for each in one.inputs}
        rows: dict[str, int] = {}
        for name, kind in kinds.items():
            rows[name] = fill(client, name, kind, version[name], given.groups, given.windows)
            view = definition_view(SCHEMA, name, kind)
            assert view
            client.command(view)

        wait_for_merges(client)

        def cost(names: list[str], where: str) -> float:
            union = " UNION ALL ".join(
                f"SELECT * FROM {SCHEMA.database}.{identifier(name)}{where}" for name in names
            )
            return seconds_of(
                lambda: client.raw_query(f"{union} FORMAT Null"), process, given.times
            )

        for one in derived:
            client.command(derived_view(SCHEMA, one.name, select_of(one, SCHEMA)))
            inputs = [each.name for each in one.inputs]
            million = sum(rows[name] for name in inputs) / 1e6
            plain, asked, of_one = (
                cost(names, where) / million
                for names, where in ((inputs, ""), ([one.name], ""), ([one.name], _ONE_SERVICE))
            )
            print(
                f"{one.name:22} {asked:6.2f} CPU s a million rows; its inputs' views "
                f"{plain:5.2f}, {asked / plain:5.1f} times; of one service {of_one:5.2f}"
            )


if __name__ == "__main__":
    main()
