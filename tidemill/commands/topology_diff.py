"""`tidemill topology manifest` and `diff`: what a new version of a topology would do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from streams.topology.manifest import differences, manifest
from tidemill.commands.errors import FAILED, CommandError
from tidemill.commands.output import Output, emit
from tidemill.topology_file import NoTopology, load


def show_manifest(where: str, /) -> int:
    """What a topology keeps, reads and writes, as JSON: save it with each release, for `diff`.

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon.
    """
    print(json.dumps(_manifest(where), indent=2))
    return 0


def diff(old: str, new: str, /, *, output: Output = "table") -> int:
    """What becomes of each store and output when workers of NEW replace those of OLD.

    Ends with 1 if something is refused: workers of NEW would stop where they meet the state of OLD.

    Parameters
    ----------
    old:
        What runs: a .json that `manifest` wrote, a file.py or a module (shops.py:hours).
    new:
        What is to run.
    """
    try:
        found = differences(_manifest(old), _manifest(new))
    except ValueError as error:
        raise CommandError(str(error), FAILED) from None
    rows: list[dict[str, Any]] = [
        {"what": each.what, "name": each.name, "outcome": each.outcome, "reason": each.reason}
        for each in found
    ]
    emit(rows, ("what", "name", "outcome", "reason"), output)
    return FAILED if any(each.outcome == "refused" for each in found) else 0


def _manifest(where: str) -> Any:
    if where.endswith(".json"):
        try:
            return json.loads(Path(where).read_text())
        except (OSError, ValueError) as error:
            raise CommandError(f"{where}: {error}; write it with: manifest", FAILED) from None
    try:
        return manifest(load(where))
    except NoTopology as error:
        raise CommandError(str(error), FAILED) from None
