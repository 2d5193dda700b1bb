"""What is on a disk is told without opening it, and told wrong it costs nothing but time."""

import os

from streams.state.held import LocalCopy, copies, note_copy, process_identity
from streams.state.position import Checkpoint, Manifest
from streams.state.rocks import RocksStore


def test_a_closed_store_says_up_to_where_it_goes_and_how_large_it_is(tmp_path):
    store = RocksStore(tmp_path / "raw" / "3")
    store.write({b"%d" % n: os.urandom(1_000) for n in range(1_000)}, Checkpoint(70, None))
    assert copies(tmp_path) == {}
    store.close()
    (at, copy), *others = copies(tmp_path).items()
    assert others == []
    assert at == ("raw", 3)
    assert copy.offset == 70
    assert 1_000_000 < copy.bytes < 1_200_000
    store = RocksStore(tmp_path / "raw" / "3")
    store.wipe()
    assert copies(tmp_path) == {}
    store.close()


def test_a_note_that_does_not_read_counts_as_none(tmp_path):
    for partition, text in enumerate(("", "[]", '{"offset": 1}', '{"offset": "x", "bytes": 0}')):
        folder = tmp_path / "raw" / str(partition)
        folder.mkdir(parents=True)
        (folder / "HELD").write_text(text)
    strange = tmp_path / "raw" / "no-number"
    strange.mkdir()
    note_copy(strange, LocalCopy(1, 2))
    assert copies(tmp_path) == {}
    assert copies(tmp_path / "nowhere") == {}


def test_a_state_folder_keeps_its_name_and_processes_without_one_differ(tmp_path):
    assert process_identity(tmp_path) == process_identity(tmp_path)
    (tmp_path / "other").mkdir()
    assert process_identity(tmp_path) != process_identity(tmp_path / "other")
    assert process_identity(None) != process_identity(None)


def test_the_manifest_knows_how_large_the_state_is():
    manifest = Manifest()
    for key, value in ((b"a", b"123"), (b"b", b""), (b"a", b"1"), (b"c", b"12"), (b"b", None)):
        manifest.put(key, value)
    assert manifest.bytes == 3
    manifest.put(b"c", None)
    manifest.put(b"d", None)
    assert manifest.bytes == 1
