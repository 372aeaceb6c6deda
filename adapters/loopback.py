"""Addresses that stay on this machine, where plain http and a service without a token are allowed."""

from __future__ import annotations

import ipaddress
from typing import Final

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "::1", "[::1]")
"""Host headers that a service on loopback answers; any other name may be one that a web page lets point here."""


def is_loopback(host: str) -> bool:
    """Return whether a host, an IPv6 address with or without brackets, is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_local(host: str) -> bool:
    """Return whether a host is this machine or a container beside it, whose name has no dot."""
    return is_loopback(host) or ("." not in host and ":" not in host)
