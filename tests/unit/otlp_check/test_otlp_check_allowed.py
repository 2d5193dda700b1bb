"""What the data model allows is no finding, or a note at most; memory is bounded."""

from __future__ import annotations

from tests.unit.otlp_check.good_streams import DELTA, EPOCH, SECOND, Story, good
from topologies.otlp_check import Checker
from topologies.otlp_check.bounded import Recent


def codes(story: Story, checker: Checker | None = None) -> list[str]:
    checker = checker or Checker()
    return [found.code for body in story.bodies() for found in checker.feed(body)]


def test_ints_and_doubles_may_mix_in_one_stream():
    story = good("counter/cumulative")
    for request in (1, 3, 4):
        story.point(request).as_int = 3 * (request + 1)
    assert codes(story) == []


def test_attributes_in_another_order_are_the_same_stream():
    story = good("counter/cumulative")
    for request in (1, 2, 4):
        attributes = story.point(request).attributes
        attributes.insert(0, attributes.pop(1))
    story.point(4).as_double = 1.0
    assert codes(story) == ["decrease-without-reset"]


def test_maps_in_another_order_are_the_same_attribute_value():
    story = good("gauge")
    for request in range(6):
        inside = story.point(request).attributes[1].value.kvlist_value
        for key in ("k", "l") if request % 2 else ("l", "k"):
            inside.values.add(key=key).value.int_value = 1
    assert codes(story) == []
    story.requests.append(story.requests[5])
    story.requests[6] = type(story.requests[5])()
    story.requests[6].CopyFrom(story.requests[5])
    story.point(6).as_double = 0.25
    assert codes(story) == ["duplicate-point"] * 2


def test_a_sequence_of_unknown_start_begins_with_any_value():
    story = good("counter/cumulative")
    for request in (3, 4, 5):
        story.point(request).start_time_unix_nano = EPOCH + 40 * SECOND
        story.point(request).as_double = 1.0 + request
    assert codes(story) == ["reset"]


def test_after_no_recorded_value_a_new_start_is_a_reset():
    story = good("counter/cumulative")
    story.point(2).ClearField("as_double")
    story.point(2).flags = 1
    for request in (3, 4, 5):
        story.point(request).start_time_unix_nano = EPOCH + 30 * SECOND
        story.point(request).as_double = 1.0 + request
    assert codes(story) == ["reset"]


def test_no_recorded_value_may_cover_a_delta_window_of_its_own():
    story = good("counter/delta")
    story.point(2).ClearField("as_double")
    story.point(2).flags = 1
    assert codes(story) == []


def test_a_late_delta_point_in_a_gap_is_late_and_does_not_overlap():
    story = good("counter/delta")
    late = story.data(5).data_points.add()
    late.CopyFrom(story.data(3).data_points.pop(0))
    assert codes(story) == ["gap", "out-of-order-point"]


def test_a_histogram_may_change_its_bounds_and_an_exponential_one_its_scale():
    story = good("histogram/cumulative")
    for request in (3, 4, 5):
        story.point(request).explicit_bounds[0] = 0.75
    assert codes(story) == []
    story = good("exponential/cumulative")
    for request in (3, 4, 5):
        point = story.point(request)
        many, point.scale, point.positive.offset = request + 1, 0, -1
        point.positive.ClearField("bucket_counts")
        point.positive.bucket_counts.extend([2 * many, many, 2 * many])
    assert codes(story) == []


def test_one_name_in_two_scopes_is_two_metrics():
    story = good("counter/cumulative")
    scoped = story.requests[3].resource_metrics[0].scope_metrics[0]
    scoped.scope.version = "2"
    scoped.metrics[0].sum.aggregation_temporality = DELTA
    scoped.metrics[0].unit = "1"
    assert codes(story) == []


def test_two_writers_of_one_cumulative_stream_are_seen_at_each_turn():
    story = good("counter/cumulative")
    for request in (1, 3, 5):
        story.point(request).start_time_unix_nano = EPOCH + 5 * SECOND
    found = codes(story)
    assert found == ["overlapping-sequences", "start-went-back"] * 2 + ["overlapping-sequences"]


def test_a_finding_says_the_stream_the_place_and_both_values():
    story = good("counter/cumulative")
    story.point(3).as_double = 7.0
    checker = Checker()
    (found,) = [f for n, body in enumerate(story.bodies()) for f in checker.feed(body, f"m/0@{n}")]
    assert (found.metric, found.attributes) == ("m", '{a="x", b=0.5}')
    assert (found.resource, found.scope) == ('{host="h", pid=7}', "test 1{s=true}")
    assert (found.where, found.point) == ("m/0@3", "resource 0 scope 0 metric 0 point 0")
    assert found.time == EPOCH + 40 * SECOND
    assert found.expected.startswith("7.5 for (")
    assert found.expected.endswith("at m/0@2")
    assert found.found.startswith("7.0 for (")
    assert "AGGREGATION_TEMPORALITY_CUMULATIVE" in str(found)
    assert found.as_row()["severity"] == "violation"


def test_forgotten_streams_begin_anew_and_are_counted():
    story = good("counter/cumulative")
    story.point(3).as_double = 7.0
    checker = Checker(max_streams=1)
    many = good("gauge")
    found = []
    for number, body in enumerate(story.bodies()):
        for other in range(4):
            many.metric(0).name = "other"
            many.point(0).attributes[0].value.string_value = f"{number}-{other}"
            checker.feed(many.requests[0].SerializeToString())
        found += checker.feed(body)
    assert [each.code for each in found] == []
    assert checker.counts.forgotten > 0


def test_the_latest_keys_are_kept_and_twice_as_many_at_most():
    recent: Recent[int, str] = Recent(10)
    for key in range(100):
        recent.put(key, str(key))
        assert recent.get(0) == "0", "what is asked for stays"
        assert len(recent) <= 20
    assert all(recent.get(key) == str(key) for key in range(92, 100))
    assert recent.get(50) is None
    assert recent.forgotten == 100 - len(recent)
