"""All that can be set of the gateway, and what it refuses to listen on."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, SecretStr

from schemas.errors import BrokenSetup

if TYPE_CHECKING:
    from kounter.gateway.tokens import Tokens

PORT: Final = re.compile("[0-9]{1,5}")


class GatewaySettings(BaseModel):
    """Where the gateway listens."""

    listen: tuple[str, ...] = ("127.0.0.1:7070", "127.0.0.1:3000")
    """``host:port``; beyond loopback a token is needed. Port 3000 is where the original users service is
    (docs/contracts/core-users.md); of the default addresses only the first must be free."""
    token: SecretStr = SecretStr("")
    """Bearer token of all requests for data; empty: none is asked for."""

    def tokens(self) -> Tokens | None:
        """Who may ask, None if everybody may."""
        from kounter.gateway.tokens import StaticToken  # FastAPI, which who only reads settings need not load

        return StaticToken(self.token) if self.token.get_secret_value() else None


def check_exposure(settings: GatewaySettings) -> None:
    """Raise BrokenSetup if the gateway would be open to others without a token, or an address makes no sense."""
    for address in settings.listen:
        host, _, port = address.rpartition(":")
        if not host or not PORT.fullmatch(port) or int(port) > 65_535:
            raise BrokenSetup(f"KOUNTER_GATEWAY__LISTEN: {address!r} is not host:port")
        if not _is_loopback(host) and not settings.token.get_secret_value():
            raise BrokenSetup(
                f"the gateway would listen on {address} without authentication",
                hint="Set KOUNTER_GATEWAY__TOKEN, or listen on 127.0.0.1.",
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
