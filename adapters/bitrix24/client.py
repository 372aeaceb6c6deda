"""The client of a Bitrix24 portal: one call, and what its failure means for whoever wanted it done
(docs/contracts/bitrix24.md#calls).

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
from typing import Any, Final, Self

import httpx

from adapters.bitrix24.answers import Failure, Meaning, Reply, lost, of_error, of_status
from adapters.bitrix24.batcher import Batcher
from adapters.bitrix24.operating_time import OperatingTime
from adapters.bitrix24.pace import Pace
from adapters.bitrix24.settings import Bitrix24Settings
from schemas.errors import BrokenSetup, DeliveryUnavailable

CONNECT_S: Final = 10.0
MOST_BYTES: Final = 32 * 1024 * 1024
_WEBHOOK: Final = re.compile(r"(/rest/\d+/)[^/\s]+")
_URL: Final = re.compile(r"https?://[^/\s?#@]+/rest/\d+/[A-Za-z0-9_-]+/?")


class Bitrix24Client:
    """``async with Bitrix24Client(settings) as portal: await portal.call("crm.lead.get", {"id": 1})``.

    Raises BrokenSetup if the webhook's URL can't be one; its text does not hold the URL.
    """

    def __init__(self, settings: Bitrix24Settings, clock: Callable[[], float] = time.monotonic) -> None:
        url = settings.webhook_url.get_secret_value().strip()
        if not _URL.fullmatch(url):
            raise BrokenSetup(
                "KOUNTER_BITRIX24__WEBHOOK_URL is not a Bitrix24 webhook",
                hint="Copy it from the portal: https://<portal>/rest/<user>/<code>/",
            )
        address = httpx.URL(url)
        local = is_local(address.host)
        if address.scheme != "https" and not local:
            raise BrokenSetup(
                "KOUNTER_BITRIX24__WEBHOOK_URL is not https: its secret would be open to read on the way",
                hint="Use https; plain http is for a twin on this machine or in a container beside.",
            )
        self._url = url.rstrip("/") + "/"
        self.api = settings.api
        self._secret = self._url.rstrip("/").rpartition("/")[2]
        timeout = httpx.Timeout(settings.timeout_s, connect=min(CONNECT_S, settings.timeout_s))
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=50)
        self._http = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=not local, follow_redirects=False)
        self._pace = Pace(settings.calls_per_s, settings.burst)
        self._operating = OperatingTime(clock)
        self._batcher = Batcher(self._post, self._pace, self._operating)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._batcher.close()
        await self._http.aclose()

    def share(self, part: float) -> None:
        """Keep to a part of the portal's rate: others call it from this address, too."""
        self._pace.share(part)

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        """Call a method. Raises Bitrix24Refused, DeliveryUnavailable, OutcomeUnknown or DeliveryDenied.

        Calls that are made at the same time share requests. What the portal refuses for its rate is called again in its
        turn, a few times; nothing else is repeated here. A method that is near its limit of operating time is not
        called: then DeliveryUnavailable says, as after a 429, when it may be again.
        """
        if wait := self._operating.wait(method):
            raise DeliveryUnavailable(f"{method}: its operating time is used up", retry_after=wait)
        return await self._batcher.call(method, params)

    async def _post(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
        """The body of a success, or what the failure means."""
        answer = await self._send(method, params)
        if isinstance(answer, Failure):
            return answer
        try:
            body = json.loads(answer.content)
        except (ValueError, RecursionError):
            body = None
        status, after = answer.status_code, _retry_after(answer)
        if not isinstance(body, dict):
            return of_status(status, after, answer.headers.get("location", ""))
        if status == 200 and "result" in body and "error" not in body:
            return body
        self._operating.learn(method, body.get("time"))
        code, text = self._clean(str(body.get("error", ""))), self._clean(str(body.get("error_description", "")))
        failure = of_error(code, text, status, after)
        if failure.meaning is Meaning.RATE:
            self._pace.refused()
        return failure

    async def _send(self, method: str, params: Mapping[str, Any]) -> httpx.Response | Failure:
        try:
            async with self._http.stream("POST", f"{self._url}{method}", json=params) as answer:
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        return lost("the answer is too large")
                return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(content))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            return Failure(Meaning.UNREACHABLE, f"the portal can't be reached ({type(error).__name__})")
        except httpx.HTTPError as error:
            return lost(type(error).__name__)

    def _clean(self, text: str) -> str:
        """What a portal says, short, printable and without our secret."""
        printable = "".join(c if c.isprintable() else " " for c in text[:200])
        return printable.replace(self._secret, "***") if len(self._secret) > 3 else printable


def _retry_after(answer: httpx.Response) -> float | None:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() and len(said) < 6 else None


def is_local(host: str) -> bool:
    """This machine, or a name without a dot: a container beside us."""
    if "." not in host and ":" not in host:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Scrub(logging.Filter):
    """Takes the webhook's code out of the line that httpx logs of each request."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = _WEBHOOK.sub(r"\1***", record.getMessage()), None
        return True


logging.getLogger("httpx").addFilter(_Scrub())
