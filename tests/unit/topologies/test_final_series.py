"""The series of the final topic, step by step: what the whole-topology tests cannot reach."""

import random
from fractions import Fraction

import cramjam
import msgspec
import numpy as np
import pytest

from streams.batch import BytesColumn, Table, decode_table, encode_table
from streams.event_time.windows import EARLIEST, LATEST
from streams.kernels.exact import limbs_of
from streams.kernels.rows import GROUP_WIDTH
from topologies.cardinality import share_of
from topologies.partials import PartialRows
from topologies.rollup.final import Closing, Contract, Correction, FinalSeries
from topologies.rollup.groups import difference, values
from topologies.rollup.ledger import Limits
from topologies.rollup.state import blocks_of_series, restore
from topologies.rollup.windows import Windows

LEVEL = 10
PANE = "10/0/100"
SHARE = share_of(1000)
DELTA = Contract(True, True, False, False, {LEVEL: 1}, "sum", SHARE)
CUMULATIVE = Contract(True, True, True, False, {LEVEL: 1}, "sum", SHARE)
CARRY = Contract(True, True, False, True, {LEVEL: 1}, "sum", SHARE)
GAUGE = Contract(True, False, False, False, {LEVEL: 1}, "last", SHARE)


def rows(end: int, numbers: dict[int, float], definition: int = 0) -> PartialRows:
    """A row for each group, of one stream, whose number is given."""
    n = len(numbers)
    fields = np.zeros((n, GROUP_WIDTH), np.int64)
    fields[:, :2] = 1
    spills = {}
    for row, number in enumerate(numbers.values()):
        if number != number:
            fields[row, 9] = 1
        elif abs(number) >= 2**90:
            spills[row] = int(Fraction(number) * 2**1074)
        else:
            fields[row, 2:5] = limbs_of(int(Fraction(number) * 2**96))
    return PartialRows(
        np.full(n, definition, np.uint16),
        np.full(n, LEVEL, np.int64),
        np.full(n, end, np.int64),
        np.zeros(n, np.uint64),
        np.array(sorted(numbers), np.uint64),
        BytesColumn.of(b'{"g":"%d"}' % group for group in sorted(numbers)),
        fields,
        spills,
    )


def closing(end: int, numbers: dict[int, float], definition: int = 0, complete: bool = True):
    found = rows(end, numbers, definition)
    numbers, _ = values(found, ["sum"] * (definition + 1))
    return Closing(LEVEL, end, found, numbers, complete)


def told(points) -> list[tuple[int, int, int, float | None]]:
    """(group, start, end, value or None) of every point."""
    return [
        (int(group), int(start), part.end, float(value) if part.recorded else None)
        for part in points
        for group, start, value in zip(part.rows.low, part.start, part.values, strict=True)
    ]


def series_of(*contracts: Contract) -> FinalSeries:
    series = FinalSeries()
    for index, contract in enumerate(contracts):
        series.define(index, contract)
    return series


def close(series: FinalSeries, until: int, *closings: Closing, horizon: int = EARLIEST):
    return told(series.close("live", PANE, until, horizon, closings))


def test_an_incomplete_window_says_nothing_and_breaks_a_cumulative_run():
    series = series_of(CUMULATIVE)
    assert close(series, 20, closing(10, {1: 1}), closing(20, {1: 2})) == [
        (1, 0, 10, 1.0),
        (1, 0, 20, 3.0),
    ]
    assert close(series, 30, closing(30, {1: 50}, complete=False)) == []
    assert close(series, 40, closing(40, {1: 4})) == [(1, 30, 40, 4.0)]


def test_an_incomplete_window_is_no_zero_of_a_delta_sum_and_its_silence_counts():
    series = series_of(DELTA)
    close(series, 10, closing(10, {1: 1}))
    assert close(series, 20, closing(20, {}, complete=False)) == []
    assert close(series, 40) == [(1, 20, 30, None)]


def test_a_definition_that_is_not_final_has_no_series():
    series = series_of(Contract(False, True, True, True, {LEVEL: 9}, "sum", SHARE), DELTA)
    both = PartialRows.join([rows(10, {1: 1}), rows(10, {1: 2}, definition=1)])
    mixed = Closing(LEVEL, 10, both, values(both, ["sum", "sum"])[0])
    assert close(series, 10, mixed) == [(1, 0, 10, 2.0)]
    assert len(close(series, 100)) == 2
    assert not series.tables


def test_another_contract_ends_the_series_of_its_definition_and_of_no_other():
    series = series_of(CUMULATIVE, CUMULATIVE)

    def both(end: int) -> Closing:
        found = PartialRows.join([rows(end, {1: 1}), rows(end, {1: 1}, definition=1)])
        return Closing(LEVEL, end, found, values(found, ["sum", "sum"])[0])

    close(series, 10, both(10))
    series.define(0, CUMULATIVE)  # says nothing new
    series.define(1, DELTA)
    series.define(1, CUMULATIVE)
    assert close(series, 20, both(20)) == [(1, 0, 20, 2.0), (1, 10, 20, 1.0)]


def test_a_series_that_expires_leaves_no_state():
    series = series_of(CUMULATIVE, GAUGE)
    found = PartialRows.join([rows(10, {1: 1}), rows(10, {2: 1}, definition=1)])
    close(series, 10, Closing(LEVEL, 10, found, np.ones(2)))
    assert close(series, 1_000_000) == [
        (1, 0, 20, 1.0),
        (1, 0, 30, None),
        (2, 20, 30, None),
    ]
    assert not series.tables
    assert series.changed == {("live", PANE, LEVEL)}


