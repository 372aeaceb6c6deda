"""Who may read the log: the header, and pages of other sites."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from adapters.backend.settings import BackendSettings
from adapters.loopback import is_loopback
from schemas.errors import BrokenSetup


def check_exposure(settings: BackendSettings) -> None:
    """Raises BrokenSetup if other machines could read the log without a secret."""
    if not settings.header_value.get_secret_value() and not is_loopback(settings.listen.rpartition(":")[0]):
        raise BrokenSetup(
            f"the log would be open to every machine that reaches {settings.listen}",
            hint="Set KOUNTER_BACKEND__HEADER_VALUE, or listen on 127.0.0.1 (KOUNTER_BACKEND__LISTEN).",
        )


def is_allowed(settings: BackendSettings, values: Sequence[str]) -> bool:
    """Returns whether the header's values let a client in: exactly one, compared in constant time."""
    wanted = settings.header_value.get_secret_value().encode()
    if not wanted:
        return True
    came = values[0] if len(values) == 1 else ""
    return hmac.compare_digest(came.encode("utf-8", "surrogateescape"), wanted)


def is_own_page(origin: str | None, host: str | None) -> bool:
    """Returns whether a request comes from no web page, or from one of this host. A browser lets any site's page
    connect to this machine, and a log without a header value would be read by all of them."""
    return origin is None or (bool(host) and urlsplit(origin).netloc == host)
