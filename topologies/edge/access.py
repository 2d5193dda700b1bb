"""Who a request is from: a bearer token's tenant, or the anonymous tenant of this machine (C)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


def _nobody() -> Mapping[bytes, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token -> tenant. Keeps digests only; a look-up takes as long for a near miss as for any."""

    _tenants: Mapping[bytes, str] = field(default_factory=_nobody, repr=False)

    @classmethod
    def of(cls, pairs: Mapping[str, str]) -> Tokens:
        return cls(MappingProxyType({_digest(token): who for token, who in pairs.items()}))

    def tenant(self, token: str) -> str | None:
        return self._tenants.get(_digest(token))

    def __len__(self) -> int:
        return len(self._tenants)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


@dataclass(frozen=True, slots=True)
class Denied:
    """Not let in; `message` says what to do."""

    message: str


def authenticate(
    headers: Mapping[str, str], *, tokens: Tokens, anonymous_tenant: str | None, local: bool
) -> str | Denied:
    """The tenant a request speaks for. `headers` has lower-case names.

    `local` says that both ends of the connection are this machine. A request that was forwarded by
    a proxy is never anonymous: the proxy's address says nothing of its client.
    """
    given = headers.get("authorization")
    if given is not None:
        scheme, _, token = given.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return Denied("the Authorization header must read: Bearer TOKEN")
        tenant = tokens.tenant(token.strip())
        return tenant or Denied("the token is not known here; ask for a valid one")
    if anonymous_tenant is None or not local:
        return Denied("send a token, in a header that reads: Authorization: Bearer TOKEN")
    if "forwarded" in headers or "x-forwarded-for" in headers:
        return Denied("a forwarded request needs a token: Authorization: Bearer TOKEN")
    return anonymous_tenant
