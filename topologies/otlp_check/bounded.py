"""A dictionary that forgets what it has not been asked for longest."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Holds the `limit` keys that were used last, and at most twice as many.

    Keys live in two generations. When the young one is full the old one is dropped, and counted in
    `forgotten`; a key of the old one becomes young when it is asked for. Both are plain dicts, so
    that a hit costs one look-up.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self.forgotten = 0

    def get(self, key: K) -> V | None:
        """The value of a key, or None if it is not known or no longer."""
        value = self._young.get(key)
        if value is None and self._old:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember a value (never None)."""
        if len(self._young) >= self._limit:
            self.forgotten += len(self._old)
            self._old, self._young = self._young, {}
        self._young[key] = value

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
