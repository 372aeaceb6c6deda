"""One request to the operator's REST, and what its failure means for whoever wanted it done
(docs/contracts/rosdomofon.md#rest-errors).

Password and token are in no log, error or traceback of this module; phones in errors are masked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import httpx
from loguru import logger
from pydantic import SecretStr, TypeAdapter, ValidationError

from adapters.rosdomofon.rest.models import AuthResponse, Page
from adapters.rosdomofon.settings import RosDomofonSettings
from adapters.rosdomofon.wire import W, leniently, mask, problems
from schemas.errors import (
    BrokenSetup,
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    DeliveryUnavailable,
    OutcomeUnknown,
    host_of,
)

T = TypeVar("T")
Passed = Callable[[Any, str], None]
"""Told of a row that can't be read, and why; without one such a row is the failure of the whole answer."""
OAUTH: Final = "/authserver-service/oauth/token"
V1: Final = "/abonents-service/api/v1"
V2: Final = "/abonents-service/api/v2"
CLIENT_ID: Final = "machine"
CONNECT_S: Final = 10.0
PAGE: Final = 100
MOST_BYTES: Final = 32 * 1024 * 1024
_PHONES: Final = re.compile(r"7[0-9]{10}")


class RosDomofonRefused(DeliveryRefused):
    """The operator refuses this request for its data (4xx)."""

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)

    @property
    def not_found(self) -> bool:
        """What the request names is not there."""
        return self.status == 404


