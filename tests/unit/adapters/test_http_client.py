"""The outside-HTTP client by a small service of its own: what each answer means, and what no message shows."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

import adapters.http_client as module
from adapters.http_client import HttpClient, HttpRefused
from adapters.loopback import is_local
from adapters.rate_limit import Pace
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryError, DeliveryUnavailable, OutcomeUnknown
from streams.resilience import MOST_RETRY_AFTER_S

TOKEN = "t0p-secret-token"


class Gym(HttpClient):
    """All that a small REST service needs."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], **more: Any) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        super().__init__(
            "https://gym.example/api", "the gym", setting="KOUNTER_GYM__URL", timeout_s=5.0, headers=headers,
            secrets=(SecretStr(TOKEN),), **more,
        )  # fmt: skip
        self._http._transport = httpx.MockTransport(answer)

    async def visits(self) -> Any:
        return (await self.request("GET", "/visits", write=False)).json()

    async def visit(self, person: int) -> Any:
        return (await self.request("POST", "/visits", json={"person": person}, write=True)).json()


def always(status: int, **more: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(status, **more)


async def failure(gym: Gym, *, write: bool) -> DeliveryError:
    async with gym:
        with pytest.raises(DeliveryError) as failed:
            await (gym.visit(1) if write else gym.visits())
    assert TOKEN not in "".join(traceback.format_exception(failed.value))
    return failed.value


async def test_a_success_goes_with_the_credentials() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        return httpx.Response(200, json=[request.url.path])

    async with Gym(answer) as gym:
        assert await gym.visits() == ["/api/visits"]


@pytest.mark.parametrize(
    ("status", "read", "written"),
    [
        (302, DeliveryDenied, DeliveryDenied),
        (400, HttpRefused, HttpRefused),
        (401, DeliveryDenied, DeliveryDenied),
        (403, DeliveryDenied, DeliveryDenied),
        (404, HttpRefused, HttpRefused),
        (429, DeliveryUnavailable, DeliveryUnavailable),
        (500, DeliveryUnavailable, OutcomeUnknown),
        (503, DeliveryUnavailable, DeliveryUnavailable),
    ],
)
async def test_a_status_has_one_meaning(status: int, read: type[DeliveryError], written: type[DeliveryError]) -> None:
    assert type(await failure(Gym(always(status)), write=False)) is read
    assert type(await failure(Gym(always(status)), write=True)) is written


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_a_request_that_never_left_was_not_done(error: type[httpx.HTTPError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("at the gym")

    failed = await failure(Gym(answer), write=True)
    assert type(failed) is DeliveryUnavailable
    assert failed.message == f"POST /visits: the gym can't be reached ({error.__name__})"


@pytest.mark.parametrize("error", [httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_a_write_without_an_answer_may_have_been_done(error: type[httpx.HTTPError]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("at the gym")

    assert type(await failure(Gym(answer), write=True)) is OutcomeUnknown
    assert type(await failure(Gym(answer), write=False)) is DeliveryUnavailable


async def test_an_answer_is_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1_000)
    assert "too large" in (await failure(Gym(always(200, content=b"x" * 1_001)), write=False)).message


async def test_a_redirect_is_not_followed_and_its_path_is_not_shown() -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        return httpx.Response(307, headers={"location": "https://elsewhere.example/?token=abc"})

    failed = await failure(Gym(answer), write=True)
    assert asked == ["gym.example"]
    assert "https://elsewhere.example" in failed.message
    assert "abc" not in failed.message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "9" * 5_000}, MOST_RETRY_AFTER_S),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, 0.0),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}, MOST_RETRY_AFTER_S),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:30 GMT"}, None),
    ],
)
async def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    assert (await failure(Gym(always(429, headers=headers)), write=False)).retry_after == seconds


async def test_an_error_text_is_short_printable_and_without_secrets() -> None:
    body = {"error": f"bad\n{TOKEN}", "message": "x" * 190 + TOKEN, "other": "y"}
    text = (await failure(Gym(always(400, json=body)), write=False)).message
    assert text == f"GET /visits: 400: bad *** {'x' * 190}***"
    assert (await failure(Gym(always(400, content=b"<html>")), write=False)).message == "GET /visits: 400: no JSON"


async def test_the_log_of_httpx_shows_hosts_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "httpx")
    async with Gym(always(200, json=[])) as gym:
        await gym.request("GET", f"/visits/{TOKEN}", params={"phone": "79131234567"}, write=False)
    assert "https://gym.example" in caplog.text
    assert TOKEN not in caplog.text
    assert "79131234567" not in caplog.text


async def test_the_pace_is_kept_and_a_429_slows_it_down() -> None:
    now, answers = 100.0, iter([200, 429, 200])

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(2.0, 10, lambda: now, sleep)
    async with Gym(lambda request: httpx.Response(next(answers), json=[]), limiter=pace) as gym:
        await gym.visits()
        with pytest.raises(DeliveryUnavailable):
            await gym.visits()
        assert now == 100.0
        await gym.visits()
    assert now == pytest.approx(101.0, abs=0.001)


@pytest.mark.parametrize(
    "url", ["", "gym.example", "ftp://gym.example", "https://a:b@gym.example", "https://gym.example/?k=1"]
)
def test_an_address_that_is_none_is_not_shown(url: str) -> None:
    with pytest.raises(BrokenSetup, match="KOUNTER_GYM__URL is not the address of a service"):
        HttpClient(url, "the gym", setting="KOUNTER_GYM__URL", timeout_s=1.0)


@pytest.mark.parametrize("url", ["http://gym.example", "http://10.0.0.1", "http://twin-gym:1"])
def test_plain_http_is_for_this_machine(url: str) -> None:
    with pytest.raises(BrokenSetup, match="KOUNTER_GYM__URL is not https"):
        HttpClient(url, "the gym", setting="KOUNTER_GYM__URL", timeout_s=1.0)
    HttpClient("http://[::1]:8080", "the gym", setting="KOUNTER_GYM__URL", timeout_s=1.0)
    HttpClient("http://twin-gym:1", "the gym", setting="KOUNTER_GYM__URL", timeout_s=1.0, plain=is_local)
