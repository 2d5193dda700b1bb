"""What `orders.py` has to give, computed from the log by plain loops. Imports nothing of ours."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

GRACE_NS = 2 * 10**9

Said = tuple[bytes, bytes]
"""(key, value)"""


def dumped(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()


@dataclass
class Expected:
    """The rows of each topic. `seen`: by input partition, in order."""

    seen: list[list[Said]]
    totals: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    windows: set[Said] = field(default_factory=set)


def compute(orders: Sequence[Sequence[bytes]], size_ns: int) -> Expected:
    """`orders`: the values of each input partition, in order."""
    found = Expected([[] for _ in orders])
    sums: dict[tuple[int, str], list[int]] = defaultdict(list)
    closed: list[int] = []
    for partition, values in enumerate(orders):
        latest = 0
        for value in values:
            row = json.loads(value)
            shop, amount, at = row["shop"], row["amount"], row["at"]
            latest = max(latest, at)
            said = dumped({"id": row["id"], "shop": shop, "amount": amount})
            found.seen[partition].append((shop.encode(), said))
            count, total = found.totals.get(shop.encode(), (0, 0))
            found.totals[shop.encode()] = count + 1, total + amount
            sums[-(-at // size_ns) * size_ns, shop].append(amount)
        closed.append((latest - GRACE_NS) // size_ns * size_ns)
    for (end, shop), amounts in sums.items():
        if end <= min(closed):
            row = {"shop": shop, "window_start": end - size_ns, "window_end": end}
            row |= {"orders": len(amounts), "revenue": float(sum(amounts))}
            row["biggest"] = float(max(amounts))
            found.windows.add((shop.encode(), dumped(row)))
    return found


def counts(orders: Sequence[Sequence[bytes]], size_ns: int) -> dict[tuple[str, int], int]:
    """(shop, end) -> orders, of the windows that every partition has closed."""
    found: dict[tuple[str, int], int] = defaultdict(int)
    closed: list[int] = []
    for values in orders:
        rows = [json.loads(value) for value in values]
        for row in rows:
            found[row["shop"], -(-row["at"] // size_ns) * size_ns] += 1
        latest = max((row["at"] for row in rows), default=0)
        closed.append((latest - GRACE_NS) // size_ns * size_ns)
    return {at: count for at, count in found.items() if at[1] <= min(closed)}


def complaints(
    expected: Expected,
    seen: Sequence[Sequence[Said]],
    totals: Sequence[Sequence[Said]],
    windows: Sequence[Sequence[Said]],
) -> list[str]:
    """What is wrong with what came out, each topic given by partition; empty if nothing is."""
    return [
        *_of_seen(expected, seen),
        *_of_totals(expected, totals),
        *_of_windows(expected, windows),
    ]


def _of_seen(expected: Expected, seen: Sequence[Sequence[Said]]) -> list[str]:
    """Each order once, those of an input partition in their order wherever they went."""
    said: list[str] = []
    flat = [each for part in seen for each in part]
    wanted = [each for part in expected.seen for each in part]
    if sorted(flat) != sorted(wanted):
        missing, extra = set(wanted) - set(flat), set(flat) - set(wanted)
        said.append(
            f"seen: {len(flat)} records, {len(wanted)} expected; {len(missing)} missing "
            f"({sorted(missing)[:3]}), {len(extra)} that nobody sent ({sorted(extra)[:3]})"
        )
    rank = {each: (p, n) for p, part in enumerate(expected.seen) for n, each in enumerate(part)}
    for number, part in enumerate(seen):
        last: dict[int, int] = {}
        for each in part:
            source, at = rank.get(each, (-1, 0))
            if at < last.get(source, 0):
                said.append(f"seen/{number}: {each} is out of order")
            last[source] = at
    return said


def _of_totals(expected: Expected, totals: Sequence[Sequence[Said]]) -> list[str]:
    """The last row of each shop is right, and each row says more than the one before."""
    said: list[str] = []
    last: dict[bytes, tuple[int, int]] = {}
    for part in totals:
        for key, value in part:
            row = json.loads(value)
            now = row["orders"], row["revenue"]
            before = last.get(key, (0, 0))
            if now[0] <= before[0] or now[1] <= before[1]:
                said.append(f"totals of {key!r} went from {before} to {now}")
            if value != dumped({"shop": key.decode(), "orders": now[0], "revenue": now[1]}):
                said.append(f"totals: {value!r} under {key!r}")
            last[key] = now
    if last != expected.totals:
        wrong = {k: (last.get(k), v) for k, v in expected.totals.items() if last.get(k) != v}
        said.append(f"totals (found, expected): {wrong}")
    return said


def _of_windows(expected: Expected, windows: Sequence[Sequence[Said]]) -> list[str]:
    """Each window of each shop once, to the byte."""
    flat = [each for part in windows for each in part]
    if sorted(flat) == sorted(expected.windows):
        return []
    missing, extra = expected.windows - set(flat), set(flat) - expected.windows
    return [
        f"windows: {len(flat)} rows, {len(expected.windows)} expected; missing "
        f"{sorted(missing)[:3]}, not expected {sorted(extra)[:3]}"
    ]