def test_a_correction_goes_to_the_first_window_its_source_sealed_later_once():
    series = series_of(CARRY)
    close(series, 10, closing(10, {1: 1}))
    amount = difference(rows(10, {1: 5}), rows(10, {1: 1}))
    series.correct("live", PANE, LEVEL, Correction("live/0", 7, 10, amount))
    series.sealed("live", PANE, "live/1", 7, 40)  # another source's record
    series.sealed("live", PANE, "live/0", 7, 20)  # its own: so 20 was sealed by the same record
    assert close(series, 40, closing(20, {1: 2})) == [
        (1, 10, 20, 2.0),
        (1, 20, 30, 4.0),
        (1, 30, 40, 0.0),
    ]


def test_a_correction_begins_a_series_that_had_no_first_publication():
    series = series_of(CARRY)
    amount = difference(rows(10, {3: 5}), rows(10, {}))
    series.correct("live", PANE, LEVEL, Correction("live/0", 7, 1_000_000, amount))
    assert close(series, 1_000_040) == [
        (3, 1_000_000, 1_000_010, 5.0),
        (3, 1_000_010, 1_000_020, 0.0),
        (3, 1_000_020, 1_000_030, None),
    ]


def test_differences_are_exact_and_there_is_none_without_a_change_or_with_what_is_not_finite():
    before = rows(10, {1: 0.1, 2: 1e300, 3: 7, 4: float("nan"), 5: 2, 7: -1})
    after = rows(10, {1: 0.3, 2: 1.5e300, 3: 7, 4: 1, 5: float("nan"), 6: 2.5, 7: -3})
    found = difference(after, before)
    assert dict(zip(found.low.tolist(), values(found, ["sum"])[0].tolist(), strict=True)) == {
        1: float(Fraction(0.3) - Fraction(0.1)),
        2: 1.5e300 - 1e300,
        6: 2.5,
        7: -2.0,
    }


def test_cumulative_sums_keep_what_no_limb_holds():
    series = series_of(CUMULATIVE)
    close(series, 10, closing(10, {1: 1e300, 2: 1}))
    close(series, 20, closing(20, {1: 1.5, 2: 1}))
    assert close(series, 30, closing(30, {1: -1e300, 2: 1})) == [(1, 0, 30, 1.5), (2, 0, 30, 3.0)]


def test_past_the_end_of_a_history_a_series_ends_with_its_own_data():
    series = series_of(DELTA)
    close(series, 10, closing(10, {1: 1, 2: 1, 3: 1}))
    found = close(series, LATEST, closing(40, {1: 5, 4: 1}), closing(60, {4: 1}), horizon=20)
    assert sorted(found) == [
        (1, 10, 20, 0.0),
        (1, 20, 30, None),
        (1, 30, 40, 5.0),
        (2, 10, 20, 0.0),
        (3, 10, 20, 0.0),
        (4, 30, 40, 1.0),
        (4, 40, 50, 0.0),
        (4, 50, 60, 1.0),
    ]
    assert not series.tables


def random_closings(rng: random.Random) -> list[Closing]:
    found = []
    for end in range(10, 400, 10):
        if rng.random() < 0.6:
            chosen = sorted(rng.sample(range(8), rng.randrange(9)))
            parts = [rows(end, {g: rng.random() for g in chosen}, definition=d) for d in range(3)]
            joined = PartialRows.join(parts)
            found.append(Closing(LEVEL, end, joined, values(joined, ["sum", "sum", "last"])[0]))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_neither_cuts_nor_restarts_change_a_point(seed: int):
    rng = random.Random(seed)
    closings = random_closings(rng)
    contracts = (CARRY, CUMULATIVE, GAUGE)
    whole = sorted(map(str, close(series_of(*contracts), 500, *closings)))
    cut, at, points = series_of(*contracts), 0, []
    blocks: dict[bytes, bytes] = {}
    for until in sorted({*rng.sample(range(10, 500), 30), 500}):
        mine = [one for one in closings if at < one.end <= until]
        points += close(cut, until, *mine)
        at = until
        for key in cut.changed:
            for name, block in blocks_of_series(key, cut.tables.get(key)).items():
                if block is None:
                    blocks.pop(name, None)
                else:
                    blocks[name] = block
        if rng.random() < 0.5:
            cut = series_of(*contracts)
            kept = as_format_8(blocks) if rng.random() < 0.3 else blocks
            restore(kept.items(), Windows([], []), cut, Limits())
    assert sorted(map(str, points)) == whole


def as_format_8(blocks: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """As they were before the groups that had data last had a block of their own."""
    older: dict[bytes, bytes] = {}
    for name, block in blocks.items():
        if not name.startswith(b"series/"):
            continue
        stored = msgspec.msgpack.decode(bytes(cramjam.zstd.decompress(block)))
        end = stored.pop("present_end")
        saved = blocks[b"present/" + name.removeprefix(b"series/")]
        groups = decode_table(bytes(cramjam.zstd.decompress(saved)))
        columns = {**groups.columns, "end": np.full(groups.rows, end)}
        stored["present"] = encode_table(Table(columns))
        older[name] = bytes(cramjam.zstd.compress(msgspec.msgpack.encode(stored)))
    return older
