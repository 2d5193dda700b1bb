"""Where the store is comes from the settings; its password never does."""

import pytest

from tidemill.settings import SettingsError
from tidemill.store_address import store_address


def test_an_address_has_host_port_user_and_security():
    found = store_address("https://reader@store.example:9440", "secret")
    assert (found.host, found.port, found.user, found.secure) == (
        "store.example", 9440, "reader", True,
    )  # fmt: skip
    assert found.password == "secret"
    assert "secret" not in repr(found)


def test_ports_that_are_not_given_are_clickhouses_own():
    assert store_address("http://store").port == 8123
    assert store_address("https://store").port == 8443


@pytest.mark.parametrize(
    "url", ["store:8123", "tcp://store:9000", "http://", "http://store:port", "http://s/path"]
)
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(SettingsError, match="store_url"):
        store_address(url)


def test_a_password_in_the_settings_is_refused_without_repeating_it():
    with pytest.raises(SettingsError) as raised:
        store_address("http://user:hunter2@store:8123")
    assert "hunter2" not in str(raised.value)
    assert "TIDEMILL_STORE_PASSWORD" in str(raised.value)
