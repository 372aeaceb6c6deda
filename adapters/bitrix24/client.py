"""The client of a Bitrix24 portal: one call, and what its failure means for whoever wanted it done (contracts §1).

The webhook's URL is a secret: whoever knows it may do everything. It is in no log, error or traceback of this module,
and httpx's own log line of each request is scrubbed of it.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import httpx
from pydantic import BaseModel, Field, SecretStr

from adapters.bitrix24.pace import Pace
from schemas.errors import (
    BrokenSetup,
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    DeliveryUnavailable,
    OutcomeUnknown,
)

READS: Final = frozenset({"get", "list", "fields", "findbycomm", "profile", "info"})
"""Last words of the methods that change nothing. All others are writes: of these a lost answer must be looked into."""
CONNECT_S: Final = 10.0
RATE_TRIES: Final = 5
"""Of one call, each in its turn, while the portal refuses it for its rate: such a call has done nothing yet."""
BUCKET_S: Final = 1.0
"""After QUERY_LIMIT_EXCEEDED: two drops have left the bucket by then."""
BLOCKED_S: Final = 60.0
"""After OPERATION_TIME_LIMIT, if the portal does not say until when."""
MOST_BYTES: Final = 32 * 1024 * 1024
_DENIED: Final = frozenset(
    {
        "ACCESS_DENIED",
        "INVALID_CREDENTIALS",
        "NO_AUTH_FOUND",
        "OVERLOAD_LIMIT",
        "PORTAL_DELETED",
        "expired_token",
        "insufficient_scope",
        "user_access_error",
    }
)
"""Codes that no retry mends: stop and call a person."""
_WEBHOOK: Final = re.compile(r"(/rest/\d+/)[^/\s]+")
_URL: Final = re.compile(r"https?://[^/\s?#@]+/rest/\d+/[A-Za-z0-9_-]+/?")


class Bitrix24Settings(BaseModel):
    """The portal and how we sign our leads."""

    webhook_url: SecretStr = SecretStr("")
    """``https://<portal>/rest/<user>/<code>/``; empty: no portal."""
    timeout_s: float = Field(default=65.0, gt=0, le=300)
    """For an answer. A portal ends a request after 60 s itself (contracts §1, Limits): with more than that nothing of
    ours is still at work there when we give up, ask for the lead and create it anew."""
    calls_per_s: float = Field(default=2.0, gt=0, le=1000)
    """What the portal's plan allows in the long run: 2, for Enterprise 5. Kept to only once the portal has refused."""
    originator: str = Field(default="kounter", min_length=1, max_length=255)
    """ORIGINATOR_ID of our leads; leads are searched by it and ORIGIN_ID before an uncertain create is repeated."""


class Reply(NamedTuple):
    """A success; ``total`` and ``next`` only with lists."""

    result: Any
    total: int | None
    next: int | None


class Bitrix24Refused(DeliveryRefused):
    """The portal refuses this call for its data."""

    def __init__(self, message: str, *, not_found: bool = False) -> None:
        self.not_found = not_found
        """The lead that was named is not there."""
        super().__init__(message)


class RateExceeded(DeliveryUnavailable):
    """Too many calls in this moment; the call was not looked at."""


