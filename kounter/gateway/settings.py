"""Settings of the gateway, and the check of its addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, SecretStr

from adapters.loopback import is_loopback
from schemas.errors import BrokenSetup

if TYPE_CHECKING:
    from kounter.gateway.tokens import Tokens

PORT: Final = re.compile("[0-9]{1,5}")


class GatewaySettings(BaseModel):
    """Addresses that the gateway listens on, and its token."""

    listen: tuple[str, ...] = ("127.0.0.1:7070", "127.0.0.1:3000")
    """Addresses ``host:port``; beyond loopback a token is needed. Port 3000 is that of the original users service
    (docs/contracts/core-users.md); of the default addresses only the first must be free."""
    token: SecretStr = SecretStr("")
    """Bearer token of all requests for data; empty: no token is needed."""

    queue_key_file: Path | None = None
    """PEM file of the RSA private key that encrypted bodies of `/queue/{type}` are read with; none: only plain ones."""

    def tokens(self) -> Tokens | None:
        """Returns the port that checks tokens, None if none is needed."""
        from kounter.gateway.tokens import StaticToken  # loads FastAPI, which readers of settings need not

        return StaticToken(self.token) if self.token.get_secret_value() else None


def check_exposure(settings: GatewaySettings) -> None:
    """Raises BrokenSetup if the gateway would be open beyond loopback without a token, or an address is invalid."""
    for address in settings.listen:
        host, _, port = address.rpartition(":")
        if not host or not PORT.fullmatch(port) or int(port) > 65_535:
            raise BrokenSetup(f"KOUNTER_GATEWAY__LISTEN: {address!r} is not host:port")
        if not is_loopback(host) and not settings.token.get_secret_value():
            raise BrokenSetup(
                f"the gateway would listen on {address} without authentication",
                hint="Set KOUNTER_GATEWAY__TOKEN, or listen on 127.0.0.1.",
            )
