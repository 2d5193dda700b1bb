"""Every command: its name, where it is, its group in the help, what it does, an example."""

from __future__ import annotations

from dataclasses import dataclass

RUN, ASK, DEFINE = "Run", "Ask", "Define and load"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command. `where` is `module:attribute` under `tidemill.commands`."""

    name: str
    where: str
    group: str
    help: str
    example: str
    subcommands: bool = False
    passed_on: bool = False
    """Whether its options are read by the process that it becomes."""


COMMANDS = (
    Entry("up", "up:up", RUN, "The whole stack on this machine, until Ctrl-C.",
          "tidemill up --workers 2 --definitions ./definitions"),
    Entry("init", "init:init", RUN, "Write a deployment's settings and create its topics.",
          "tidemill init --data .tidemill --bootstrap 127.0.0.1:9092"),
    Entry("broker", "processes:broker", RUN, "The log broker alone.",
          "tidemill broker --data ./broker-data --port 9092", passed_on=True),
    Entry("edge", "processes:edge", RUN, "Take OTLP/HTTP and append it to the log.",
          "tidemill edge --bootstrap 127.0.0.1:9092 --port 4318", passed_on=True),
    Entry("worker", "worker:worker", RUN, "One worker: raw points to rollups in topics and tables.",
          "tidemill worker --settings .tidemill/settings.json --number 0"),
    Entry("store", "processes:store", RUN, "The embedded ClickHouse alone.",
          "tidemill store --data ./store-data --port 8123", passed_on=True),
    Entry("host", "processes:host", RUN, "Measure this machine and deliver by OTLP.",
          "tidemill host --endpoint http://127.0.0.1:4318 --interval 2", passed_on=True),
    Entry("warm", "warm:warm", RUN, "Compile the kernels now, not at their first use.",
          "tidemill warm"),
    Entry("query", "query:query", ASK,
          "A definition's windows: what was sealed, or what open ones hold so far.",
          "tidemill query host.cpu.utilization --resolution 10s --since 5m --where cpu.mode=user"),
    Entry("why", "why:why", ASK, "What holds the next window of a definition, and since when.",
          "tidemill why host.cpu.utilization"),
    Entry("check-otlp", "check_otlp:check_otlp", ASK,
          "Where OTLP metrics, in files or a topic, break OpenTelemetry's data model.",
          "tidemill check-otlp --topic metrics --until-end"),
    Entry("doctor", "doctor:doctor", ASK, "Check this machine and the running stack.",
          "tidemill doctor --strict"),
    Entry("topic", "topic:app", ASK, "The topics of the log.", "tidemill topic list",
          subcommands=True),
    Entry("topology", "topology:app", ASK,
          "Topologies of your own: drawings, stores, what a new version would do.",
          "tidemill topology graph examples.shop_hours", subcommands=True),
    Entry("version", "version:version", ASK, "The version of tidemill and of what it stands on.",
          "tidemill version -o json"),
    Entry("registry", "registry:app", DEFINE, "Definitions of metrics: check, test, explain, diff.",
          "tidemill registry check ./definitions", subcommands=True),
    Entry("load", "processes:load", DEFINE, "Load CSV files as history.",
          "tidemill load tests/data/nab --name nab", passed_on=True),
)  # fmt: skip
BY_NAME = {entry.name: entry for entry in COMMANDS}
