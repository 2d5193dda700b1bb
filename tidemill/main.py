"""The command line: what there is, how it is found, and how it fails.

Commands are imported when they are run, so that `tidemill --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError
from rich.console import Console

from tidemill.commands.errors import FAILED, USAGE, CommandError

RUN, ASK, DEFINE = "Run", "Ask", "Define and load"
COMMANDS = (
    # name, where, group, what it does, an example
    ("up", "up:up", RUN, "The whole stack on this machine, until Ctrl-C.",
     "tidemill up --workers 2 --definitions ./definitions"),
    ("broker", "processes:broker", RUN, "The log broker alone.",
     "tidemill broker --data ./broker-data --port 9092"),
    ("edge", "processes:edge", RUN, "Take OTLP/HTTP and append it to the log.",
     "tidemill edge --bootstrap 127.0.0.1:9092 --port 4318"),
    ("worker", "worker:worker", RUN, "One worker: from raw points to rollups in topics and tables.",
     "tidemill worker --settings .tidemill/settings.json --number 0"),
    ("store", "processes:store", RUN, "The embedded ClickHouse alone.",
     "tidemill store --data ./store-data --port 8123"),
    ("host", "processes:host", RUN, "Measure this machine and deliver by OTLP.",
     "tidemill host --endpoint http://127.0.0.1:4318 --interval 2"),
    ("init", "init:init", RUN, "Write a deployment's settings and create its topics.",
     "tidemill init --data .tidemill --bootstrap 127.0.0.1:9092"),
    ("query", "query:query", ASK, "The latest revision of a definition's windows.",
     "tidemill query host.cpu.utilization --resolution 10s --since 5m --where cpu.mode=user"),
    ("why", "why:why", ASK, "What holds the next window of a definition, and since when.",
     "tidemill why host.cpu.utilization"),
    ("doctor", "doctor:doctor", ASK, "Check this machine and the running stack.",
     "tidemill doctor --strict"),
    ("topic", "topic:app", ASK, "The topics of the log.", "tidemill topic list"),
    ("registry", "registry:app", DEFINE, "Metric definitions: check, explain, schema.",
     "tidemill registry check ./definitions"),
    ("load", "processes:load", DEFINE, "Load CSV files as history.",
     "tidemill load ./data/nab --name nab"),
    ("warm", "warm:warm", RUN, "Compile the kernels now rather than at the first use.",
     "tidemill warm"),
    ("version", "version:version", ASK, "The version of tidemill and of what it stands on.",
     "tidemill version -o json"),
)  # fmt: skip
GROUPS_OF_COMMANDS = {"topic", "registry"}
PASSED_ON = {"broker", "edge", "store", "host", "load"}
"""Commands whose options are read by the process that they start."""


def make_app() -> App:
    """The command line with every command registered by name."""
    app = App(
        name="tidemill",
        help="Define a metric once; get its windowed rollups, exact and repairable, as Kafka "
        "topics and ClickHouse tables.",
        help_epilogue="Example: tidemill up",
        help_format="plaintext",
        version_flags=(),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    for name, where, group, text, example in COMMANDS:
        given: dict[str, object] = {}
        if name not in GROUPS_OF_COMMANDS:
            given["help_epilogue"] = f"Example: {example}"
        if name in PASSED_ON:
            given["help_flags"] = ()
        app.command(f"tidemill.commands.{where}", name=name, group=group, help=text, **given)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 fine, 1 failed, 2 usage, 3 warnings under `--strict`, 4 unreachable,
        5 timed out.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        result = make_app()(words, console=Console(soft_wrap=False))
    except CycloptsError as error:
        command = next((word for word in words if not word.startswith("-")), "")
        known = any(command == entry[0] for entry in COMMANDS)
        help_of = f"tidemill {command} --help" if known else "tidemill --help"
        return _fail(f"{' '.join(str(error).split())} (see: {help_of})", USAGE)
    except CommandError as error:
        return _fail(str(error), error.code)
    except BrokenPipeError:
        sys.stderr.close()
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"tidemill: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
