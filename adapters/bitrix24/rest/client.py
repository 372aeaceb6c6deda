"""The client of a Bitrix24 portal: its answers and delivery errors (docs/contracts/bitrix24.md#calls).

The webhook's URL is a secret that grants every right of its user. It is in no log, error or traceback of this module.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from pydantic import SecretStr

from adapters.bitrix24.rest.answers import Failure, Meaning, Reply, lost, of_error, of_status
from adapters.bitrix24.rest.batcher import Batcher
from adapters.bitrix24.rest.operating_time import OperatingTime
from adapters.bitrix24.settings import Bitrix24Settings
from adapters.http_client import HttpAnswer, HttpClient, NoAnswer
from adapters.loopback import is_local
from adapters.rate_limit import Pace
from schemas.errors import BrokenSetup, DeliveryUnavailable

SETTING: Final = "KOUNTER_BITRIX24__WEBHOOK_URL"
_URL: Final = re.compile(r"https?://[^/\s?#@]+/rest/\d+/[A-Za-z0-9_-]+/?")


class Bitrix24Client:
    """``async with Bitrix24Client(settings) as portal: await portal.call("crm.lead.get", {"id": 1})``.

    Raises BrokenSetup if the webhook's URL can't be one; its text does not hold the URL.
    """

    def __init__(
        self,
        settings: Bitrix24Settings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        url = settings.webhook_url.get_secret_value().strip()
        if not _URL.fullmatch(url):
            raise BrokenSetup(
                f"{SETTING} is not a Bitrix24 webhook",
                hint="Copy it from the portal: https://<portal>/rest/<user>/<code>/",
            )
        self.api = settings.api
        self._http = HttpClient(
            url,
            "the portal",
            setting=SETTING,
            timeout_s=settings.timeout_s,
            secrets=(SecretStr(url.rstrip("/").rpartition("/")[2]),),
            plain=is_local,  # a twin may run in a container beside this one
        )
        # The HTTP client has no limiter: the calls of a batch are gathered when its turn has come.
        self._pace = Pace(settings.calls_per_s, settings.burst, clock, sleep)
        self._operating = OperatingTime(clock)
        self._batcher = Batcher(self._post, self._pace, self._operating)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._batcher.close()
        await self._http.__aexit__(kind, error, trace)

    def share(self, part: float) -> None:
        """Keep to a part of the portal's rate, above 0 and at most 1: others call from this address, too."""
        self._pace.share(part)

    async def call(self, method: str, params: Mapping[str, Any]) -> Reply:
        """Call a method. Raises Bitrix24Refused, DeliveryUnavailable, OutcomeUnknown or DeliveryDenied.

        Calls that are made at the same time share requests. A call that the portal refuses for the rate is repeated a
        few times; nothing else is repeated here. A method near its limit of operating time is not called: then
        DeliveryUnavailable has, as after a 429, the seconds to wait in ``retry_after``.
        """
        if wait := self._operating.wait(method):
            raise DeliveryUnavailable(f"{method}: its operating time is used up", retry_after=wait)
        return await self._batcher.call(method, params)

    async def _post(self, method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | Failure:
        """Return the body of a success, or the failure."""
        try:
            answer = await self._http.exchange("POST", method, json=params)
        except NoAnswer as error:
            if error.sent:
                return lost(error.problem)
            return Failure(Meaning.UNREACHABLE, f"the portal can't be reached ({error.problem})")
        body = answer.json()
        if not isinstance(body, dict):
            return of_status(answer.status, answer.retry_after, answer.headers.get("location", ""))
        if answer.status == 200 and "result" in body and "error" not in body:
            return body
        return self._refused(method, answer, body)

    def _refused(self, method: str, answer: HttpAnswer, body: Mapping[str, Any]) -> Failure:
        self._operating.learn(method, body.get("time"))
        code, text = (self._http.clean(str(body.get(name, ""))) for name in ("error", "error_description"))
        failure = of_error(code, text, answer.status, answer.retry_after)
        if failure.meaning is Meaning.RATE:
            self._pace.refused()
        return failure
