"""Addresses to listen on."""

from __future__ import annotations

import socket

from schemas.errors import BrokenSetup


def bind(address: str, variable: str) -> socket.socket:
    """Returns a listening socket on ``host:port``. Raises BrokenSetup that names the variable if that is impossible."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, ValueError, OverflowError) as error:
        reason, *_ = (getattr(error, "strerror", None) or str(error)).split(" (while ")  # the address again
        raise BrokenSetup(
            f"{variable}: can't listen on {address}: {reason}",
            hint=f"Stop what uses the port, or set {variable} to another one.",
        ) from None
