"""How many bytes may be on their way from sockets to the log at once (C)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Budget:
    """Bytes in flight, against a limit. A request alone is let through, whatever its size."""

    limit: int
    used: int = 0

    def take(self, amount: int, *, held: int = 0) -> bool:
        """Reserve `amount` more bytes for a request that already holds `held`; False when full."""
        if self.used + amount > self.limit and self.used > held:
            return False
        self.used += amount
        return True

    def give_back(self, amount: int) -> None:
        """Release bytes that were taken."""
        assert 0 <= amount <= self.used
        self.used -= amount
