"""Feed files over HTTP: the client against the twin and against hostile servers; nothing is applied of a bad file."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from adapters.feeds.check import check
from adapters.feeds.comparison import Known
from adapters.feeds.download import Fetched, Limits, Validators, fetched, shown
from adapters.feeds.errors import BrokenFeed, FeedUnavailable
from adapters.feeds.guard import Counts, Reason
from adapters.feeds.parse.content import Content
from adapters.feeds.plan import make_plan
from adapters.feeds.settings import FeedFile
from adapters.feeds.twin.faults import Fault
from adapters.feeds.twin.server import FeedsTwin
from adapters.twin_kit.server import serving
from schemas.errors import BrokenSetup
from schemas.estate import Building, City, Premise, Project, Section

NO_CONDITION = Validators()
QUICK = Limits(bytes=1 << 20, total_s=5.0, read_s=0.3, slow_s=0.5, slow_bytes_per_s=1_000.0)


@pytest.fixture
async def twin() -> AsyncIterator[FeedsTwin]:
    async with FeedsTwin() as running:
        yield running


def feed(url: str, **more: Any) -> FeedFile:
    return FeedFile(name="x", url=url, **more)  # type: ignore[arg-type]


async def rows(url: str, **more: Any) -> dict[type, list[Any]]:
    found: dict[type, list[Any]] = {}
    async with fetched(url) as file:
        assert file is not None
        with make_plan(file.content, feed(url, **more), Known()) as plan:
            for difference in plan.differences(1):
                found.setdefault(type(difference.row), []).append(difference.row)
    return found


@pytest.mark.parametrize("name", ["yandex", "cian", "mixed", "avito"])
async def test_each_format_of_the_twin_is_read_as_it_is_meant(twin: FeedsTwin, name: str) -> None:
    found = await rows(twin.url(name))
    flats = {flat.id: flat for flat in twin.developer.flats}
    premises = {premise.ext_id: premise for premise in found[Premise]}
    assert premises.keys() == flats.keys()
    for key, premise in premises.items():
        flat = flats[key]
        said = (float(premise.price), premise.size, premise.floor, premise.rooms)
        assert said == (flat.price, flat.size, flat.floor, flat.rooms)
    assert [len(found[kind]) for kind in (City, Project, Building)] == [1, 3, 9]
    assert len(found.get(Section, [])) == (0 if name == "avito" else 18)
    assert {premise.building_ext_id for premise in found[Premise]} == {row.ext_id for row in found[Building]}


async def test_lists_of_objects_are_read_page_by_page(twin: FeedsTwin) -> None:
    kinds = {"cities": City, "projects": Project, "buildings": Building, "sections": Section, "premises": Premise}
    found = {name: (await rows(twin.url(name)))[kind] for name, kind in kinds.items()}
    assert [len(found[name]) for name in kinds] == [1, 3, 9, 18, 300]
    assert {row.building_ext_id for row in found["premises"]} == {row.ext_id for row in found["buildings"]}
    assert twin.app.control.bodies == 4 + 3


async def validators(url: str, before: Validators = NO_CONDITION) -> Validators | None:
    async with fetched(url, before) as file:
        return None if file is None else file.validators


async def test_a_file_that_has_not_changed_is_not_sent(twin: FeedsTwin) -> None:
    first = await validators(twin.url("yandex"))
    assert first is not None
    assert await validators(twin.url("yandex"), first) is None
    assert (twin.app.control.requests, twin.app.control.bodies) == (2, 1)
    twin.developer.tick()
    assert await validators(twin.url("yandex"), first) not in (None, first)
    assert await validators(twin.url("premises")) == Validators()  # they would be of the first page only


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("pantry", BrokenFeed, "HTML page"),
        ("down", FeedUnavailable, "the server answers 503"),
        ("none", FeedUnavailable, "the server answers 404"),
        ("slow", FeedUnavailable, "bytes in 1 s|over 2 s"),
    ],
)
async def test_a_feed_that_is_never_right_says_why(twin: FeedsTwin, name: str, error: Any, said: str) -> None:
    limits = QUICK._replace(read_s=3.0, total_s=2.0)
    with pytest.raises(error, match=said):
        await check(feed(twin.url(name)), None, limits)


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("truncated", BrokenFeed, "well-formed XML"),
        ("circle", FeedUnavailable, "over 5 redirects"),
        ("cut_after", FeedUnavailable, "RemoteProtocolError"),
        ("hang_before", FeedUnavailable, "ReadTimeout"),
        ("not_json", BrokenFeed, "HTML page"),
        ("bad_gateway", FeedUnavailable, "502"),
    ],
)
async def test_faults_on_the_way(twin: FeedsTwin, kind: str, error: Any, said: str) -> None:
    twin.faults.plan(Fault(kind=kind, seconds=5.0))
    with pytest.raises(error, match=said):
        await check(feed(twin.url("yandex")), None, QUICK)
    twin.faults.plan()
    assert (await check(feed(twin.url("yandex")), None, QUICK)).counts.new == 300


async def test_a_feed_that_falls_to_nothing_now_and_then(twin: FeedsTwin) -> None:
    assert (await check(feed(twin.url("falling")), None)).doubts == []
    for _ in range(4):
        twin.developer.tick()
    assert [doubt.reason for doubt in (await check(feed(twin.url("falling")), None)).doubts] == [Reason.EMPTY]


Serve = Callable[[Request], Awaitable[Response]]
BODY = b"<feed><object><ExternalId>1</ExternalId><Category>flatSale</Category></object></feed>"
SPARSE = b"<object><a>" + b" " * 100_000 + b"</a></object>"


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    async with serving(Starlette(routes=[Route("/{path:path}", serve)]), "127.0.0.1", 0) as port:
        yield f"http://127.0.0.1:{port}"


async def counts(url: str, limits: Limits = QUICK) -> Counts:
    return (await check(feed(url), None, limits)).counts


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (gzip.compress(BODY, mtime=0), {"Content-Encoding": "gzip"}),
        (gzip.compress(BODY, mtime=0), {"Content-Type": "application/gzip"}),
        (gzip.compress(gzip.compress(BODY, mtime=0)), {"Content-Encoding": "gzip"}),
    ],
)
async def test_gzip_is_seen_by_content(body: bytes, headers: dict[str, str]) -> None:
    async def serve(request: Request) -> Response:
        return Response(body, headers=headers)

    async with server(serve) as url:
        assert (await counts(url)).new == 1


@pytest.mark.parametrize(
    ("headers", "body", "error", "said"),
    [
        ({"Content-Encoding": "br"}, BODY, BrokenFeed, "gzip or none"),
        (
            {},
            gzip.compress(b"<feed>" + (b"<object><a>" + b" " * 100_000 + b"</a></object>") * 300),
            BrokenFeed,
            "ratio",
        ),
        ({}, bytes(2 << 20), BrokenFeed, "at most 1048576 bytes"),
        ({}, b"", BrokenFeed, "an empty file"),
    ],
)
async def test_bodies_that_are_refused(headers: dict[str, str], body: bytes, error: Any, said: str) -> None:
    async def serve(request: Request) -> Response:
        return Response(body, headers=headers)

    async with server(serve) as url:
        with pytest.raises(error, match=said):
            await counts(url)


async def test_a_server_that_drips_is_left() -> None:
    async def drip() -> AsyncIterator[bytes]:
        for _ in range(1_000):
            yield b" "
            await asyncio.sleep(0.05)

    async def serve(request: Request) -> Response:
        return StreamingResponse(drip())

    async with server(serve) as url:
        with pytest.raises(FeedUnavailable, match="bytes in"):
            await counts(url)


@pytest.mark.parametrize(
    "location",
    ["https://feed.example/", "http://feed.example/", "ftp://127.0.0.1/x", "file:///etc/hostname", "http://[", "//"],
)
async def test_a_redirect_to_another_scheme_or_from_this_machine_is_not_followed(location: str) -> None:
    async def serve(request: Request) -> Response:
        return Response(status_code=302, headers={"Location": location})

    async with server(serve) as url:
        with pytest.raises(FeedUnavailable):
            await counts(url)


async def test_no_secret_follows_a_redirect_to_another_server() -> None:
    came: list[tuple[str, str]] = []

    async def there(request: Request) -> Response:
        came.append((str(request.url), str(dict(request.headers))))
        return Response(BODY)

    async with server(there) as target:

        async def here(request: Request) -> Response:
            assert request.headers["authorization"].startswith("Basic ")
            return RedirectResponse(f"{target}/moved.xml", 301)

        async with server(here) as url:
            assert (await counts(url.replace("http://", "http://user:password@") + "/?key=secret")).new == 1
    ((address, headers),) = came
    assert address == f"{target}/moved.xml"
    assert not any(word in headers for word in ("secret", "authorization", "Basic", "referer"))


async def test_pages_of_a_list_stay_on_their_scheme_and_end() -> None:
    async def serve(request: Request) -> Response:
        return Response(b'{"type": "city", "data": [], "next": "ftp://feed.example/x"}')

    async with server(serve) as url:
        with pytest.raises(FeedUnavailable, match="ftp"):
            await counts(url)


@pytest.mark.parametrize("address", ["http://feed.example/x.xml", "https://", "http://[::1"])
async def test_an_address_that_may_not_be_used(address: str) -> None:
    with pytest.raises(BrokenSetup):
        await counts(address)


async def test_a_proxy_that_can_not_be_used_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://user:password@proxy.example")
    with pytest.raises(BrokenSetup, match="proxy") as error:
        await counts("https://feed.example/x.xml")
    assert "password" not in str(error.value)


def test_an_address_is_shown_without_user_and_query() -> None:
    assert shown("https://user:pw@feed.example:8443/feed/x/?key=1") == "https://feed.example:8443/feed/x/"
    assert shown("/data/x.xml") == "/data/x.xml"


async def of_path(path: Path, before: Validators = NO_CONDITION) -> Fetched | None:
    async with fetched(str(path), before) as file:
        return file


async def test_a_file_on_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "feed.xml.gz"
    path.write_bytes(gzip.compress(BODY, mtime=0))
    assert (await counts(str(path))).new == 1
    assert (await counts(path.as_uri())).new == 1
    first = await of_path(path)
    assert first is not None
    assert await of_path(path, first.validators) is None
    path.write_bytes(gzip.compress(BODY + b" ", mtime=0))
    assert await of_path(path, first.validators) is not None
    for wrong in (tmp_path / "none.xml", tmp_path):
        with pytest.raises(FeedUnavailable, match="can't be read"):
            await counts(str(wrong))


def test_content_is_read_from_any_place() -> None:
    content = Content(io.BytesIO(BODY))
    first = content.pieces()
    assert next(first) == BODY
    assert not content.is_json()
    assert b"".join(content.pages()) == BODY


async def test_a_list_that_is_too_large_is_not_read_into_memory() -> None:
    async def serve(request: Request) -> Response:
        return Response(b'{"type": "city", "data": [' + b" " * (9 << 20) + b"]}")

    async with server(serve) as url:
        with pytest.raises(BrokenFeed, match="page"):
            await counts(url, QUICK._replace(bytes=64 << 20))
