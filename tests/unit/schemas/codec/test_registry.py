"""The registry's client: which of its answers are about a record, which about a setting, and which only mean: wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from schemas.codec.registry import MAX_ANSWER_BYTES, SchemaRegistry
from schemas.codec.settings import RegistrySettings
from schemas.errors import BrokenSetup, IncompatibleSchema, KounterError, RegistryUnavailable, UndecodableRecord

SCHEMA = {"type": "record", "name": "R", "fields": []}
Answer = Callable[[httpx.Request], httpx.Response]


def registry(answer: Answer, **settings: Any) -> SchemaRegistry:
    """A client whose requests ``answer`` answers."""
    made = SchemaRegistry(RegistrySettings(url="http://registry.example/apis", **settings))
    made._http._transport = httpx.MockTransport(answer)
    return made


def saying(status: int, body: Any) -> Answer:
    return lambda request: httpx.Response(
        status, content=body if isinstance(body, bytes) else json.dumps(body).encode()
    )


def failing(error: type[httpx.HTTPError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("no", request=request)  # type: ignore[call-arg]

    return answer


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (saying(404, {"error_code": 40403, "message": "no"}), UndecodableRecord),
        (saying(404, b"<html>not here</html>"), RegistryUnavailable),
        (saying(404, {"message": "a proxy"}), RegistryUnavailable),
        (saying(404, {"error_code": 40401, "message": "odd"}), BrokenSetup),
        (saying(500, {"error_code": 50001, "message": "store"}), RegistryUnavailable),
        (saying(503, b""), RegistryUnavailable),
        (saying(429, b""), RegistryUnavailable),
        (saying(401, b""), BrokenSetup),
        (saying(403, b""), BrokenSetup),
        (saying(302, b""), RegistryUnavailable),
        (saying(200, b"<html>log in</html>"), RegistryUnavailable),
        (saying(200, {}), RegistryUnavailable),
        (saying(200, {"schema": "{"}), RegistryUnavailable),
        (saying(200, {"schema": "syntax", "schemaType": "PROTOBUF"}), UndecodableRecord),
        (saying(200, {"schema": "[" * 100_000}), UndecodableRecord),
        (saying(200, b"[" * 100_000), RegistryUnavailable),
        (saying(200, b"x" * (MAX_ANSWER_BYTES + 1)), RegistryUnavailable),
        (failing(httpx.ConnectError), RegistryUnavailable),
        (failing(httpx.ReadTimeout), RegistryUnavailable),
        (failing(httpx.RemoteProtocolError), RegistryUnavailable),
    ],
)
async def test_each_answer_is_whose_fault_it_is(answer: Answer, error: type[KounterError]) -> None:
    async with registry(answer) as client:
        with pytest.raises(error):
            await client.schema(7)


async def test_a_number_that_no_registry_gives_is_not_asked_for() -> None:
    """Confluent's takes the question for a wrong path: a broken setup, it seemed, and the record ended its lane."""
    async with registry(saying(404, {"error_code": 404, "message": "HTTP 404 Not Found"})) as client:
        with pytest.raises(UndecodableRecord, match="4294967295"):
            await client.schema(2**32 - 1)
        with pytest.raises(BrokenSetup):
            await client.schema(2**31 - 1)


def apicurio(request: httpx.Request) -> httpx.Response:
    """Of version 3: its Confluent API stands under a path, all else is a page."""
    if request.url.path == "/apis/ccompat/v7/subjects":
        return httpx.Response(200, json=["a"])
    return httpx.Response(404, text="<html>Resource not found</html>")


@pytest.mark.parametrize(
    "url",
    ["http://me:pa55@host:8081", "http://host:8081/", "http://host:8081/apis/ccompat", "http://host:8081/subjects"],
)
async def test_an_address_without_its_path_is_told_with_the_right_one(url: str) -> None:
    """Workers were started again and again, and nothing on the screen said why."""
    for ask in (lambda c: c.schema(7), lambda c: c.set_compatibility("s"), lambda c: c.versions("s")):
        async with SchemaRegistry(RegistrySettings(url=url)) as client:
            client._http._transport = httpx.MockTransport(apicurio)
            with pytest.raises(BrokenSetup, match="no schema registry") as error:
                await ask(client)
        assert "http://host:8081/apis/ccompat/v7:" in error.value.hint
        assert "pa55" not in error.value.message + error.value.hint


async def test_where_no_path_has_a_registry_the_setting_is_named() -> None:
    async with registry(saying(404, b"<html>")) as client:
        with pytest.raises(RegistryUnavailable, match=r"http://registry\.example/apis \(404\)") as error:
            await client.versions("s")
    assert "KOUNTER_REGISTRY__URL" in error.value.hint
    assert "/apis/ccompat/v7" in error.value.hint


@pytest.mark.parametrize(
    "url", ["host:8081", "localhost:8081", "ftp://host", "http://a:1,http://b:2", "http://", "/x", "http://h:x"]
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValidationError, match="address"):
        RegistrySettings(url=url)


