"""`tidemill doctor`."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from tidemill.commands.deployment import SettingsFile, settings_of
from tidemill.commands.errors import FAILED, FINE, USAGE, WARNINGS, CommandError
from tidemill.commands.output import Output, emit
from tidemill.diagnosis import machine, stack
from tidemill.diagnosis.finding import Finding
from tidemill.settings import Settings, SettingsError


def doctor(*, strict: bool = False, settings: SettingsFile = None, output: Output = "table") -> int:
    """Check this machine and the running stack; each line says what is so and what to do about it.

    Exit code 1 if something will not work, 3 with warnings under --strict.

    Parameters
    ----------
    strict:
        Warnings count.
    """
    try:
        found = asyncio.run(_findings(settings_of(settings)))
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from None
    if output == "table":
        width = max(len(finding.name) for finding in found)
        for finding in found:
            print(f"{finding.level:<4}  {finding.name:<{width}}  {finding.text}")
            if finding.advice:
                print(f"{'':<4}  {'':<{width}}  -> {finding.advice}")
    else:
        emit([asdict(finding) for finding in found], (), output)
    levels = {finding.level for finding in found}
    if "fail" in levels:
        return FAILED
    return WARNINGS if strict and "warn" in levels else FINE


async def _findings(settings: Settings) -> list[Finding]:
    here = [finding for check in machine.CHECKS for finding in check(settings)]
    return here + [finding async for finding in stack.findings(settings)]
