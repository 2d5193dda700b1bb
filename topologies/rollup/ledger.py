"""What a roll-up tells `telemetry.ledger` and people about limits: who comes near, who is over.

A row is a function of the partition's messages up to the one at which it was written, and holds
totals; so the newest row of a reducer says it all. It is written when a tenant comes near its limit
(80 %), goes over or back, and at every window of which groups have overflowed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from streams.event_time.levels import last_complete, name_of
from topologies.rollup.guard import Fill

MOST = 1000
"""Tenants, definitions and window sizes that are told of; later ones wait until others are fine."""


class Key(NamedTuple):
    """Whose limit, in windows of a level (`streams.event_time.levels`)."""

    domain: str
    pane: str
    definition: str
    version: str
    tenant: str
    level: int


@dataclass(slots=True)
class Account:
    """What is known of a limit, in the shards of this partition.

    Attributes:
        state: within, near or over.
        groups: Of the last window that was near or over, `window_end`; estimated if over.
        windows: How many were over; points: how many their overflow groups counted first.
    """

    limit: int
    state: str = "within"
    groups: int = 0
    window_end: int = 0
    windows: int = 0
    points: int = 0


class Limits:
    """Keeps the accounts of one shard partition."""

    def __init__(self) -> None:
        self.accounts: dict[Key, Account] = {}
        self._told = ""

    def closed(
        self,
        domain: str,
        pane: str,
        until: int,
        fills: Iterable[Fill],
        definitions: Sequence[Mapping[str, Any]],
    ) -> None:
        """All windows of a pane key up to `until` have closed; `fills` are those to tell of."""
        for fill in fills:
            definition = definitions[fill.definition]
            tenant = json.loads(b'"' + fill.tenant + b'"')
            whose = definition["name"], definition["version"], tenant
            key = Key(domain, pane, *whose, fill.level)
            if key not in self.accounts and not self._room():
                continue
            account = self.accounts.setdefault(key, Account(definition["limit"]))
            account.state = "over" if fill.over else "near"
            account.groups, account.window_end = fill.groups, fill.end
            account.windows += fill.over
            account.points += fill.points
        for key, account in self.accounts.items():
            mine = (key.domain, key.pane) == (domain, pane)
            if mine and last_complete(until, key.level) > account.window_end:
                account.state = "within"

    def _room(self) -> bool:
        if len(self.accounts) < MOST:
            return True
        fine = (key for key, account in self.accounts.items() if account.state == "within")
        key = next(fine, None)
        if key is None:
            return False
        del self.accounts[key]
        return True

    def rows(self) -> list[dict[str, Any]]:
        """The accounts, for a row and for people."""
        return [
            {**key._asdict(), "granularity": name_of(key.level), **asdict(account)}
            for key, account in sorted(self.accounts.items())
        ]

    def news(self, reducer: str) -> bytes | None:
        """The next row, if it says anything new."""
        if not (self.accounts or self._told):
            return None
        rows = self.rows()
        states = [(row["state"], row["windows"]) for row in rows]
        digest = hashlib.blake2b(json.dumps(states).encode(), digest_size=16).hexdigest()
        if digest == self._told:
            return None
        self._told = digest
        return json.dumps({"reducer": reducer, "limits": rows}).encode()

    def to_meta(self) -> dict[str, Any]:
        """For the state."""
        accounts = [[list(key), asdict(account)] for key, account in self.accounts.items()]
        return {"accounts": accounts, "told": self._told}

    def restore(self, meta: Mapping[str, Any]) -> None:
        """What `to_meta` gave."""
        self.accounts = {Key(*key): Account(**account) for key, account in meta["accounts"]}
        self._told = meta["told"]
