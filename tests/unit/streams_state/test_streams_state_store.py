"""One suite for both homes of task state, then what only the disk can do wrong."""

import os
import shutil
from pathlib import Path

import pytest

from streams.errors import Fatal
from streams.state.position import Checkpoint, Manifest, Position, UnknownVersion
from streams.state.rocks import RocksStore, check_state_version
from streams.state.store import CorruptStore, MemoryStore, StateStore

POSITION = Position(offset=7, snapshot=5, origin=0, lineage="a", blocks=2, digest=9, skipped=(3,))


@pytest.fixture(params=["memory", "rocksdb"])
def store(request, tmp_path):
    made: StateStore = MemoryStore() if request.param == "memory" else RocksStore(tmp_path / "s")
    yield made
    made.close()


def test_a_new_store_is_empty(store):
    assert store.checkpoint() is None
    assert list(store.blocks()) == []


def test_blocks_come_back_in_key_order_with_their_checkpoint(store):
    store.write({b"b": b"2", b"\x00": b"", b"a": b"1"}, Checkpoint(11, POSITION))
    assert list(store.blocks()) == [(b"\x00", b""), (b"a", b"1"), (b"b", b"2")]
    assert store.checkpoint() == Checkpoint(11, POSITION)


def test_none_deletes_a_block(store):
    store.write({b"a": b"1", b"b": b"2"}, Checkpoint(1, None))
    store.write({b"a": None, b"c": None}, Checkpoint(2, None))
    assert list(store.blocks()) == [(b"b", b"2")]
    assert store.checkpoint() == Checkpoint(2, None)


def test_wiping_forgets_everything(store):
    store.write({b"a": b"1"}, Checkpoint(1, POSITION))
    store.wipe()
    assert store.checkpoint() is None
    assert list(store.blocks()) == []
    store.write({b"b": b"2"}, Checkpoint(2, POSITION))
    assert list(store.blocks()) == [(b"b", b"2")]


def test_a_write_larger_than_a_part_is_whole(store):
    blocks = {b"%04d" % n: os.urandom(1 << 18) for n in range(40)}
    store.write(blocks, Checkpoint(1, POSITION))
    assert dict(store.blocks()) == blocks


def test_a_write_larger_than_what_is_kept_in_memory_is_whole(tmp_path):
    blocks = {b"%03d" % n: bytes([n]) * 500_000 for n in range(120)}
    written = RocksStore(tmp_path / "s")
    written.write(blocks, Checkpoint(5, None))
    assert dict(written.blocks()) == blocks
    written.write({b"000": None}, Checkpoint(6, None))
    written.close()
    again = RocksStore(tmp_path / "s")
    assert again.checkpoint() == Checkpoint(6, None)
    assert len(list(again.blocks())) == 119
    again.close()


def test_what_was_closed_in_order_is_there_when_opened_again(tmp_path):
    first = RocksStore(tmp_path / "s")
    first.write({b"a": b"1"}, Checkpoint(3, POSITION))
    first.close()
    again = RocksStore(tmp_path / "s")
    assert list(again.blocks()) == [(b"a", b"1")]
    assert again.checkpoint() == Checkpoint(3, POSITION)
    again.close()


def test_a_copy_taken_in_mid_life_is_a_state_that_was_written(tmp_path):
    """What a kill leaves: the files, without the memtable."""
    live = RocksStore(tmp_path / "live")
    seen = {0: (None, {})}
    for n in range(1, 200):
        blocks = {b"k": b"%d" % n, b"%03d" % n: os.urandom(4_000)}
        live.write(blocks, Checkpoint(n, None))
        seen[n] = (Checkpoint(n, None), {**seen[n - 1][1], **blocks})
    shutil.copytree(tmp_path / "live", tmp_path / "copy")
    (tmp_path / "copy" / "LOCK").unlink()
    copy = RocksStore(tmp_path / "copy")
    checkpoint = copy.checkpoint()
    assert checkpoint is not None
    assert checkpoint.changelog_offset > 0
    assert (checkpoint, dict(copy.blocks())) == seen[checkpoint.changelog_offset]
    copy.close()
    live.close()


def test_a_broken_manifest_is_noticed_at_opening_and_the_store_starts_empty(tmp_path):
    store = RocksStore(tmp_path / "s")
    store.write({b"a": b"1"}, Checkpoint(3, POSITION))
    store.close()
    (tmp_path / "s" / "CURRENT").write_bytes(b"x")
    again = RocksStore(tmp_path / "s")
    assert again.checkpoint() is None
    again.close()


def test_a_damaged_file_is_noticed_when_read_and_not_cut_short(tmp_path):
    store = RocksStore(tmp_path / "s")
    store.write({b"%05d" % n: os.urandom(400) for n in range(5_000)}, Checkpoint(3, POSITION))
    store.close()
    for table in Path(tmp_path / "s").glob("*.sst"):
        with table.open("r+b") as file:
            file.seek(table.stat().st_size // 3)
            file.write(b"\xff" * 64)
    again = RocksStore(tmp_path / "s")
    with pytest.raises(CorruptStore):
        list(again.blocks())
    again.wipe()
    assert list(again.blocks()) == []
    again.close()


def test_a_store_in_use_says_so_and_is_not_wiped(tmp_path):
    store = RocksStore(tmp_path / "s")
    store.write({b"a": b"1"}, Checkpoint(3, POSITION))
    with pytest.raises(Fatal, match="in use by another process"):
        RocksStore(tmp_path / "s")
    assert list(store.blocks()) == [(b"a", b"1")]
    store.close()


def test_a_state_folder_of_another_version_is_refused(tmp_path):
    check_state_version(tmp_path / "state")
    check_state_version(tmp_path / "state")
    (tmp_path / "state" / "VERSION").write_text("2\n")
    with pytest.raises(Fatal, match=r"layout version 2.*Move the folder away"):
        check_state_version(tmp_path / "state")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"")
    with pytest.raises(Fatal, match="no VERSION"):
        check_state_version(tmp_path / "photos")


def test_a_position_survives_its_encoding_and_refuses_a_newer_one():
    assert Position.decode(POSITION.encode()) == POSITION
    with pytest.raises(UnknownVersion):
        Position.decode(POSITION.encode().replace(b'"v":1', b'"v":2'))


def test_the_manifest_does_not_depend_on_order_and_knows_every_change():
    one, two = Manifest(), Manifest()
    for key, value in ((b"a", b"1"), (b"b", b"2"), (b"c", b"3")):
        one.put(key, value)
    for key, value in ((b"c", b"x"), (b"b", b"2"), (b"a", b"1"), (b"d", b"4"), (b"c", b"3")):
        two.put(key, value)
    assert one.digest != two.digest
    two.put(b"d", None)
    assert (one.blocks, one.digest) == (two.blocks, two.digest) == (3, one.digest)
    two.put(b"a", b"2")
    assert one.digest != two.digest
