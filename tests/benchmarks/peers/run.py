"""tidemill and its peers: the same input topic, the same question, one run.

    .venv/bin/python tests/benchmarks/peers/run.py [--peers a,b] [--formats json,otlp]
        [--repeat N] [--scale X] [--out FILE]

Each peer reads two sizes of each input, in a process of its own; the difference of both is what a
record costs, and what is left is what its start costs (a virtual machine's warming among it). CPU
is user and system time of all processes of the peer until the last row of the result is read.
Exit code 1: a result was wrong.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from catalogue import NotInstalled, Peer, Variant, peers
from log import Log, Results
from measure import Watched
from traffic import Input, Result, oracle

from tests.ports import free_port

WINDOW_S = {"json": 10, "otlp": 60}
TOPIC = {"json": "events", "otlp": "telemetry.raw"}
STALLED_S = 150
LIMIT_S = 900


@dataclass(frozen=True, slots=True)
class Run:
    """One peer, one input: until the last row was read."""

    events: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    wrong: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What an event costs, by the difference of two sizes; or why nothing is said."""

    peer: str
    variant: str
    guarantee: str
    format: str
    python: bool
    ours: bool
    said: str
    cpu_ns: float = 0.0
    cpu_ns_range: tuple[float, float] = (0.0, 0.0)
    events_s: float = 0.0
    start_cpu_s: float = 0.0
    peak_mib: float = 0.0
    events: tuple[int, int] = (0, 0)


class Field:
    """An input of one size, on a broker of its own, and the right result."""

    def __init__(self, of: Input, folder: Path) -> None:
        self.of = of
        self.want = oracle(of)
        self.log = Log(folder)
        self.log.create(of.topic)
        self._folder = folder
        self._runs = 0
        self.log.append(of.topic, of.records())

    def run(self, peer: Peer, variant: Variant) -> Run:
        """Let a peer answer; stopped when its result is complete, or does not move any more."""
        self._runs += 1
        name = f"{peer.name}-{self._runs}"
        folder = self._folder / name
        folder.mkdir()
        target = f"{name}-out"
        if peer.ours and self.of.format == "otlp":
            target = "telemetry.rollups"
            self.log.remove_all_but(self.of.topic)
        else:
            self.log.create(target)
        options = f"web_port={free_port()}" if peer.ours else variant.options
        words = [self.log.address, self.of.topic, target, name, str(folder / "state"),
                 self.of.format, str(self.of.window_s), options]  # fmt: skip
        results = Results(self.log, target, self.of.end_ms)
        begin = time.monotonic()
        process = Watched([*peer.command(), *words], folder, folder / "log.txt", peer.environment)
        try:
            said = self._until_complete(process, results)
            cpu, wall = process.cpu_s(), time.monotonic() - begin
        finally:
            process.stop()
            results.close()
        wrong = said or difference(results.found, self.want)
        if wrong:
            wrong = f"{wrong} (its log: {folder / 'log.txt'})"
        return Run(self.of.size, cpu, wall, process.peak_bytes, wrong)

    def _until_complete(self, process: Watched, results: Results) -> str:
        """Why it never was; else nothing."""
        moved, rows = time.monotonic(), 0
        limit = moved + LIMIT_S
        while len(results.found) < len(self.want):
            results.poll(0.1)
            if process.ended is not None:
                return f"it ended with {process.ended}"
            now = time.monotonic()
            if results.rows != rows:
                moved, rows = now, results.rows
            if now > min(moved + STALLED_S, limit):
                return f"stalled at {len(results.found)} of {len(self.want)} rows"
        return ""


def difference(found: Result, want: Result) -> str:
    """How a result differs; nothing if it does not."""
    for key, row in want.items():
        if found.get(key) != row:
            return f"{key} is {found.get(key)}, and should be {row}"
    more = len(found) - len(want)
    return f"{more} rows too many, {next(iter(found.keys() - want.keys()))}" if more else ""


def cost(
    peer: Peer, variant: Variant, shape: str, small: Sequence[Run], large: Sequence[Run]
) -> Cost:
    """The slope between two sizes, the median of all rounds."""
    which = (peer.name, variant.name, variant.guarantee, shape, peer.python, peer.ours)
    for run in (*small, *large):
        if run.wrong:
            return Cost(*which, f"WRONG: {run.wrong}")
    n, m = small[0].events, large[0].events
    slopes = [(b.cpu_s - a.cpu_s) / (m - n) for a, b in zip(small, large, strict=True)]
    walls = [(b.wall_s - a.wall_s) / (m - n) for a, b in zip(small, large, strict=True)]
    slope, wall = statistics.median(slopes), statistics.median(walls)
    return Cost(
        *which, "", slope * 1e9, (min(slopes) * 1e9, max(slopes) * 1e9),
        1 / wall if wall > 0 else 0.0, statistics.median(run.cpu_s for run in small) - slope * n,
        max(run.peak_bytes for run in large) / 2**20, (n, m),
    )  # fmt: skip


