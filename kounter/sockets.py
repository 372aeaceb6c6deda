"""Addresses to listen on."""

from __future__ import annotations

import socket

from adapters import loopback
from schemas.errors import BrokenSetup


def bind(address: str, variable: str) -> socket.socket:
    """A listening socket on ``host:port``. Raises BrokenSetup that names the variable if the address can't be had."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        return socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, ValueError, OverflowError) as error:
        reason, *_ = (getattr(error, "strerror", None) or str(error)).split(" (while ")  # the address, once more
        raise BrokenSetup(
            f"{variable}: can't listen on {address}: {reason}",
            hint=f"Stop what uses the port, or set {variable} to another one.",
        ) from None


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches ``host:port``."""
    return loopback.is_loopback(address.rpartition(":")[0])
