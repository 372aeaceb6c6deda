"""What the client of a system over HTTP does when the system, or what stands in its place, answers oddly."""

from __future__ import annotations

import json
import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, NamedTuple

import pytest
from loguru import logger

from adapters import http_client
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryError, DeliveryUnavailable, OutcomeUnknown
from tests.contract.suites.odd_server import OddServer, http


class Calls(NamedTuple):
    """Two calls of a client."""

    read: Callable[[], Awaitable[object]] | None
    """Returns a list; None for a system that is only written to."""
    write: Callable[[], Awaitable[object]]
    """Makes a thing."""

    def there(self) -> list[Callable[[], Awaitable[object]]]:
        """Returns the calls that the system has."""
        return [call for call in self if call is not None]

    def named(self, name: str) -> Callable[[], Awaitable[object]]:
        """Returns a call by its name; without it the test is skipped."""
        if (call := getattr(self, name)) is None:
            pytest.skip("the system is only written to")
        return call  # type: ignore[no-any-return]


class ClientSuite(ABC):
    """Subclasses give a client for an address, and what it must never show."""

    secrets: ClassVar[tuple[str, ...]]
    unreadable: ClassVar[tuple[bytes, ...]] = (b"", b"<html>", b"[", b"7", b"null", b'"text"', b'{"x": 1}')
    """Bodies that no call of the system is answered with."""

    @abstractmethod
    def client(self, url: str, timeout_s: float) -> AbstractAsyncContextManager[Calls]:
        """Opens a client whose settings hold `secrets`. ``url`` has a scheme and a host only."""

    def before(self, path: str) -> bytes | None:
        """Returns the body for a request that comes before the calls, as that for a token; None for any other path."""
        return None

    @pytest.fixture
    def shown(self, caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
        """Everything that is logged."""
        caplog.set_level(logging.DEBUG)
        lines: list[str] = []
        handler = logger.add(lambda line: lines.append(str(line)), level="TRACE", diagnose=True, backtrace=True)
        yield lines
        logger.remove(handler)

    def check_hidden(self, error: BaseException, lines: list[str], caplog: pytest.LogCaptureFixture) -> None:
        logger.opt(exception=error).error("failed: {}", error)
        records = [r.getMessage() for r in caplog.records if r.name.startswith(("httpx", "httpcore"))]
        texts = [str(error), repr(error), "".join(traceback.format_exception(error)), *lines, *records]
        assert not [text for text in texts for secret in self.secrets if secret in text]

    async def test_nobody_there_is_unavailable(self) -> None:
        async with OddServer(None).running() as gone:
            url = gone.url
        async with self.client(url, 5.0) as calls:
            for call in calls.there():
                with pytest.raises(DeliveryUnavailable, match="can't be reached"):
                    await call()

    @pytest.mark.parametrize("call", ["read", "write"])
    async def test_no_answer_is_waited_for_until_the_timeout(self, call: str) -> None:
        meaning = OutcomeUnknown if call == "write" else DeliveryUnavailable
        async with OddServer(None, self.before).running() as server, self.client(server.url, 0.3) as calls:
            with pytest.raises(meaning):
                await calls.named(call)()

    @pytest.mark.parametrize("call", ["read", "write"])
    async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
        self, call: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http_client, "MAX_ANSWER_BYTES", 10_000)
        answer = http("200 OK", json.dumps(["x" * 20_000]).encode())
        meaning = OutcomeUnknown if call == "write" else DeliveryUnavailable
        async with OddServer(answer, self.before).running() as server, self.client(server.url, 5.0) as calls:
            with pytest.raises(meaning, match="too large"):
                await calls.named(call)()

    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Elsewhere", "308 Elsewhere"])
    async def test_a_redirect_is_not_followed(self, status: str) -> None:
        """It would take the secrets along."""
        async with OddServer(http("200 OK", b"[]")).running() as other:
            answer = http(status, b"", f"location: {other.url}/")
            async with OddServer(answer, self.before).running() as server, self.client(server.url, 5.0) as calls:
                for call in calls.there():
                    with pytest.raises(DeliveryDenied):
                        await call()
            assert other.heads == []

    @pytest.mark.parametrize(
        "status", ["400 Bad", "401 No", "403 No", "404 Nowhere", "413 Large", "429 Slow", "500 Error", "503 Busy"]
    )
    async def test_a_secret_that_is_echoed_is_not_shown(
        self, status: str, shown: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        said = " ".join(self.secrets)
        answer = http(status, json.dumps({"error": said, "error_description": said, "message": said}).encode())
        async with OddServer(answer, self.before).running() as server, self.client(server.url, 5.0) as calls:
            for call in calls.there():
                with pytest.raises(DeliveryError) as failed:
                    await call()
                self.check_hidden(failed.value, shown, caplog)

    async def test_what_can_not_be_read_is_not_none(self) -> None:
        """A list that can't be read is no empty one, and a write with such an answer may have been done."""
        for body in self.unreadable:
            server = OddServer(http("200 OK", body), self.before)
            async with server.running(), self.client(server.url, 5.0) as calls:
                if calls.read is not None:
                    with pytest.raises(DeliveryUnavailable):
                        await calls.read()
                with pytest.raises(OutcomeUnknown):
                    await calls.write()

    @pytest.mark.parametrize("url", ["http://system.example", "http://10.0.0.1", "ftp://127.0.0.1"])
    async def test_beyond_this_machine_it_is_https(self, url: str) -> None:
        with pytest.raises(BrokenSetup) as broken:
            async with self.client(url, 5.0):
                pass
        shown = f"{broken.value.as_dict()}{''.join(traceback.format_exception(broken.value))}"
        assert not [secret for secret in self.secrets if secret in shown]
