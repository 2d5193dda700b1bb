"""`tidemill worker`."""

from __future__ import annotations

from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import USAGE, CommandError
from tidemill.settings import SettingsError
from tidemill.wiring import DefinitionsError


def worker(*, settings: SettingsFile = None, number: int = 0) -> int:
    """One worker: it shares the partitions with every other worker of the deployment.

    `faust -A tidemill.worker worker` runs the same, with TIDEMILL_SETTINGS and TIDEMILL_WORKER in
    the environment.

    Parameters
    ----------
    number:
        The worker's number: its state folder, and its port counted from the first worker's.
    """
    if number < 0:
        raise CommandError(f"worker number {number}: give 0 or more", USAGE)
    from tidemill.worker import run  # Faust reads the command line's settings when imported

    try:
        run(settings_of(settings), number)
    except (DefinitionsError, SettingsError) as error:
        raise CommandError(str(error)) from None
    return 0
