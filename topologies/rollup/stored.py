"""The windows of a roll-up, of which a restart reads only those that something happens to.

Most windows are closed and wait for corrections that never come: they stay the bytes that they are
stored as until a row of theirs comes, or they close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Window = tuple[str, int, int]
"""(pane key, size in ns, end in unix ns)"""


class Owned(Protocol):
    """What is asked of a window without its rows."""

    def only_of(self, domain: str) -> bool:
        """Whether nothing of another domain is in it or waits in it."""
        ...


S = TypeVar("S", bound=Owned)


@dataclass(frozen=True, slots=True)
class Stored(Generic[S]):
    """A window as it was stored. `only`: the one domain that is in it; empty: not just one."""

    only: str
    read: Callable[[], S]


class States(MutableMapping[Window, S]):
    """Window -> its state, read when it is first asked for."""

    def __init__(self) -> None:
        self._read: dict[Window, S] = {}
        self._stored: dict[Window, Stored[S]] = {}

    def put(self, window: Window, stored: Stored[S]) -> None:
        """A window that is not read yet."""
        self._stored[window] = stored

    def peek(self, window: Window) -> S:
        """A window's state, to look at: one that is stored is read for this once."""
        stored = self._stored.get(window)
        return self._read[window] if stored is None else stored.read()

    def only_of(self, window: Window, domain: str) -> bool:
        """Whether nothing of another domain is in a window or waits in it."""
        stored = self._stored.get(window)
        return self._read[window].only_of(domain) if stored is None else stored.only == domain

    def __getitem__(self, window: Window) -> S:
        stored = self._stored.pop(window, None)
        if stored is not None:
            self._read[window] = stored.read()
        return self._read[window]

    def __setitem__(self, window: Window, state: S) -> None:
        self._stored.pop(window, None)
        self._read[window] = state

    def __delitem__(self, window: Window) -> None:
        if self._stored.pop(window, None) is None:
            del self._read[window]

    def __contains__(self, window: object) -> bool:
        return window in self._stored or window in self._read

    def __iter__(self) -> Iterator[Window]:
        yield from self._stored
        yield from self._read

    def __len__(self) -> int:
        return len(self._stored) + len(self._read)
