"""Consumer groups and their offsets: the classic group protocol as a pure core."""
