"""The command line: what there is, how it is found, and how it fails.

Commands are imported when they are run, so that `tidemill --help` answers at once.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError

from tidemill.commands.catalogue import BY_NAME, COMMANDS
from tidemill.commands.errors import FAILED, USAGE, CommandError


def make_app() -> App:
    """The command line, with every command registered by name."""
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
    for entry in COMMANDS:
        given: dict[str, Any] = {}
        if not entry.subcommands:
            given["help_epilogue"] = f"Example: {entry.example}"
        if entry.passed_on:
            given["help_flags"] = ()
        app.command(
            f"tidemill.commands.{entry.where}",
            name=entry.name,
            group=entry.group,
            help=entry.help,
            **given,
        )
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0 fine, 1 failed, 2 usage, 3 warnings under `--strict`, 4 unreachable,
        5 timed out.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        _known(words)
        result = make_app()(words)
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(f"{' '.join(str(error).split())} See: tidemill {words[0]} --help", USAGE)
    except CommandError as error:
        return _fail(str(error), error.code)
    except BrokenPipeError:
        # Who reads us has gone, such as `head`; nothing may be flushed to it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except KeyboardInterrupt:
        return FAILED
    return result if isinstance(result, int) else 0


def _known(words: Sequence[str]) -> None:
    if not words or words[0].startswith("-") or words[0] in BY_NAME:
        return
    close = difflib.get_close_matches(words[0], BY_NAME, 1)
    hint = f"did you mean `tidemill {close[0]}`?" if close else "see: tidemill --help"
    raise CommandError(f"there is no command `{words[0]}`; {hint}", USAGE)


def _fail(message: str, code: int) -> int:
    print(f"tidemill: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
