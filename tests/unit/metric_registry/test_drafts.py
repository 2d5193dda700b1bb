"""What a draft says of a metric, as far as its kind, its unit, its name and its streams tell."""

from __future__ import annotations

from typing import Any

import pytest

from metric_registry.drafts.drafting import draft
from metric_registry.drafts.seen import Seen, SeenAttribute, SeenMetric

SECOND = 10**9


def seen(name: str, kind: Any = "gauge", **said: Any) -> SeenMetric:
    fields: dict[str, Any] = {"streams": 4, "points": 40, "attributes": (), "groups": lambda _: 1}
    if kind == "counter":
        kind, fields = "sum", fields | {"temporality": "cumulative", "monotonic": True}
    return SeenMetric(name=name, kind=kind, **(fields | said))


def one(metric: SeenMetric) -> Any:
    made = draft(Seen((metric,)))
    assert not made.undrafted
    return made.drafts[0]


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        (seen("latency", unit="ms"), "ms"),
        (seen("size", unit="bytes"), "By"),
        (seen("node_memory_MemFree_bytes"), "By"),
        (seen("node_cpu_seconds_total", "counter"), "s"),
        (seen("http_requests_total", "counter"), "{request}"),
        (seen("http_bytes_per_second"), "By/s"),
        (seen("queue_length"), "1"),
        (seen("DCGM_FI_DEV_SM_CLOCK", description="SM clock frequency (in MHz)."), "MHz"),
        (seen("DCGM_FI_DEV_GPU_TEMP", description="GPU temperature (in C)."), "Cel"),
        (seen("DCGM_FI_DEV_FB_FREE", description="Framebuffer memory free (in MiB)."), "MiBy"),
        (seen("DCGM_FI_PROF_PCIE_TX_BYTES", description="Rate, in bytes per second."), "By/s"),
        (seen("DCGM_FI_PROF_DRAM_ACTIVE", description="Ratio of cycles that are active."), "1"),
        (seen("threadPoolUtilizationPercent"), "%"),
    ],
)
def test_the_unit_is_what_is_said_else_what_the_name_or_the_description_says(
    metric: SeenMetric, unit: str
) -> None:
    assert one(metric).unit == unit


AVG, MAX, TOTAL = (
    {"over_time": "avg", "over_space": "avg"},
    {"over_time": "max", "over_space": "max"},
    {"over_time": "avg", "over_space": "sum"},
)


@pytest.mark.parametrize(
    ("metric", "aggregates"),
    [
        (seen("requests", "counter"), [{"over_time": "increase"}]),
        (seen("cpu", "counter", unit="%"), [AVG]),
        (seen("open", "sum", temporality="cumulative"), [
            {"over_time": "last", "over_space": "sum"}
        ]),
        (seen("moved", "sum", temporality="delta", unit="By"), [
            {"over_time": "sum", "over_space": "sum"}
        ]),
        (seen("moved", "sum", temporality="delta", unit="1"), [AVG]),
        (seen("moved", "sum", temporality="unspecified", unit="By"), [TOTAL]),
        (seen("memory", unit="By"), [TOTAL]),
        (seen("power", unit="W"), [TOTAL]),
        (seen("room", unit="Cel"), [AVG, MAX]),
        (seen("node_load1"), [TOTAL]),
        (seen("cpu.utilization"), [AVG, MAX]),
        (seen("request.p99", unit="ms"), [MAX]),
        (seen("request.mean", unit="ms"), [MAX]),
        (seen("node_boot_time_seconds", least=1.7e9, greatest=1.7e9), [MAX]),
        (seen("scrape_time_seconds", least=0.1, greatest=2.0), [AVG, MAX]),
        (seen("node_uname_info"), [{"over_time": "last", "over_space": "count"}]),
        (seen("up", least=0.0, greatest=1.0), [AVG]),
        (seen("up", least=0.0, greatest=3.0), [TOTAL]),
        (seen("some", least=0.0, greatest=1.0, points=1000), [AVG]),
        (seen("some", least=0.0, greatest=0.0, points=1000), [TOTAL]),
        (seen("aws.ec2.network_in", unit="By"), [{"over_time": "sum", "over_space": "sum"}]),
        (seen("aws.ec2.cpu_utilization", unit="%"), [AVG, MAX]),
        (seen("took", "exponential_histogram"), [
            {"over_points": "exponential_histogram"}, {"over_points": "p99"}
        ]),
        (seen("took", "histogram", bounds=(0.1, 1.0)), [
            {"over_points": {"explicit_histogram": [0.1, 1.0]}}, {"over_points": "avg"}
        ]),
        (seen("took", "histogram"), [{"over_points": "avg"}]),
    ],
)  # fmt: skip
def test_what_is_computed_follows_from_what_adds_up(
    metric: SeenMetric, aggregates: list[dict[str, object]]
) -> None:
    assert [each.aggregate for each in draft(Seen((metric,))).drafts] == aggregates