def compare(
    chosen: list[Peer], formats: list[str], repeat: int, scale: float, folder: Path
) -> list[Cost]:
    """Everybody over everything; progress is printed."""
    start = (int(time.time()) // 600 - 12) * 600 * 1000
    fields: dict[tuple[str, int], Field] = {}
    found: list[Cost] = []
    try:
        for shape in formats:
            for peer in chosen:
                for variant in peer.variants:
                    if shape not in variant.sizes:
                        continue
                    sizes = [int(size * scale) for size in variant.sizes[shape]]
                    runs: list[list[Run]] = [[], []]
                    for _ in range(repeat):
                        for size, into in zip(sizes, runs, strict=True):
                            place = (shape, size)
                            if place not in fields:
                                print(f"  filling a topic: {shape}, {size:,} events", flush=True)
                                of = Input(TOPIC[shape], shape, size, WINDOW_S[shape], start)
                                fields[place] = Field(of, folder / f"{shape}-{size}")
                            into.append(fields[place].run(peer, variant))
                            tell(peer, variant, into[-1])
                            if into[-1].wrong:
                                break
                        if any(run.wrong for each in runs for run in each):
                            break
                    found.append(cost(peer, variant, shape, *runs))
    finally:
        for field in fields.values():
            field.log.stop()
    return found


def tell(peer: Peer, variant: Variant, run: Run) -> None:
    """A line of progress."""
    which = f"{peer.name}, {variant.name}, {variant.guarantee}"
    took = f"{run.events:,} events, {run.cpu_s:.1f} s CPU, {run.wall_s:.1f} s"
    print(f"  {which}: {took}, {run.wrong or 'right'}", flush=True)


def table(costs: list[Cost], missing: dict[str, str]) -> str:
    """For people."""
    lines: list[str] = []
    for shape, what in (("json", "a JSON record"), ("otlp", "an OTLP point")):
        rows = sorted(
            (c for c in costs if c.format == shape), key=lambda c: (bool(c.said), c.cpu_ns)
        )
        if not rows:
            continue
        ours = [c.cpu_ns for c in rows if c.ours and not c.said]
        lines.append(
            f"\n{what:40}{'guarantee':15}{'CPU ns':>9}{'(range)':>18}{'a second':>12}"
            f"{'times':>8}{'MiB':>7}{'start CPU s':>13}"
        )
        for c in rows:
            name = f"{c.peer}: {c.variant}"
            if c.said:
                lines.append(f"{name:40}{c.guarantee:15}{c.said}")
                continue
            span = f"({c.cpu_ns_range[0]:,.0f}-{c.cpu_ns_range[1]:,.0f})"
            rate = f"{c.events_s:,.0f}" if c.events_s else "too noisy"
            times = f"{c.cpu_ns / ours[0]:.1f}" if ours else ""
            lines.append(
                f"{name:40}{c.guarantee:15}{c.cpu_ns:9,.0f}{span:>18}{rate:>12}"
                f"{times:>8}{c.peak_mib:7,.0f}{c.start_cpu_s:13.1f}"
            )
    lines += [f"{name}: not installed: {why}" for name, why in missing.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default="", help="names, with commas; all unless given")
    parser.add_argument("--formats", default="json,otlp")
    parser.add_argument("--repeat", type=int, default=1, help="rounds of each; medians are shown")
    parser.add_argument("--scale", type=float, default=1.0, help="of the sizes")
    parser.add_argument("--out", type=Path, help="the figures as JSON")
    given = parser.parse_args()
    wanted = [name for name in given.peers.split(",") if name]
    everybody = peers()
    if unknown := set(wanted) - {peer.name for peer in everybody}:
        parser.error(f"no such peer: {unknown}; there are {[peer.name for peer in everybody]}")
    chosen: list[Peer] = []
    missing: dict[str, str] = {}
    for peer in everybody:
        if wanted and peer.name not in wanted:
            continue
        print(f"installing {peer.name}", flush=True)
        try:
            peer.install()
            chosen.append(peer)
        except NotInstalled as error:
            missing[peer.name] = str(error)
            print(f"  not installed: {error}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="tidemill-peers-"))
    costs = compare(chosen, given.formats.split(","), given.repeat, given.scale, folder)
    print(table(costs, missing))
    if given.out:
        told = {"costs": [asdict(each) for each in costs], "not_installed": missing}
        given.out.write_text(json.dumps(told, indent=2) + "\n")
    wrong = any(each.said for each in costs)
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return int(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
