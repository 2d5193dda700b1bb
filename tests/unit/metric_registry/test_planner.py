"""Statistics of traffic, what is estimated from them, and the key that is chosen."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace

import pytest

from metric_registry.check import check_files
from metric_registry.compile import compile_plan
from metric_registry.explain import explain
from metric_registry.load import SourceFile
from metric_registry.plan import Plan
from metric_registry.planner.costs import Costs, Key, busiest, touched
from metric_registry.planner.estimate import drawn, traffic_of
from metric_registry.planner.routing import choose, keyable
from metric_registry.planner.state import State, state_of
from metric_registry.planner.statistics import (
    PAIRED,
    RESOURCE,
    AttributeCount,
    Measured,
    MetricCount,
    Statistics,
    StatisticsError,
    paired,
)

Labels = dict[str, str]
MEASURED = Measured(
    since="2026-01-01T00:00:00Z", seconds=60.0, requests=6, points=60, streams=10,
    bytes_per_point=50.0,
)  # fmt: skip


def counted(
    streams: list[Labels], resource: set[str] = frozenset(), interval_s: float = 10
) -> MetricCount:
    """Plain counting of streams that are told apart by their labels; one tenant."""
    every = [{**labels, "tenant": "t"} for labels in streams]
    for labels in every:
        labels[RESOURCE] = str(sorted((n, v) for n, v in labels.items() if n in resource))
    names = sorted({name for labels in every for name in labels})
    attributes: dict[str, AttributeCount] = {}
    for name in names:
        values = [labels[name] for labels in every if name in labels]
        attributes[name] = AttributeCount(
            distinct=len(set(values)),
            streams=len(values),
            longest=0 if name == RESOURCE else max(map(len, values)),
            resource=name in resource,
            values={value: values.count(value) for value in values} if name != RESOURCE else {},
        )
    several = [name for name in names if len({labels.get(name) for labels in every}) > 1]
    pairs = tuple(
        (one, other, len({(labels.get(one), labels.get(other)) for labels in every}))
        for one, other in itertools.combinations(several, 2)
    )
    return MetricCount(
        streams=len(every),
        points_per_second=len(every) / interval_s,
        interval_ns=round(interval_s * 1e9),
        attributes=attributes,
        pairs=pairs,
    )


def statistics(**metrics: MetricCount) -> Statistics:
    return Statistics(MEASURED, metrics)


def plan_of(*definitions: str) -> Plan:
    texts = [
        f"""apiVersion: tidemill/v1
