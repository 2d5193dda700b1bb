"""A table and groups of keys as tasks keep them, against dicts, through snapshots."""

import random

import numpy as np
import pytest

from streams.operators.keys import KeyIndex, pack
from streams.operators.tables import TableStore
from streams.schema import boolean, f64, i64, string, time
from streams.values import values_of

KEYS = {"k": string.optional, "n": i64}
VALUES = {"x": f64.optional, "s": string.optional, "b": boolean, "t": time}


def drawn(chance, many):
    key = (None if chance.random() < 0.05 else f"k{chance.randrange(many)}", chance.randrange(2))
    row = (
        None if chance.random() < 0.2 else chance.random(),
        None if chance.random() < 0.2 else "s" * chance.randrange(40),
        chance.random() < 0.5,
        chance.randrange(100),
    )
    return key, row


def columns_of(rows, names):
    return {
        name: values_of(kind, [row[at] for row in rows])
        for at, (name, kind) in enumerate(names.items())
    }


def contents(store):
    columns = {name: values.to_list() for name, values in store.rows().items()}
    rows = zip(*columns.values(), strict=True)
    return {row[:2]: row[2:] for row in rows}


def restored(blocks):
    store = TableStore(KEYS, VALUES)
    for _, data in sorted(blocks.items()):
        store.load(data)
    store.loaded(max((int.from_bytes(key, "big") + 1 for key in blocks), default=0))
    return store


@pytest.mark.parametrize("seed", range(12))
def test_a_table_is_a_dict_of_its_latest_rows_also_after_restores(seed):
    chance = random.Random(seed)
    many = chance.choice([5, 300, 4000])
    store, model, blocks = TableStore(KEYS, VALUES), {}, {}
    for _ in range(30):
        n = chance.choice([1, 3, 200])
        given = [drawn(chance, many) for _ in range(n)]
        deleted = np.array([chance.random() < 0.4 for _ in range(n)])
        columns = columns_of([key for key, _ in given], KEYS)
        store.update(columns | columns_of([row for _, row in given], VALUES), deleted)
        for (key, row), gone in zip(given, deleted, strict=True):
            model.pop(key, None)
            if not gone:
                model[key] = row
        assert contents(store) == model
        assert len(store) == len(model)
        if chance.random() < 0.3:
            for key, data in store.blocks():
                if data is None:
                    blocks.pop(key, None)
                else:
                    blocks[key] = data
            if chance.random() < 0.5:
                store = restored(blocks)
                assert contents(store) == model
        look_up(store, model, chance, many)


def look_up(store, model, chance, many):
    wanted = [drawn(chance, many * 2)[0] for _ in range(20)]
    keys = columns_of(wanted, KEYS)
    found, values = store.look_up(list(keys.values()), len(wanted))
    rows = list(zip(*(values[name].to_list() for name in VALUES), strict=True))
    for key, there, row in zip(wanted, found, rows, strict=True):
        if key in model and key[0] is not None:  # null meets nothing
            assert there
            assert row == model[key]
        else:
            assert not there
            assert row == (None,) * len(VALUES)


def test_deleted_keys_are_forgotten_in_time():
    store = TableStore({"n": i64}, {"x": i64})
    for first in range(0, 40_000, 1000):
        rows = values_of(i64, range(first, first + 1000))
        store.update({"n": rows, "x": rows}, np.zeros(1000, np.bool_))
        store.update({"n": rows, "x": rows}, np.ones(1000, np.bool_))
    assert len(store) == 0
    assert len(store._index) < 3000


def test_keys_are_numbered_as_they_are_first_seen_and_unpacked_as_they_were():
    chance = random.Random(1)
    index, model = KeyIndex(), {}
    schema = {"s": string.optional, "n": i64.optional, "b": boolean}
    for _ in range(40):
        rows = [
            (
                chance.choice([None, "", "a", "b" * chance.randrange(60)]),
                chance.choice([None, chance.randrange(50)]),
                chance.random() < 0.5,
            )
            for _ in range(chance.choice([0, 1, 500]))
        ]
        packed = pack(list(columns_of(rows, schema).values()), len(rows))
        slots = index.slots(packed)
        assert slots.tolist() == [model.setdefault(row, len(model)) for row in rows]
        assert index.find(packed).tolist() == slots.tolist()
    found = index.columns(np.arange(len(index)), schema)
    assert list(zip(*(c.to_list() for c in found.values()), strict=True)) == list(model)
    strangers = [("none of these", 1, True)]
    assert index.find(pack(list(columns_of(strangers, schema).values()), 1)).tolist() == [-1]
