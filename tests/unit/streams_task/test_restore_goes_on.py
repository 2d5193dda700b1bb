"""A restore that is cut short goes on where it was, and says how far it is."""

import os
import shutil

from streams.state.changelog import ChangelogKeys, ChangelogWriter
from streams.state.position import Manifest, Position
from streams.state.rocks import RocksStore
from streams.task import events as ev
from streams.task.events import TaskId
from streams.task.host import TaskHost
from streams.task.recovery import Recovery

TASK = TaskId("words", "lines", 0)
BLOCKS = {b"%03d" % n: os.urandom(1 << 18) for n in range(200)}  # 50 MB


class Kept:
    """A processor that only remembers its blocks."""

    def __init__(self):
        self.blocks = {}

    def restore(self, blocks):
        self.blocks = dict(blocks)

    def replay_from(self):
        return 7

    def stats(self):
        return {}


def changelog():
    manifest = Manifest()
    for key, value in BLOCKS.items():
        manifest.put(key, value)
    position = Position(7, 7, 0, "a", manifest.blocks, manifest.digest)
    records = ChangelogWriter(ChangelogKeys("lines", 0)).encode(BLOCKS, position)
    return [type(r)(r.key, r.value, offset) for offset, r in enumerate(records)]


def restore(folder, *, cut_after=None):
    """Recover through the real core, host and store; (recovery, what the processor got)."""
    log = changelog()
    host = TaskHost(TASK, lambda _t, _p: Kept(), lambda: RocksStore(folder), lambda: 0)
    recovery = Recovery(wipe=False)
    effect, pieces = recovery.begin(), 0
    while effect is not None and pieces != cut_after:
        match effect:
            case ev.InitProducer():
                answer = ev.ProducerReady("b")
            case ev.FindBounds():
                answer = ev.BoundsFound(0, len(log), 0, 7)
            case ev.ReadChangelog(start, _):
                answer = ev.ChangelogRead(log[start : start + 10], min(start + 10, len(log)))
                pieces += 1
            case _:
                answer = host.perform(effect)
        effect = recovery.next(answer)
    if cut_after is not None:
        return recovery, host
    assert isinstance(host.perform(ev.LoadProcessor(recovery.position)), ev.ProcessorLoaded)
    assert host.held.bytes == sum(map(len, BLOCKS.values()))
    loaded = host.processor.blocks
    host.close()
    return recovery, loaded


def test_a_restore_that_is_cut_short_goes_on_where_it_was(tmp_path):
    first, host = restore(tmp_path / "s", cut_after=15)
    assert first.progress() == {"start": 0, "at": 150, "end": 201, "records": 150}
    host.close()  # in order
    then, loaded = restore(tmp_path / "s")
    assert then.progress() == {"start": 140, "at": 201, "end": 201, "records": 61}
    assert loaded == BLOCKS


def test_a_restore_that_is_killed_loses_what_was_not_flushed_and_no_more(tmp_path):
    _, host = restore(tmp_path / "live", cut_after=15)
    shutil.copytree(tmp_path / "live", tmp_path / "left")
    (tmp_path / "left" / "LOCK").unlink()
    host.close()
    then, loaded = restore(tmp_path / "left")
    assert 140 - (16 << 20) / (1 << 18) - 10 <= then.progress()["start"] <= 140
    assert loaded == BLOCKS
