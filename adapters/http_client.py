"""An outside system over HTTP: the parts of a client that are the same for all of them.

https is required beyond this machine, answers are read up to a limit, redirects are not followed (they would carry the
credentials along), and each failure becomes one of the delivery errors of `schemas.errors`. Secrets are in no log,
error text or traceback. A small REST service needs its settings, its paths and models, and `HttpClient.request`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, ClassVar, Final, NamedTuple, Protocol, Self

import httpx
from pydantic import SecretStr

from adapters.loopback import is_loopback
from schemas.errors import (
    BrokenSetup,
    DeliveryDenied,
    DeliveryError,
    DeliveryRefused,
    DeliveryUnavailable,
    OutcomeUnknown,
    host_of,
)
from streams.resilience import MOST_RETRY_AFTER_S

CONNECT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
MAX_QUOTED: Final = 200
"""Characters of a text of the outside system that an error message repeats."""
_CONNECTIONS: Final = httpx.Limits(max_connections=100, max_keepalive_connections=50)
_NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_URL: Final = re.compile(r"(https?://[^/\s?#]+)[^\s\"]*")
_ERROR_FIELDS: Final = ("error", "message", "error_description", "detail")


class Limiter(Protocol):
    """The pace of a client, as `adapters.rate_limit.Pace` implements it."""

    async def turn(self) -> None:
        """Wait until a request may go."""

    def refused(self) -> None:
        """Slow down: a request was refused for the rate."""


class HttpAnswer(NamedTuple):
    """An answer of any status, read whole."""

    status: int
    headers: httpx.Headers
    content: bytes

    @property
    def ok(self) -> bool:
        """Return whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """Seconds that the Retry-After header asks for, at most `MOST_RETRY_AFTER_S`; None without a usable header."""
        said = self.headers.get("retry-after", "").strip()
        if said.isascii() and said.isdecimal():
            return min(float(said[:10]), MOST_RETRY_AFTER_S)
        if (until := _epoch(said)) is None:
            return None
        now = _epoch(self.headers.get("date", ""))  # the sender's clock may differ from ours
        return min(max(0.0, until - (time.time() if now is None else now)), MOST_RETRY_AFTER_S)

    def json(self) -> Any:
        """Return the document of the body; None if the body is not JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None


class NoAnswer(Exception):
    """No usable answer came. ``sent``: the request may have arrived."""

    def __init__(self, problem: str, *, sent: bool) -> None:
        self.problem, self.sent = problem, sent
        super().__init__(problem)


class HttpRefused(DeliveryRefused):
    """The outside system refuses this request for its data (4xx)."""

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)

    @property
    def not_found(self) -> bool:
        """Return whether the resource that the request names does not exist."""
        return self.status == 404


class HttpClient:
    """``async with HttpClient(settings.url, "the gym", setting="KOUNTER_GYM__URL", timeout_s=30) as gym: …``.

    ``name`` stands in error texts, ``setting`` is the one that a person must fix. ``headers`` go with each request.
    ``plain``: hosts that may be called without https. Raises BrokenSetup if the address can't be used; its text does
    not hold the address.
    """

    refused: ClassVar[type[HttpRefused]] = HttpRefused
    """Error class for a 4xx."""

    def __init__(
        self,
        base_url: str,
        name: str,
        *,
        setting: str,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
        secrets: tuple[SecretStr, ...] = (),
        limiter: Limiter | None = None,
        plain: Callable[[str], bool] = is_loopback,
    ) -> None:
        url = _checked(base_url, setting, plain)
        self.name, self.host, self.secrets = name, url.host, secrets
        self._limiter = limiter
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            limits=_CONNECTIONS,
            trust_env=not plain(url.host),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def request(self, method: str, path: str, *, write: bool, **more: Any) -> HttpAnswer:
        """Return the answer of a success (2xx). ``more``: ``params``, ``json``, ``data`` or ``headers`` of httpx.

        Raises DeliveryUnavailable, DeliveryDenied, HttpRefused, and for a ``write`` OutcomeUnknown.
        """
        what = f"{method} {path}"
        answer = await self.send(what, method, path, write=write, **more)
        if not answer.ok:
            raise self.failure(what, answer, write=write)
        return answer

    async def send(self, what: str, method: str, path: str, *, write: bool, **more: Any) -> HttpAnswer:
        """Return an answer of any status. ``what`` names the call in errors.

        Raises DeliveryUnavailable, and OutcomeUnknown for a ``write`` that may have been done.
        """
        try:
            return await self.exchange(method, path, **more)
        except NoAnswer as error:
            failed = error
        if failed.sent:
            raise lost(what, failed.problem, write=write)
        raise DeliveryUnavailable(f"{what}: {self.name} can't be reached ({failed.problem})")

    async def exchange(self, method: str, path: str, **more: Any) -> HttpAnswer:
        """Return an answer of any status. Raises NoAnswer."""
        if self._limiter is not None:
            await self._limiter.turn()
        try:
            async with self._http.stream(method, path, **more) as answer:
                content = bytearray()
                async for part in answer.aiter_bytes():
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        raise NoAnswer("the answer is too large", sent=True)
        except _NEVER_LEFT as error:
            raise NoAnswer(type(error).__name__, sent=False) from None  # its request holds the secrets
        except httpx.HTTPError as error:
            raise NoAnswer(type(error).__name__, sent=True) from None
        if answer.status_code == 429 and self._limiter is not None:
            self._limiter.refused()
        return HttpAnswer(answer.status_code, answer.headers, bytes(content))

    def failure(self, what: str, answer: HttpAnswer, *, write: bool) -> DeliveryError:
        """Return the error that an answer which is no success means."""
        status, named = answer.status, f"{what}: {answer.status}: {self.said(answer)}"
        if status in (429, 503):
            return DeliveryUnavailable(named, retry_after=answer.retry_after)
        if status in (401, 403):
            return DeliveryDenied(named)
        if status >= 500:
            return lost(what, str(status), write=write)
        if status < 400:
            where = host_of(answer.headers.get("location", ""))
            return DeliveryDenied(
                f"{what}: {status}, {self.name} has moved to {where} or wants a login there", for_all=True
            )
        return self.refused(named, status=status)

    def said(self, answer: HttpAnswer) -> str:
        """Return the error text of an answer: short, printable, without secrets."""
        body = answer.json()
        if not isinstance(body, dict):
            return "no JSON" if body is None else ""
        texts = (body.get(name) for name in _ERROR_FIELDS)
        return " ".join(self.clean(text) for text in texts if isinstance(text, str))

    def clean(self, text: str) -> str:
        """Return a text of the outside system as a message may quote it."""
        for secret in self.secrets:
            if len(hidden := secret.get_secret_value()) > 3:
                text = text.replace(hidden, "***")
        return "".join(c if c.isprintable() else " " for c in text[:MAX_QUOTED])


def lost(what: str, problem: str, *, write: bool) -> DeliveryError:
    """Return the error for a call without a usable answer: a read can be repeated, a write may have been done."""
    if write:
        return OutcomeUnknown(f"{what}: no answer ({problem}), it may have been done")
    return DeliveryUnavailable(f"{what}: no answer ({problem})")


def _checked(base_url: str, setting: str, plain: Callable[[str], bool]) -> httpx.URL:
    try:
        url = httpx.URL(base_url.strip().rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query or url.fragment:
        raise BrokenSetup(f"{setting} is not the address of a service", hint="Write it as https://<host>")
    if url.scheme != "https" and not plain(url.host):
        raise BrokenSetup(
            f"{setting} is not https: its secrets would be open to read on the way",
            hint="Use https; plain http is for a twin on this machine.",
        )
    return url


def _epoch(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


class _HostOnly(logging.Filter):
    """Reduces each address that httpx logs to its host: paths and queries may hold secrets and phones."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the addresses of a record, which is always logged."""
        record.msg, record.args = _URL.sub(r"\1/…", record.getMessage()), None
        return True


logging.getLogger("httpx").addFilter(_HostOnly())