async def test_a_schema_is_asked_for_once_and_kept() -> None:
    asked: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        await asyncio.sleep(0)
        return httpx.Response(200, json={"schema": json.dumps(SCHEMA)})

    async with registry(answer) as client:  # type: ignore[arg-type]
        assert await asyncio.gather(*(client.schema(7) for _ in range(5))) == [SCHEMA] * 5
        assert await client.schema(7) == SCHEMA
    assert asked == ["/apis/schemas/ids/7"]


async def test_no_failure_is_kept() -> None:
    answers = [saying(503, b""), saying(404, {"error_code": 40403}), saying(200, {"schema": json.dumps(SCHEMA)})]
    async with registry(lambda request: answers.pop(0)(request)) as client:
        with pytest.raises(RegistryUnavailable):
            await client.schema(7)
        with pytest.raises(UndecodableRecord):
            await client.schema(7)
        assert await client.schema(7) == SCHEMA


async def test_who_gives_up_waiting_takes_nothing_from_the_others() -> None:
    go = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        await go.wait()
        return httpx.Response(200, json={"schema": json.dumps(SCHEMA)})

    async with registry(answer) as client:  # type: ignore[arg-type]
        one, other = asyncio.create_task(client.schema(7)), asyncio.create_task(client.schema(7))
        await asyncio.sleep(0)
        one.cancel()
        go.set()
        assert await other == SCHEMA


async def test_a_refused_schema_says_why() -> None:
    async with registry(saying(409, {"error_code": 409, "message": "b at /fields/1"})) as client:
        with pytest.raises(IncompatibleSchema, match="b at /fields/1"):
            await client.register("s", SCHEMA)
    async with registry(saying(422, {"error_code": 42201, "message": "no Avro"})) as client:
        with pytest.raises(BrokenSetup, match="no Avro"):
            await client.register("s", SCHEMA)


async def test_subjects_are_one_segment_of_the_path() -> None:
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path)
        return httpx.Response(200, json={"id": 3})

    async with registry(answer) as client:
        assert await client.lookup("a/../b?c#d", SCHEMA) == 3
    assert seen == [b"/apis/subjects/a%2F..%2Fb%3Fc%23d"]


async def test_the_password_goes_only_into_the_request() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"])
        return httpx.Response(401)

    settings = {"username": "u", "password": SecretStr("open-sesame")}
    async with registry(answer, **settings) as client:
        with pytest.raises(BrokenSetup) as caught:
            await client.schema(7)
    assert seen[0].startswith("Basic ")
    assert "open-sesame" not in f"{caught.value.as_dict()}{RegistrySettings(**settings)!r}"


def test_no_address_is_a_broken_setup() -> None:
    with pytest.raises(BrokenSetup, match="No schema registry"):
        SchemaRegistry(RegistrySettings())


async def test_two_who_set_a_subject_up_at_once_do_not_hurt_each_other() -> None:
    """Apicurio answers 409 to the one who comes second: two workers' first start met it."""
    answers = [httpx.Response(409, json={"error_code": 409, "message": "A rule named 'COMPATIBILITY' already exists."})]

    def answer(request: httpx.Request) -> httpx.Response:
        return answers.pop() if answers else httpx.Response(200, json={"compatibility": "FULL_TRANSITIVE"})

    async with registry(answer) as client:
        await client.set_compatibility("estate.lead-kounter.estate.Lead")
    assert answers == []


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        ("versions", {}),
        ("versions", {"versions": [1]}),
        ("versions", "1"),
        ("versions", 0),
        ("versions", ["1"]),
        ("lookup", []),
        ("lookup", {"schema": "{}"}),
        ("lookup", {"id": None}),
        ("register", []),
        ("register", {"id": "1"}),
        ("compatible", []),
        ("compatible", {}),
        ("compatible", {"is_compatible": "yes"}),
        ("schema", ["AVRO"]),
    ],
)
async def test_an_answer_of_another_shape_is_not_read_as_none(ask: str, answer: Any) -> None:
    """An empty map is no subject without versions: whoever took it for one would register history anew."""
    arguments = {"versions": ("s",), "schema": (1,)}.get(ask, ("s", SCHEMA))
    async with registry(saying(200, answer)) as asked:
        with pytest.raises(RegistryUnavailable, match="can't be read"):
            await getattr(asked, ask)(*arguments)


async def test_a_redirect_is_not_followed_and_named_without_its_path() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(307, headers={"location": "http://u:secret@elsewhere.example:81/apis?token=secret"})

    async with registry(answer, username="u", password=SecretStr("p")) as registering:
        with pytest.raises(RegistryUnavailable, match=r"http://elsewhere\.example:81") as refused:
            await registering.versions("s")
    assert len(asked) == 1
    assert "secret" not in f"{refused.value}{refused.value.hint}"
    assert "KOUNTER_REGISTRY__URL" in refused.value.hint
