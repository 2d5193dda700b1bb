"""From the settings' `store_url` to the address that clients of the store are given."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from tidemill.settings import SettingsError
from topologies.sink.store import StoreAddress

PASSWORD = "TIDEMILL_STORE_PASSWORD"
"""Environment variable with the password, so that it stands in no file and no command line."""


def store_address(url: str, password: str = "") -> StoreAddress:
    """The address in `http[s]://[USER@]HOST[:PORT]`.

    Raises:
        SettingsError: It is not of that form, or holds a password, which settings files never do.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"store_url {url!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise SettingsError(
            f"store_url {url!r} is no address of ClickHouse's HTTP interface: give one like "
            "http://127.0.0.1:8123"
        )
    if parts.password is not None:
        raise SettingsError(
            f"store_url holds a password: leave it out, and put it in the environment as {PASSWORD}"
        )
    secure = parts.scheme == "https"
    return StoreAddress(
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username) if parts.username else "default",
        password=password,
        secure=secure,
    )
