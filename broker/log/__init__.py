"""A partition's log: segments, indexes, recovery, retention; the disk behind a small port."""
