"""Who is compared: how each is installed, started, and what it can do.

Every peer is one program that is called with

    BOOTSTRAP INPUT OUTPUT APPLICATION STATE-FOLDER FORMAT WINDOW-SECONDS OPTIONS

and reads the whole input topic, one row a group and closed window to the output topic.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tidemill-peers"
INSTALL_S = 900


class NotInstalled(Exception):
    """What a peer's installation said."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run a peer. `sizes`: events of the two inputs, by format; none: cannot do it."""

    name: str
    options: str
    sizes: dict[str, tuple[int, int]]
    guarantee: str


@dataclass(frozen=True, slots=True)
class Peer:
    """A project, its installation into the cache, and the command it is started with."""

    name: str
    variants: tuple[Variant, ...]
    command: Callable[[], list[str]]
    install: Callable[[], None]
    python: bool = False
    ours: bool = False
    environment: dict[str, str] = field(default_factory=dict[str, str])


SLOW = {"json": (100_000, 500_000), "otlp": (600_000, 2_400_000)}
SLOWEST = {"json": (40_000, 200_000), "otlp": (600_000, 2_400_000)}
QUICK = {"json": (500_000, 2_000_000), "otlp": (2_400_000, 9_600_000)}


def run_logged(name: str, command: list[str], folder: Path) -> None:
    """Run a step of an installation. Raises `NotInstalled` with the end of what it said."""
    CACHE.mkdir(parents=True, exist_ok=True)
    log = CACHE / f"{name}.install.log"
    with log.open("wb") as out:
        try:
            done = subprocess.run(command, cwd=folder, stdout=out, stderr=out, timeout=INSTALL_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotInstalled(f"{' '.join(command[:3])}: {error}") from error
    if done.returncode:
        said = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise NotInstalled(f"{' | '.join(said)[:300]} (more in {log})")


def _python_peer(folder: str, interpreter: str = "python3.11") -> tuple[
    Callable[[], list[str]], Callable[[], None]
]:  # fmt: skip
    home = CACHE / folder
    binary = str(home / "bin" / "python")

    def install() -> None:
        wanted = (HERE / folder / "requirements.txt").read_text()
        stamp = home / "requirements.txt"
        if stamp.exists() and stamp.read_text() == wanted:
            return
        uv = str(Path(sys.executable).parent / "uv")
        run_logged(folder, [uv, "venv", "--clear", "--python", interpreter, str(home)], CACHE)
        run_logged(folder, [uv, "pip", "install", "--python", binary, "-r",
                            str(HERE / folder / "requirements.txt")], CACHE)  # fmt: skip
        stamp.write_text(wanted)

    return lambda: [binary, str(HERE / folder / "app.py")], install


def _maven_peer(folder: str, main: str, flags: list[str]) -> tuple[
    Callable[[], list[str]], Callable[[], None]
]:  # fmt: skip
    home = CACHE / folder

    def install() -> None:
        run_logged(folder, ["mvn", "-q", "-B", "package", f"-Dpeers.target={home}"], HERE / folder)

    return lambda: ["java", *flags, "-cp", f"{home}/classes:{home}/lib/*", main], install


def _own(folder: str) -> tuple[Callable[[], list[str]], Callable[[], None]]:
    return lambda: [sys.executable, str(HERE / folder / "app.py")], lambda: None


_OPENED = [  # what Flink's own scripts open to it of Java 17
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.util", "java.util.concurrent", "java.net", "java.io",
                    "java.nio", "java.time", "java.util.concurrent.atomic",
                    "java.util.concurrent.locks", "java.lang.reflect", "java.text")
]  # fmt: skip
_QUIET = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]


def peers() -> list[Peer]:
    """Everybody, tidemill first."""
    ours = {"environment": {"PYTHONPATH": str(ROOT)}, "ours": True, "python": True}
    json_only = {"json": QUICK["json"]}
    return [
        Peer(
            "tidemill",
            (Variant("DSL", "", json_only, "exactly once"),),
            *_own("tidemill_json"), **ours,
        ),
        Peer(
            "tidemill-product",
            (Variant("pre-aggregation", "", {"otlp": QUICK["otlp"]}, "exactly once"),),
            *_own("tidemill_otlp"), **ours,
        ),
        Peer(
            "kafka-streams",
            (
                Variant("on close, memory", "memory", QUICK, "at least once"),
                Variant("on close, memory", "memory,exactly_once", QUICK, "exactly once"),
                Variant("on close, RocksDB", "", QUICK, "at least once"),
            ),
            *_maven_peer("kafka_streams", "peers.Main", ["-Xmx2g", *_QUIET]),
        ),
        Peer(
            "flink",
            (
                Variant("SQL (JSON), DataStream", "at_least_once", QUICK, "at least once"),
                Variant("SQL (JSON), DataStream", "exactly_once", QUICK, "exactly once"),
            ),
            *_maven_peer("flink", "peers.Main", ["-Xmx2g", *_OPENED, *_QUIET]),
        ),
        Peer(
            "pyflink",
            (Variant("Table, SQL", str(CACHE / "flink" / "lib"), json_only, "exactly once"),),
            *_python_peer("pyflink_table"), python=True,
        ),
        Peer(
            "faust",
            (
                Variant("table", "table", SLOWEST, "at least once"),
                Variant("dictionary", "dict", SLOWEST, "state is lost"),
            ),
            *_python_peer("faust_streaming"), python=True,
        ),
        Peer(
            "quix",
            (
                Variant("RocksDB", "at-least-once", SLOW, "at least once"),
                Variant("RocksDB", "exactly-once", SLOW, "exactly once"),
            ),
            *_python_peer("quix_streams"), python=True,
        ),
        Peer(
            "bytewax",
            (Variant("fold_window", "", SLOW, "state is lost"),),
            *_python_peer("bytewax_flow"), python=True,
        ),
    ]  # fmt: skip