kind: Metric
name: d{number}
description: One
owner: nobody
time: {{granularities: [10s, 1m], grace: 2s, corrections: 1h}}
aggregate: {{over_time: avg, over_space: avg}}
{text}
"""
        for number, text in enumerate(definitions)
    ]
    report = check_files([SourceFile("a.yaml", "---\n".join(texts).encode())])
    assert not report.errors, report.text()
    return compile_plan(report.definitions)


def reading(keep: str, where: str = "{}", more: str = "") -> str:
    source = f"source: {{metric: m, unit: '1', where: {where}{more}}}"
    return f"{source}\nspace: {{keep: [{keep}]}}"


def streams_of(hosts: int, modes: int, clusters: int) -> list[Labels]:
    return [
        {"host": f"h{host}", "cluster": f"c{host % clusters}", "mode": f"m{mode}"}
        for host in range(hosts)
        for mode in range(modes)
    ]


WHOLE = {"host", "cluster"}


def test_a_file_of_statistics_is_read_as_it_was_written() -> None:
    found = statistics(m=counted(streams_of(4, 3, 2), WHOLE), é=counted([{}]))
    data = found.to_json()
    again = Statistics.from_json(data)
    assert again == found
    assert again.to_json() == data
    assert again.hash == json.loads(data)["hash"]
    assert [line[:4] for line in data.decode().splitlines()[2:-1]] == ['"m":', '"é":']
    other = statistics(é=found.metrics["é"], m=found.metrics["m"])
    assert other.to_json() == data


def refusal(data: bytes) -> str:
    """Why a file is refused; empty if it is not."""
    try:
        Statistics.from_json(data)
    except StatisticsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (b'"streams":12', b'"streams":13', "were changed.*registry statistics"),
        (b'"format":1', b'"format":7', "format 7, this program reads 1"),
        (b"}}", b"", "not a file of statistics.*make one with `tidemill registry statistics`"),
        (b'"pairs"', b'"pears"', "were changed"),
        (b'"streams":12', b'"streams":"12"', "not a file of statistics"),
    ],
)
def test_damaged_or_changed_statistics_are_refused(was: bytes, now: bytes, told: str) -> None:
    data = statistics(m=counted(streams_of(4, 3, 2), WHOLE)).to_json()
    assert re.search(told, refusal(data.replace(was, now)))


def test_attributes_with_the_most_values_are_paired() -> None:
    many = {f"a{n:02}": n for n in range(40)}
    assert paired(many) == sorted(many)[-PAIRED:]
    assert paired({"one": 1, "two": 2}) == ["two"]


def test_groups_of_one_attribute_and_of_two_are_what_was_counted() -> None:
    (traffic,) = traffic_of(plan_of(reading("")), statistics(m=counted(streams_of(12, 3, 4))))
    assert traffic.streams == 36
    assert traffic.points_per_second == 3.6
    groups = {keep: traffic.groups(keep.split()) for keep in ("", "host", "mode", "cluster mode")}
    assert groups == {"": 1, "host": 12, "mode": 3, "cluster mode": 12}


def test_what_follows_from_another_attribute_multiplies_nothing() -> None:
    (traffic,) = traffic_of(plan_of(reading("")), statistics(m=counted(streams_of(12, 3, 4))))
    assert traffic.groups(["host", "cluster"]) == 12
    assert traffic.groups(["host", "cluster", "mode"]) == 36
    assert traffic.groups(["nowhere"]) == 1
    assert traffic.groups(["host", "nowhere", "tenant"]) == 12


def test_what_some_streams_lack_is_a_value_of_its_own() -> None:
    some = [{"host": "a"}, {"host": "b"}, {}]
    (traffic,) = traffic_of(plan_of(reading("")), statistics(m=counted(some)))
    assert traffic.groups(["host"]) == 3


def test_conditions_leave_their_share_of_streams_and_values() -> None:
    plan = plan_of(
        reading("host", "{mode: [m0, absent]}"),
        reading("mode", "{mode: [m0, m1]}"),
        reading("host", "{mode: nothing}"),
        reading("host", "{host: [h0, h1]}"),
        reading("", "{elsewhere: x}"),
    )
    found = traffic_of(plan, statistics(m=counted(streams_of(12, 3, 4))))
    assert [round(one.streams, 9) for one in found] == [12, 24, 0, 6, 0]
    assert [round(one.groups(one.definition.group_by)) for one in found] == [12, 2, 1, 2, 1]


def test_a_condition_takes_what_goes_with_its_values() -> None:
    """Of one cluster in four there are the hosts of that cluster, not those of all."""
    (one,) = traffic_of(
        plan_of(reading("host", "{cluster: c1}")), statistics(m=counted(streams_of(12, 3, 4)))
    )
    assert one.streams == 9
    assert one.groups(["host"]) == pytest.approx(3)


def test_a_made_attribute_has_the_values_that_its_map_gives() -> None:
    plan = plan_of(
        reading(
            "kind",
            "{}",
            ", attributes: {kind: {from: [host], map: {h0: big, h1: small}, default: other}}",
        ),
        reading(
            "",
            "{kind: big}",
            ", attributes: {kind: {from: [host], map: {h0: big, h1: small}, default: other}}",
        ),
        reading(
            "",
            "{kind: other}",
            ", attributes: {kind: {from: [host], map: {h0: big, h1: small}, default: other}}",
        ),
    )
    found = traffic_of(plan, statistics(m=counted(streams_of(12, 3, 4))))
    assert found[0].groups(["kind"]) == 3
    assert [round(one.streams) for one in found] == [36, 3, 30]


def test_windows_shorter_than_the_interval_have_some_of_the_groups() -> None:
    every_minute = counted(streams_of(60, 2, 6), WHOLE, interval_s=60)
    (traffic,) = traffic_of(plan_of(reading("")), statistics(m=every_minute))
    assert traffic.active(10) == 20
    assert traffic.groups(["host"], 10) == pytest.approx(10)  # both modes of a host come together
    assert traffic.groups(["host"], 60) == 60
    assert 6 * 0.8 < traffic.groups(["cluster"], 10) < 6


def test_what_a_sample_has_of_a_population() -> None:
    assert drawn(10, 100, 1) == 10
    assert drawn(0, 0, 0.5) == 0
    chance = random.Random(3)
    population = [n % 50 for n in range(1000)]
    seen = [len(set(chance.sample(population, 30))) for _ in range(2000)]
    assert drawn(50, 1000, 0.03) == pytest.approx(sum(seen) / len(seen), rel=0.02)


@pytest.mark.parametrize("keys", [1, 3, 8, 40, 1000])
def test_keys_fall_on_partitions_as_they_do(keys: int) -> None:
    chance, partitions = random.Random(keys), 8
    loads = [[0] * partitions for _ in range(3000)]
    for load in loads:
        for _ in range(keys):
            load[chance.randrange(partitions)] += 1
    filled = sum(sum(map(bool, load)) for load in loads) / len(loads)
    assert touched(keys, partitions) == pytest.approx(filled, rel=0.02)
    worst = sum(max(load) for load in loads) / len(loads) / (keys / partitions)
    assert worst * 0.95 <= busiest(keys, partitions) <= worst * 1.6


def crowd(hosts: int = 1_000_000, clusters: int = 100_000) -> Statistics:
    """Hosts of two modes each, which need more than a core."""
    sizes = {RESOURCE: hosts, "cluster": clusters, "host": hosts, "mode": 2}
    streams = 2 * hosts
    return statistics(
        m=MetricCount(
            streams=streams,
            points_per_second=streams / 10,
            interval_ns=10 * 10**9,
            attributes={
                "tenant": AttributeCount(distinct=1, streams=streams, resource=True),
                **{
                    name: AttributeCount(distinct=n, streams=streams, resource=name != "mode")
                    for name, n in sizes.items()
                },
            },
            pairs=(
                (RESOURCE, "cluster", hosts),
                (RESOURCE, "host", hosts),
                (RESOURCE, "mode", streams),
                ("cluster", "host", hosts),
                ("cluster", "mode", 2 * clusters),
                ("host", "mode", streams),
            ),
        )
    )


def test_a_key_that_groups_keep_sends_each_group_once() -> None:
    plan = plan_of(reading("cluster"), reading("cluster, mode"))
    costs = Costs(plan, crowd(), 8)
    whole, by_cluster = costs.of("resource"), costs.of(("cluster",))
    assert [one.partitions for one in by_cluster.definitions[0].windows] == [1.0, 1.0]
    assert by_cluster.rekeyed == by_cluster.out == whole.out
    assert whole.rekeyed == pytest.approx(whole.out * touched(10, 8))
    assert choose(costs).cost.key == ("cluster",)


def test_a_key_of_too_few_values_is_not_chosen() -> None:
    plan = plan_of(reading("cluster"))
    costs = Costs(plan, crowd(clusters=2), 8)
    assert costs.of(("cluster",)).rekeyed < costs.of("resource").rekeyed
    assert costs.of(("cluster",)).busiest >= 4
    assert choose(costs).cost.key == "resource"


def test_only_what_all_resources_have_can_be_the_key() -> None:
    streams = [*streams_of(6, 2, 2), {"host": "lone", "mode": "m0"}]
    plan = plan_of(reading("host, cluster, mode"))
    assert keyable(traffic_of(plan, statistics(m=counted(streams, WHOLE)))) == ("host",)


def random_set(chance: random.Random) -> tuple[Plan, Statistics, int]:
    """Streams whose attributes depend on one another or not, and definitions of them."""
    names = [f"r{n}" for n in range(chance.randint(1, 5))]
    sizes = {name: chance.choice((1, 2, 4, 12, 50)) for name in names}
    streams: list[Labels] = []
    for number in range(chance.choice((20, 150, 400))):
        labels: Labels = {}
        for at, name in enumerate(names):
            follows = at and chance.random() < 0.9 and sizes[name] <= sizes[names[at - 1]]
            seed = int(labels[names[at - 1]]) if follows else number * 31 + at
            labels[name] = str(seed * 17 % sizes[name])
        labels["p"] = str(number % 3)
        streams.append(labels)
    keeps = [
        ", ".join(chance.sample([*names, "p"], chance.randint(0, len(names))))
        for _ in range(chance.randint(1, 5))
    ]
    interval = chance.choice((1, 10, 60))
    counts = statistics(m=counted(streams, {*names}, interval))
    return plan_of(*map(reading, keeps)), counts, chance.choice((1, 4, 16, 64))


@pytest.mark.parametrize("seed", range(500))
def test_the_chosen_key_costs_no_tenth_more_than_the_best_of_all(seed: int) -> None:
    plan, counts, partitions = random_set(random.Random(seed))
    costs = Costs(plan, counts, partitions)
    attributes = [
        name
        for name, one in counts.metrics["m"].attributes.items()
        if one.resource and one.streams == counts.metrics["m"].streams
    ]
    every: list[Key] = ["resource"]
    for size in range(len(attributes) + 1):
        every += [tuple(sorted(each)) for each in itertools.combinations(attributes, size)]
    best = min(costs.of(key).provided for key in every)
    chosen = choose(Costs(plan, counts, partitions))
    assert chosen.cost.provided <= best * 1.1
    assert chosen.cost.key in every


def test_what_a_plan_costs_does_not_depend_on_any_order() -> None:
    texts = [reading("cluster"), reading("host, mode"), reading("mode", "{cluster: c1}")]
    counts = statistics(m=counted(streams_of(12, 3, 4), WHOLE), n=counted([{}]))
    turned = Statistics(MEASURED, dict(reversed(counts.metrics.items())))
    plan = plan_of(*texts)
    again = compile_plan(list(reversed(plan.definitions)))
    first, second = explain(plan, "resource", counts, 8), explain(again, "resource", turned, 8)
    assert first.text() == second.text()
    assert json.dumps(first.to_dict()) == json.dumps(second.to_dict())


def test_an_explanation_says_what_it_costs_and_what_would_cost_less() -> None:
    counts = crowd()
    plan = plan_of(reading("cluster"), "source: {metric: gone, unit: '1'}\nspace: {keep: []}")
    text = explain(plan, "resource", counts, 8).text()
    assert f"estimated from statistics {counts.hash} (60 points of 10 streams in 60 s" in text
    assert (
        "cheaper: key the raw topic by `tenant`, `cluster` (`tidemill topic repartition --by"
        in text
    )
    assert "the traffic has nothing that it reads" in text
    assert "10s: 100,000 groups, 10,000 rows a second out" in text
    assert "saved by sharing: one scan of each point, and shared panes, for 2 definitions" in text
    chosen = explain(plan, ["cluster"], counts, 8).text()
    assert "none saves much beside `tenant`, `cluster`" in chosen
    assert "estimated" not in explain(plan).text()


def test_the_bound_of_state_grows_with_what_is_kept() -> None:
    def bound(keep: str, more: str = "", hosts: int = 12) -> State:
        text = reading(keep)
        plan = plan_of(text)
        if more:
            changed = replace(plan.definitions[0], corrections_ns=int(more) * 10**9)
            plan = compile_plan([changed])
        costs = Costs(plan, statistics(m=counted(streams_of(hosts, 3, 4), WHOLE)), 4)
        return state_of(costs, costs.of("resource"))

    windows = 3600 / 10 + 3600 / 60
    row = (10 + 2) * 8  # ten numbers and a hash, of each partition and of all together
    assert bound("host").rollup - bound("cluster").rollup > windows * (12 - 4) * 2 * row
    assert bound("host", hosts=120).preaggregate > 2 * bound("host").preaggregate
    assert bound("host", "36000").rollup > 8 * bound("host").rollup
    assert bound("host").rollup > windows * 12 * 2 * row


def test_sharing_saves_what_jobs_of_their_own_would_do_again() -> None:
    counts = statistics(m=counted(streams_of(12, 3, 4), WHOLE))
    one = Costs(plan_of(reading("host")), counts, 4).of("resource")
    two = Costs(plan_of(reading("host"), reading("mode")), counts, 4).of("resource")
    assert one.saved == 0
    prices = two.prices
    again = two.read * prices.scanned + two.records * prices.record + two.seals * prices.sealed
    assert two.saved == pytest.approx((again + two.kept * prices.kept) / 1e9)
