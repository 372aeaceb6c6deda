"""Requests to the operator's REST, and the classes of their failures (docs/contracts/rosdomofon.md#rest-errors).

No log, error or traceback of this module contains the password or the token; phones in errors are masked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, TypeVar, cast

from loguru import logger
from pydantic import SecretStr, TypeAdapter, ValidationError

from adapters.http_client import HttpAnswer, HttpClient, HttpRefused, lost
from adapters.rosdomofon.rest.models import AuthResponse
from adapters.rosdomofon.rest.pages import Page
from adapters.rosdomofon.settings import RosDomofonSettings
from adapters.rosdomofon.wire import W, mask_phones, problems, validate_leniently
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryError

T = TypeVar("T")
OnUnreadable = Callable[[Any, str], None]
"""Called with a row that can't be read, and the reason."""
OAUTH: Final = "/authserver-service/oauth/token"
V1: Final = "/abonents-service/api/v1"
V2: Final = "/abonents-service/api/v2"
CLIENT_ID: Final = "machine"
PAGE: Final = 100
"""Items requested per page."""


class RosDomofonRefused(HttpRefused):
    """The operator refuses this request for its data (4xx)."""


class RosDomofonRest(HttpClient):
    """Sends requests with a token, which it gets at first use and renews once when the operator refuses it
    (docs/contracts/rosdomofon.md#authorization).

    Raises BrokenSetup for an invalid address, or settings without a username.
    """

    refused = RosDomofonRefused

    def __init__(self, settings: RosDomofonSettings) -> None:
        super().__init__(
            settings.base_url,
            "the operator",
            setting="the RosDomofon address (base_url)",
            timeout_s=settings.timeout_s,
            secrets=(settings.password,),
        )
        if not settings.username:
            raise BrokenSetup("RosDomofon has no username", hint="Set username and password as the operator gave them.")
        self._settings = settings
        self._token: SecretStr | None = None
        self._renewing = asyncio.Lock()

    def _form(self) -> dict[str, str]:
        return {
            "grant_type": "password",
            "client_id": CLIENT_ID,
            "username": self._settings.username,
            "password": self._settings.password.get_secret_value(),
        }

    async def authenticate(self) -> AuthResponse:
        """Get a new token for all later requests. Raises DeliveryDenied or DeliveryUnavailable."""
        what = "POST oauth/token"
        answer = await self.send(what, "POST", OAUTH, data=self._form(), write=False)
        if answer.status in (400, 401, 403):
            raise DeliveryDenied(f"{what}: {answer.status}: {self.said(answer)}", for_all=True)
        if answer.status != 200:
            raise self.failure(what, answer, write=False)
        got = self._read(what, answer, AuthResponse, write=False)
        self._token = got.access_token
        self.secrets = (self._settings.password, self._token)
        return got

    async def ask(self, kind: type[T], path: str, params: Mapping[str, str | int] | None = None) -> T:
        """Send a GET and return its answer. Raises RosDomofonRefused, DeliveryUnavailable or DeliveryDenied."""
        what = f"GET {path}"
        with _logged():
            answer = await self._authorized(what, "GET", path, params=params, write=False)
            return self._read(what, answer, kind, write=False)

    async def create(self, kind: type[T], path: str, body: Any) -> T:
        """Send a POST and return its answer. Raises as `ask`, and OutcomeUnknown if it may have been executed."""
        what = f"POST {path}"
        with _logged():
            answer = await self._authorized(what, "POST", path, json=body, write=True)
            return self._read(what, answer, kind, write=True)

    async def write(self, method: str, path: str, body: Any = None) -> None:
        """Send a write whose answer has no body. Raises as `create`."""
        with _logged():
            await self._authorized(f"{method} {path}", method, path, json=body, write=True)

    async def rows(self, kind: type[W], path: str, on_unreadable: OnUnreadable | None = None) -> list[W]:
        """Return the readable rows of a list that is not paged.

        ``on_unreadable`` is called for each other row. Raises as `ask`; without ``on_unreadable`` also
        DeliveryUnavailable if no row can be read.
        """
        return self._rows(kind, f"GET {path}", await self.ask(list[Any], path), on_unreadable)[0]

    async def pages(
        self,
        kind: type[W],
        path: str,
        params: Mapping[str, str | int],
        on_unreadable: OnUnreadable | None = None,
        *,
        whole: bool = False,
    ) -> AsyncIterator[W]:
        """Yield the readable items of all pages of a Spring list.

        ``on_unreadable``: as in `rows`. ``whole``: an unreadable item raises DeliveryUnavailable instead of being
        skipped. Each page raises as `ask`.
        """
        number = 0
        while True:
            page = await self.ask(Page[Any], path, {**params, "page": number, "size": PAGE})
            what = f"GET {path} page {number}"
            if number and page.number == 0:  # would never end
                raise lost(what, "the first page again", write=False)
            items, unreadable = self._rows(kind, what, page.content, on_unreadable)
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

    def _rows(
        self, kind: type[W], what: str, rows: list[Any], on_unreadable: OnUnreadable | None
    ) -> tuple[list[W], int]:
        """Return the readable rows, and the number of the others."""
        read: list[W] = []
        unreadable, problem = 0, ""
        for row in rows:
            try:
                read.append(validate_leniently(kind, row)[0])
            except ValidationError as error:
                problem = problems(error)
                unreadable += 1
                if on_unreadable is not None:
                    on_unreadable(row, problem)
        if unreadable and on_unreadable is None:
            logger.warning("rosdomofon {}: {} of {} rows can't be read: {}", what, unreadable, len(rows), problem)
            if not read:
                raise lost(what, f"an answer of another form: {problem}", write=False)
        return read, unreadable

    async def _authorized(self, what: str, method: str, path: str, *, write: bool, **more: Any) -> HttpAnswer:
        token = self._token or await self._renewed(None)
        answer = await self.send(what, method, path, headers=_bearer(token), write=write, **more)
        if answer.status == 401:
            logger.debug("rosdomofon {}: the token is refused, getting a new one", what)
            token = await self._renewed(token)
            answer = await self.send(what, method, path, headers=_bearer(token), write=write, **more)
        if not answer.ok:
            raise self.failure(what, answer, write=write)
        return answer

    async def _renewed(self, refused: SecretStr | None) -> SecretStr:
        """Return a token other than ``refused``; of many requests refused at once, only the first gets a new one."""
        async with self._renewing:
            if self._token is None or self._token is refused:
                await self.authenticate()
            assert self._token is not None
            return self._token

    def _read(self, what: str, answer: HttpAnswer, kind: type[T], *, write: bool) -> T:
        try:
            read: T = _adapter(cast(Any, kind)).validate_json(answer.content)
            return read
        except ValidationError as error:
            problem = problems(error)
        raise lost(what, f"an answer of another form: {problem}", write=write)

    def said(self, answer: HttpAnswer) -> str:
        """Return the operator's error text, phones masked."""
        return mask_phones(super().said(answer))


def _bearer(token: SecretStr) -> dict[str, str]:
    return {"Authorization": f"Bearer {token.get_secret_value()}"}


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except DeliveryError as error:
        logger.error("rosdomofon: {}", error)
        raise


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
