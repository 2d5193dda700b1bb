"""Whether this process has the aggregates that others compute with."""

from __future__ import annotations

from collections.abc import Iterable

from streams.aggregates.registry import NotAnAggregate, UnknownAggregate, made


def require(needed: Iterable[tuple[str, str]]) -> None:
    """Refuse to go on without an aggregate.

    needed: (who needs it, as it is spelled).

    Raises:
        UnknownAggregate: One is not there, or not in that version; who needs it is named.
    """
    for who, spelling in needed:
        try:
            made(spelling)
        except UnknownAggregate as error:
            raise UnknownAggregate(
                f"{who} needs {spelling!r}: {error.message}", error.advice
            ) from None
        except (NotAnAggregate, ValueError, TypeError) as error:
            raise UnknownAggregate(
                f"{who} needs {spelling!r}, which this process cannot make: {error}",
                "Give it the same file as the other processes of the deployment have, in "
                "`aggregates` of the settings",
            ) from None
