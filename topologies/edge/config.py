"""What an edge needs to know, validated once; how it is told what to do when that fails."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from topologies.edge.access import Tokens

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MIB = 1024 * 1024


class EdgeConfigError(ValueError):
    """The edge can't start like this; the message says what to change."""


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """Settings of one edge. Sizes in bytes, times in seconds.

    `port` 0 takes a free port. `anonymous_tenant` is who a client without a token is, if both ends
    of its connection are this machine; None asks everybody for a token. `partitions` and
    `replication` are used only when the topics do not exist yet.
    """

    bootstrap: str
    host: str = "127.0.0.1"
    port: int = 4318
    tokens: Tokens = field(default_factory=Tokens)
    anonymous_tenant: str | None = "default"
    raw_topic: str = "telemetry.raw"
    dead_letter_topic: str = "telemetry.dead-letter"
    partitions: int = 4
    replication: int = 1
    max_body: int = 64 * MIB
    max_record: int = 900_000  # a record, uncompressed: below Kafka's default of 1 MiB a batch
    max_in_flight: int = 256 * MIB
    append_timeout: float = 5.0  # exporters give up after 10 s: answer before that
    head_timeout: float = 10.0
    body_idle_timeout: float = 10.0
    body_timeout: float = 60.0
    keep_alive: float = 75.0
    retry_after_busy: int = 1
    retry_after_log_away: int = 2

    def __post_init__(self) -> None:
        if self.anonymous_tenant is not None:
            check_tenant(self.anonymous_tenant)
        if not self.tokens and not (self.anonymous_tenant and is_loopback(self.host)):
            raise EdgeConfigError(
                f"nobody could deliver to {self.host}:{self.port}: without tokens only clients of "
                "this machine are let in, and only when the edge listens on a loopback address. "
                "Give a file of tokens (--tokens FILE) or listen on 127.0.0.1"
            )


def is_loopback(host: str | None) -> bool:
    """True for an address (or the name localhost) that only this machine can reach."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_tenant(tenant: str) -> str:
    """The tenant if its name is allowed, else EdgeConfigError."""
    if not _TENANT.fullmatch(tenant):
        raise EdgeConfigError(
            f"{tenant!r} can't be a tenant: use 1 to 64 letters, digits, '.', '_' and '-', "
            "starting with a letter or digit"
        )
    return tenant


def parse_tokens(text: str, source: str) -> Tokens:
    """Read tokens: one a line, `TOKEN TENANT`; blank lines and lines that start with # are skipped.

    Raises EdgeConfigError with the line; the message never contains the token.
    """
    pairs: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise EdgeConfigError(
                f"{source}:{number}: expected two words, a token and the tenant it stands for"
            )
        token, tenant = words
        if len(token) < 16:
            raise EdgeConfigError(
                f"{source}:{number}: the token is shorter than 16 characters and could be guessed; "
                "make one with: openssl rand -hex 24"
            )
        try:
            check_tenant(tenant)
        except EdgeConfigError as error:
            raise EdgeConfigError(f"{source}:{number}: {error}") from error
        if pairs.setdefault(token, tenant) != tenant:
            raise EdgeConfigError(f"{source}:{number}: the same token stands for two tenants")
    if not pairs:
        raise EdgeConfigError(f"{source} holds no token: add lines of the form `TOKEN TENANT`")
    return tokens_of(pairs)


def tokens_of(pairs: Mapping[str, str]) -> Tokens:
    """Tokens from a mapping of token to tenant."""
    return Tokens.of(pairs)
