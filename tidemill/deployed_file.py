"""What earlier programs wrote of definitions in force into the folder of a deployment.

Today `telemetry.definitions` says it. The first start of this program puts what the file says
there, in one transaction with what it changes, and deletes the file.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from metric_registry.compile import compile_plan
from metric_registry.plan import PlanError
from tidemill.settings import Settings
from tidemill.wiring import DefinitionsError, load_plan
from topologies.deployment import Deployment

DEPLOYED = "deployed.json"
FROM_THE_START = 0
_SINCE = msgspec.json.Decoder(dict[str, int])


def file_of(settings: Settings) -> Path:
    """Where it is, if it is."""
    return settings.folder / DEPLOYED


def written(settings: Settings) -> Deployment | None:
    """What the file says; None: there is none.

    Raises:
        DefinitionsError: It cannot be read, or definitions that it needs have a mistake.
    """
    file = file_of(settings)
    if not file.exists():
        return None
    text = file.read_bytes()
    try:
        return Deployment.from_json(text)
    except (msgspec.MsgspecError, PlanError) as error:
        return _of_before(settings, text, error)


def _of_before(settings: Settings, text: bytes, error: Exception) -> Deployment:
    """From a file that only says since when each version counts."""
    try:
        since = _SINCE.decode(text)
    except msgspec.MsgspecError:
        raise DefinitionsError(f"{file_of(settings)}: {error}") from error
    known = [one for one in load_plan(settings).definitions if one.version in since]
    chosen = {one.version: since[one.version] for one in known}
    later = {version: time for version, time in chosen.items() if time != FROM_THE_START}
    return Deployment(compile_plan(known), later)