class Bitrix24Client:
    """``async with Bitrix24Client(settings) as portal: await portal.call("crm.lead.get", {"id": 1})``.

    Raises BrokenSetup if the webhook's URL can't be one; its text does not hold the URL.
    """

    def __init__(self, settings: Bitrix24Settings, clock: Callable[[], float] = time.time) -> None:
        url = settings.webhook_url.get_secret_value().strip()
        if not _URL.fullmatch(url):
            raise BrokenSetup(
                "KOUNTER_BITRIX24__WEBHOOK_URL is not a Bitrix24 webhook",
                hint="Copy it from the portal: https://<portal>/rest/<user>/<code>/",
            )
        address = httpx.URL(url)
        local = _is_local(address.host)
        if address.scheme != "https" and not local:
            raise BrokenSetup(
                "KOUNTER_BITRIX24__WEBHOOK_URL is not https: its secret would be open to read on the way",
                hint="Use https; plain http is for a twin on this machine or in a container beside.",
            )
        self._url, self._clock = url.rstrip("/") + "/", clock
        self._secret = self._url.rstrip("/").rpartition("/")[2]
        timeout = httpx.Timeout(settings.timeout_s, connect=min(CONNECT_S, settings.timeout_s))
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=not local, follow_redirects=False)
        self._reset_at: dict[str, float] = {}
        self._pace = Pace(settings.calls_per_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        """Call a method. Raises Bitrix24Refused, DeliveryUnavailable, OutcomeUnknown or DeliveryDenied.

        What the portal refuses for its rate is called again in its turn, a few times; nothing else is repeated here.
        """
        for _ in range(RATE_TRIES - 1):
            await self._pace.turn()
            try:
                return await self._call(method, params)
            except RateExceeded:
                self._pace.refused()
        await self._pace.turn()
        return await self._call(method, params)

    async def _call(self, method: str, params: Mapping[str, Any]) -> Reply:
        answer = await self._send(method, params)
        try:
            body = json.loads(answer.content)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise self._unreadable(method, answer.status_code)
        self._learn(method, body)
        if answer.status_code == 200 and "result" in body and "error" not in body:
            total, following = body.get("total"), body.get("next")
            return Reply(body["result"], _int(total), _int(following))
        raise self._error(method, answer, body)

    async def _send(self, method: str, params: Mapping[str, Any]) -> httpx.Response:
        problem = ""
        try:
            async with self._http.stream("POST", f"{self._url}{method}", json=params) as answer:
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise httpx.ReadError("the answer is too large")
                return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(content))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            problem = type(error).__name__
        except httpx.HTTPError as error:
            raise lost(method, type(error).__name__) from None  # its request holds the URL
        raise DeliveryUnavailable(f"{method}: the portal can't be reached ({problem})")

    def _learn(self, method: str, body: Mapping[str, Any]) -> None:
        """Keep until when a method's operating time is counted: a 429 may not say it."""
        times = body.get("time")
        reset = times.get("operating_reset_at") if isinstance(times, dict) else None
        if isinstance(reset, int | float):
            self._reset_at[method] = float(reset)

    def _error(self, method: str, answer: httpx.Response, body: Mapping[str, Any]) -> DeliveryError:
        code, text = str(body.get("error", "")), self._clean(str(body.get("error_description", "")))
        status, named = answer.status_code, f"{method}: {self._clean(code) or answer.status_code}: {text}"
        if code == "QUERY_LIMIT_EXCEEDED":
            return RateExceeded(named, retry_after=self._retry_after(answer, BUCKET_S))
        if code == "OPERATION_TIME_LIMIT" or status == 429:
            wait = max(1.0, self._reset_at.get(method, self._clock() + BLOCKED_S) - self._clock())
            return DeliveryUnavailable(named, retry_after=self._retry_after(answer, wait))
        if code in _DENIED or status in (401, 403) or text.lower().startswith("access denied"):
            return DeliveryDenied(named)
        if status >= 500 or 200 <= status < 300:
            return lost(method, self._clean(code) or str(status))
        if status < 400:
            return _moved(method, status)
        return Bitrix24Refused(named, not_found=code == "NOT_FOUND" or text.rstrip(".") == "Not found")

    def _unreadable(self, method: str, status: int) -> DeliveryError:
        """An answer that is no portal's: a proxy's page, a login page, a host that knows of no portal."""
        if 300 <= status < 400:
            return _moved(method, status)
        if status in (401, 403, 404):
            return DeliveryDenied(f"{method}: {status}, and not from a portal: is the webhook's URL right?")
        if status == 413:
            return Bitrix24Refused(f"{method}: 413, the request is too large")
        if status == 429:
            return DeliveryUnavailable(f"{method}: 429, and not from a portal", retry_after=BLOCKED_S)
        return lost(method, f"{status}, and not JSON")

    def _retry_after(self, answer: httpx.Response, otherwise: float) -> float:
        said = answer.headers.get("retry-after", "")
        return float(said) if said.isdecimal() and len(said) < 6 else otherwise

    def _clean(self, text: str) -> str:
        """What a portal says, short, printable and without our secret."""
        printable = "".join(c if c.isprintable() else " " for c in text[:200])
        return printable.replace(self._secret, "***") if len(self._secret) > 3 else printable


def lost(method: str, problem: str) -> DeliveryError:
    """No usable answer: a read can be repeated, a write may have been done."""
    last = method.rpartition(".")[2]
    if last in READS:
        return DeliveryUnavailable(f"{method}: no answer ({problem})")
    return OutcomeUnknown(f"{method}: no answer ({problem}), it may have been done")


def _moved(method: str, status: int) -> DeliveryDenied:
    return DeliveryDenied(f"{method}: {status}, the portal has moved or wants a login")


def _is_local(host: str) -> bool:
    """This machine, or a name without a dot: a container beside us."""
    if "." not in host and ":" not in host:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class _Scrub(logging.Filter):
    """Takes the webhook's code out of the line that httpx logs of each request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _WEBHOOK.sub(r"\1***", record.getMessage()), None
        return True


logging.getLogger("httpx").addFilter(_Scrub())
