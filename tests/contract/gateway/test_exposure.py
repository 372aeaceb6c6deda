"""Where the gateway may listen without a token, and by which names it is asked."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from kounter.gateway.settings import GatewaySettings, check_exposure
from schemas.errors import BrokenSetup
from tables.view import View
from tests.support.gateway import LocalReader, application, client
from tests.support.gateway_answers import LEADS


async def test_without_a_token_only_names_of_this_machine_are_answered(parts: tuple[LocalReader, View]) -> None:
    app = application(parts[0])
    for host, status in (("127.0.0.1", 200), ("localhost:7070", 200), ("[::1]:7070", 200), ("evil.example", 400)):
        async with client(app) as http:
            assert (await http.get(LEADS, headers={"Host": host})).status_code == status, host


OPEN = ["0.0.0.0:7070", "[::]:7070", "192.168.1.5:80", "kounter.example:80", "[::ffff:1.2.3.4]:80"]

SENSELESS = ["", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:²", "127.0.0.1:65536", "127.0.0.1:-1"]


@pytest.mark.parametrize("address", OPEN)
def test_beyond_loopback_a_token_is_needed(address: str) -> None:
    with pytest.raises(BrokenSetup, match="without authentication"):
        check_exposure(GatewaySettings(listen=("127.0.0.1:1", address)))
    check_exposure(GatewaySettings(listen=(address,), token=SecretStr("t")))


@pytest.mark.parametrize("address", ["127.0.0.1:7070", "localhost:0", "[::1]:7070", "::1:7070", "127.9.9.9:1"])
def test_loopback_needs_none(address: str) -> None:
    check_exposure(GatewaySettings(listen=(address,)))


@pytest.mark.parametrize("address", SENSELESS)
def test_an_address_that_makes_no_sense_is_told(address: str) -> None:
    with pytest.raises(BrokenSetup, match="is not host:port"):
        check_exposure(GatewaySettings(listen=(address,)))
