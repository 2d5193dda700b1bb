"""Log compaction: what stays of a log, and the rewriting of its segments."""