def attribute(name: str, distinct: int = 2, streams: int = 4, **said: Any) -> SeenAttribute:
    values = tuple(f"v{number}" for number in range(min(distinct, 20)))
    return SeenAttribute(**{"name": name, "values": values, "distinct": distinct,
                            "more": False, "streams": streams} | said)  # fmt: skip


@pytest.mark.parametrize(
    ("attributes", "kept"),
    [
        ([attribute("mode"), attribute("cpu")], ["mode"]),
        ([attribute("host.name", 900), attribute("status", 21)], ["host.name"]),
        ([attribute("host.name", 1001), attribute("Hostname", 5)], ["Hostname"]),
        ([attribute("k8s.pod.name"), attribute("service.instance.id"), attribute("UUID")], []),
        ([attribute("k8s.cluster.name", 1), attribute("type", 1)], ["k8s.cluster.name"]),
        ([attribute("host.name", 10_000, more=True)], []),
        ([attribute("given", values=("3f2504e0-4f89-11d3-9a0c-0305e82c3301",))], []),
        ([attribute("tenant")], []),
        ([attribute("otel.metric.overflow"), attribute("tidemill.load"), attribute(" a")], []),
    ],
)
def test_places_and_kinds_are_kept_parts_and_identities_are_not(
    attributes: list[SeenAttribute], kept: list[str]
) -> None:
    assert list(one(seen("m", attributes=tuple(attributes))).kept) == kept


def test_groups_are_counted_and_not_multiplied() -> None:
    several = tuple(attribute(name, 20) for name in ("method", "mode", "status"))
    few = seen("m", attributes=several, groups=lambda keep: 20)
    many = seen("m", attributes=several, groups=lambda keep: 20 ** len(keep))
    assert len(one(few).kept) == 3
    assert one(many).kept == ("method", "mode")
    assert "8,000 groups" in one(many).text("me")


@pytest.mark.parametrize(
    ("interval_s", "granularities"),
    [
        (None, ("1m", "1h", "1d")),
        (1, ("10s", "1m", "1h", "1d")),
        (10.4, ("10s", "1m", "1h", "1d")),
        (15, ("30s", "1h", "1d")),
        (60, ("1m", "1h", "1d")),
        (300, ("5m", "1h", "1d")),
        (1200, ("1h", "1d")),
        (50_000, ("1d",)),
    ],
)
def test_the_finest_window_has_a_point_of_each_stream(
    interval_s: float | None, granularities: tuple[str, ...]
) -> None:
    interval = None if interval_s is None else round(interval_s * SECOND)
    assert one(seen("m", interval_ns=interval)).granularities == granularities


def test_grace_is_as_long_as_points_were_late() -> None:
    graces = [
        draft(Seen((seen("m"),), behind_ns=s * SECOND)).drafts[0].grace
        for s in (0, 10, 11, 200, 9_999)
    ]
    assert graces == [None, None, "15s", "5m", "1h"]


def test_names_are_apart_for_every_reader() -> None:
    metrics = (seen("a.b"), seen("a_b"), seen("a/b"), seen("1st"), seen("x" * 255), seen("é"))
    names = [each.name for each in draft(Seen(metrics)).drafts]
    assert names[:4] == ["a.b.total", "a_b.total.2", "a/b.total.3", "m_1st.total"]
    assert len(set(names)) == len(metrics)


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (seen("gc", "summary"), "quantiles of summaries do not add up"),
        (seen("a\nb"), "cannot be written"),
        (seen("m", unit="per cent"), "is none"),
    ],
)
def test_what_has_no_draft_is_told(metric: SeenMetric, why: str) -> None:
    made = draft(Seen((metric,)))
    assert not made.drafts
    assert why in made.undrafted[0].why
    assert "# Without a draft:" in made.text("me")
