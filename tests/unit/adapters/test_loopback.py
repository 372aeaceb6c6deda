"""Addresses of this machine and of containers beside it."""

from __future__ import annotations

import pytest

from adapters.loopback import LOOPBACK_NAMES, is_local, is_loopback


@pytest.mark.parametrize("host", [*LOOPBACK_NAMES, "127.8.9.1"])
def test_this_machine(host: str) -> None:
    assert is_loopback(host)
    assert is_local(host)


@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "[fe80::1]", "localhost.example", "127.0.0.1.nip.io"])  # noqa: S104
def test_others(host: str) -> None:
    assert not is_loopback(host)
    assert not is_local(host)


def test_a_container_beside_is_local_and_not_loopback() -> None:
    assert is_local("twin-bitrix24")
    assert not is_loopback("twin-bitrix24")