class RosDomofonRest:
    """Requests with a token that is got at first use and renewed once when it is refused.

    Raises BrokenSetup if the settings can't reach anything.
    """

    def __init__(self, settings: RosDomofonSettings) -> None:
        try:
            url = httpx.URL(settings.base_url.rstrip("/"))
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
            raise BrokenSetup("the RosDomofon address is not one", hint="Write it as https://rdba.rosdomofon.com")
        local = _is_loopback(url.host)
        if url.scheme != "https" and not local:
            raise BrokenSetup(
                "the RosDomofon address is not https: its password would be open to read on the way",
                hint="Use https; plain http is for a twin on this machine.",
            )
        if not settings.username:
            raise BrokenSetup("RosDomofon has no username", hint="Set username and password as the operator gave them.")
        self._settings = settings
        self._token: SecretStr | None = None
        self._renewing = asyncio.Lock()
        timeout = httpx.Timeout(settings.timeout_s, connect=min(CONNECT_S, settings.timeout_s))
        self._http = httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=not local, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    def _form(self) -> dict[str, str]:
        return {
            "grant_type": "password",
            "client_id": CLIENT_ID,
            "username": self._settings.username,
            "password": self._settings.password.get_secret_value(),
        }

    async def authenticate(self) -> AuthResponse:
        """Get a new token; it serves all requests after it. Raises DeliveryDenied or DeliveryUnavailable."""
        what = "POST oauth/token"
        answer = await self._send(what, "POST", OAUTH, data=self._form(), write=False)
        if answer.status_code in (400, 401, 403):
            raise DeliveryDenied(f"{what}: {answer.status_code}: {self._said(answer)}", for_all=True)
        if answer.status_code != 200:
            raise self._error(what, answer, write=False)
        got = self._read(what, answer, AuthResponse, write=False)
        self._token = got.access_token
        return got

    async def ask(self, kind: type[T], path: str, params: Mapping[str, str | int] | None = None) -> T:
        """GET. Raises RosDomofonRefused, DeliveryUnavailable or DeliveryDenied."""
        what = f"GET {path}"
        with _logged():
            answer = await self._authorized(what, "GET", path, params=params, write=False)
            return self._read(what, answer, kind, write=False)

    async def create(self, kind: type[T], path: str, body: Any) -> T:
        """POST. Raises as `ask`, and OutcomeUnknown if it may have been done."""
        what = f"POST {path}"
        with _logged():
            answer = await self._authorized(what, "POST", path, json=body, write=True)
            return self._read(what, answer, kind, write=True)

    async def tell(self, method: str, path: str, body: Any = None) -> None:
        """A write whose answer says nothing but that it is done. Raises as `create`."""
        with _logged():
            await self._authorized(f"{method} {path}", method, path, json=body, write=True)

    async def rows(self, kind: type[W], path: str, passed: Passed | None = None) -> list[W]:
        """A list that is not paged, row by row: one that can't be read does not lose the others. Raises as `ask`."""
        return self._rows(kind, f"GET {path}", await self.ask(list[Any], path), passed)[0]

    async def pages(
        self,
        kind: type[W],
        path: str,
        params: Mapping[str, str | int],
        passed: Passed | None = None,
        *,
        whole: bool = False,
    ) -> AsyncIterator[W]:
        """The items of all pages of Spring; each page raises as `ask`. ``whole``: so does an item that can't be read,
        which is passed over otherwise."""
        number = 0
        while True:
            page = await self.ask(Page[Any], path, {**params, "page": number, "size": PAGE})
            what = f"GET {path} page {number}"
            items, unreadable = self._rows(kind, what, page.content, passed)
            logger.debug("rosdomofon: page {} of {} has {} items", number, path, len(page.content))
            for item in items:
                yield item
            if whole and unreadable:
                raise lost(what, f"{unreadable} of its items can't be read", write=False)
            number += 1
            if not page.content and page.last is False:
                raise lost(what, "a page without items that is not the last", write=False)
            if page.last or not page.content or (page.total_pages is not None and number >= page.total_pages):
                return

    def _rows(self, kind: type[W], what: str, came: list[Any], passed: Passed | None) -> tuple[list[W], int]:
        """What could be read, and how many could not: who is not found may be among these."""
        read: list[W] = []
        unreadable, problem = 0, ""
        for row in came:
            try:
                read.append(leniently(kind, row)[0])
            except ValidationError as error:
                problem = problems(error)
                unreadable += 1
                if passed is not None:
                    passed(row, problem)
        if unreadable and passed is None:
            logger.warning("rosdomofon {}: {} of {} can't be read: {}", what, unreadable, len(came), problem)
            if not read:
                raise lost(what, f"an answer that is not the known one: {problem}", write=False)
        return read, unreadable

    async def _authorized(self, what: str, method: str, path: str, *, write: bool, **more: Any) -> httpx.Response:
        token = self._token or await self._renewed(None)
        answer = await self._send(what, method, path, token=token, write=write, **more)
        if answer.status_code == 401:
            logger.debug("rosdomofon {}: the token is refused, a new one is got", what)
            token = await self._renewed(token)
            answer = await self._send(what, method, path, token=token, write=write, **more)
        if not 200 <= answer.status_code < 300:
            raise self._error(what, answer, write=write)
        return answer

    async def _renewed(self, refused: SecretStr | None) -> SecretStr:
        """A token that is not ``refused``: of many requests that were refused at once only the first asks for one."""
        async with self._renewing:
            if self._token is None or self._token is refused:
                await self.authenticate()
            assert self._token is not None
            return self._token

    async def _send(
        self, what: str, method: str, path: str, *, write: bool, token: SecretStr | None = None, **more: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        problem = ""
        try:
            async with self._http.stream(method, path, headers=headers, **more) as answer:
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > MOST_BYTES:
                        raise httpx.ReadError("the answer is too large")
                return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(content))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            problem = type(error).__name__
        except httpx.HTTPError as error:
            raise lost(what, type(error).__name__, write=write) from None  # its request holds the token
        raise DeliveryUnavailable(f"{what}: the operator can't be reached ({problem})")

    def _read(self, what: str, answer: httpx.Response, kind: type[T], *, write: bool) -> T:
        try:
            read: T = _adapter(cast(Any, kind)).validate_json(answer.content)
            return read
        except ValidationError as error:
            problem = problems(error)
        raise lost(what, f"an answer that is not the known one: {problem}", write=write)

    def _error(self, what: str, answer: httpx.Response, *, write: bool) -> DeliveryError:
        status, named = answer.status_code, f"{what}: {answer.status_code}: {self._said(answer)}"
        if status in (429, 503):
            return DeliveryUnavailable(named, retry_after=_retry_after(answer))
        if status in (401, 403):
            return DeliveryDenied(named)
        if status >= 500:
            return lost(what, str(status), write=write)
        if status < 400:
            where = host_of(answer.headers.get("location", ""))
            return DeliveryDenied(
                f"{what}: {status}, the operator has moved to {where} or wants a login there", for_all=True
            )
        return RosDomofonRefused(named, status=status)

    def _said(self, answer: httpx.Response) -> str:
        """What the operator says of an error: short, printable, without phones and our password."""
        try:
            body = json.loads(answer.content)
        except (ValueError, RecursionError):
            return "no JSON"
        if not isinstance(body, dict):
            return ""
        texts = (body.get(n) for n in ("error", "message", "error_description"))
        text = " ".join("".join(c if c.isprintable() else " " for c in t[:200]) for t in texts if isinstance(t, str))
        for secret in (self._settings.password.get_secret_value(), self._token and self._token.get_secret_value()):
            text = text.replace(secret, "***") if secret and len(secret) > 3 else text
        return _PHONES.sub(lambda found: mask(found[0]), text)


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except DeliveryError as error:
        logger.error("rosdomofon: {}", error)
        raise


def lost(what: str, problem: str, *, write: bool) -> DeliveryError:
    """No usable answer: a read can be repeated, a write may have been done."""
    if write:
        return OutcomeUnknown(f"{what}: no answer ({problem}), it may have been done")
    return DeliveryUnavailable(f"{what}: no answer ({problem})")


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _retry_after(answer: httpx.Response) -> float | None:
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() and len(said) < 6 else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
