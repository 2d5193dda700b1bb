"""What windows of a stream publish, row by row from the rules, without any code of the product.

A row of partition p counts in a window unless the window had closed for p before the row's record:
unless p's watermark (the greatest time of earlier records of p) had reached its end plus grace. A
window is published when it has closed for every partition, with the rows that count in it. With
revisions the last word on a window has the rows that came before its horizon, too.
"""

from collections import defaultdict

NEVER = float("-inf")


def ends_of(time, size, advance):
    """Ends of the windows (end - size, end] that hold a time; ends are multiples of advance."""
    first = -(-time // advance) * advance
    return range(first, time + size, advance)


class Reference:
    """records: by partition, lists of records; a record is a list of rows or an idle mark (int)."""

    def __init__(self, records, size, advance, grace, horizon=None):
        self.first = defaultdict(list)  # (window, key) -> rows of the first publication
        self.last = defaultdict(list)  # ... and of the last revision
        self.dropped = 0
        reached = []
        for partition in records:
            watermark = NEVER
            for record in partition:
                rows = [] if isinstance(record, int) else record
                for row in rows:
                    self._count(row, watermark, size, advance, grace, horizon)
                moves = [record] if isinstance(record, int) else [row["at"] for row in record]
                watermark = max([watermark, *moves])
            reached.append(watermark)
        low = min(reached)
        self.closed = {(end, key) for end, key in {*self.first, *self.last} if low - grace >= end}
        self.low = low

    def _count(self, row, watermark, size, advance, grace, horizon):
        ends = list(ends_of(row["at"], size, advance))
        passed = NEVER if watermark == NEVER else (watermark - grace) // advance * advance
        settles = max(ends[0], passed + advance)
        reachable = ends[-1] + (horizon or 0)
        if settles > reachable:
            self.dropped += 1
            return
        for end in ends:
            if passed < end:
                self.first[end, row["key"]].append(row)
            if passed < end or (horizon is not None and settles <= end + horizon):
                self.last[end, row["key"]].append((settles, row))

    def first_rows(self):
        """(window, key) -> rows, of what was published first."""
        return {
            (end, key): rows for (end, key), rows in self.first.items() if (end, key) in self.closed
        }

    def last_rows(self, grace, advance):
        """(window, key) -> rows, of the last revision there can have been."""
        done = (self.low - grace) // advance * advance if self.low != NEVER else NEVER
        found = {}
        for (end, key), rows in self.last.items():
            if (end, key) in self.closed:
                settled = [row for settles, row in rows if settles <= max(done, end)]
                if settled:
                    found[end, key] = settled
        return found
