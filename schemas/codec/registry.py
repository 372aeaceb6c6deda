"""The schema registry's client: Confluent's REST API, as Apicurio and others speak it too. Source:
Confluent's "Schema Registry API Reference"."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx

from schemas.codec.settings import RegistrySettings
from schemas.errors import (
    BrokenSetup,
    IncompatibleSchema,
    KounterError,
    RegistryUnavailable,
    UndecodableRecord,
    host_of,
    shorten,
)

LEVEL: Final = "FULL_TRANSITIVE"
"""Compatibility level: topics are read again from the start by old and new readers, so both ways and with every
version."""
MAX_ANSWER_BYTES: Final = 4 << 20
MOST_ID: Final = 2**31 - 1
NO_SUBJECT, NO_VERSION, NO_SCHEMA = 40401, 40402, 40403
MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"


PATHS: Final = ("/apis/ccompat/v7", "/apis/ccompat/v6", "/api/ccompat", "")
"""Paths of the Confluent API: of Apicurio's versions, and of Confluent's own registry and its likes."""
WRONG_PATH: Final = (404, 405)


class SchemaRegistry:
    """Client of the registry. Schemas are kept by id for good, as an id never changes its meaning.

    Every method raises RegistryUnavailable where the registry can't answer now, BrokenSetup where a retry can't help.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        if not settings.url:
            raise BrokenSetup("No schema registry is named.", hint="Set KOUNTER_REGISTRY__URL, or start `kounter up`.")
        auth = (settings.username, settings.password.get_secret_value()) if settings.username else None
        self._http = httpx.AsyncClient(
            base_url=settings.url,
            auth=auth,
            timeout=settings.timeout_s,
            headers={"accept": f"{MEDIA_TYPE}, application/json", "content-type": MEDIA_TYPE},
            verify=ssl.create_default_context(cafile=str(settings.ca_file)) if settings.ca_file else True,
            follow_redirects=False,
            trust_env=False,  # the registry is beside Kafka: the environment's proxy does not apply
        )
        self._schemas: dict[int, Any] = {}
        self._asked: dict[int, asyncio.Task[Any]] = {}
        self._elsewhere: str | None = None
        """URL on the same server where a registry was found; empty: none was found; None: not searched yet."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def schema(self, id: int) -> Any:
        """Returns the Avro schema of an id; concurrent calls share one request. Raises UndecodableRecord if there is
        none."""
        if id > MOST_ID:
            raise UndecodableRecord("unknown_schema_id", f"no registry has a schema {id}")
        if id not in self._schemas:
            if id not in self._asked:
                self._asked[id] = asyncio.create_task(self._fetch(id))
                self._asked[id].add_done_callback(lambda task: self._answered(id, task))
            return await asyncio.shield(self._asked[id])
        return self._schemas[id]

    async def schema_now(self, id: int) -> Any:
        """Returns the schema of an id as the registry has it now, past the cache: the registry may have been
        replaced."""
        return await self._fetch(id)

    def _answered(self, id: int, task: asyncio.Task[Any]) -> None:
        del self._asked[id]
        if not task.cancelled() and task.exception() is None:
            self._schemas[id] = task.result()

    async def _fetch(self, id: int) -> Any:
        answer = await self._call("GET", f"/schemas/ids/{id}", allow=(NO_SCHEMA,))
        if answer is None:
            raise UndecodableRecord("unknown_schema_id", f"the registry has no schema {id}")
        kind = _shaped(answer, dict).get("schemaType", "AVRO")
        if kind != "AVRO":
            raise UndecodableRecord("not_avro", f"schema {id} is {shorten(kind)}, not Avro")
        return self._parse(answer)

    async def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Returns the id of ``schema`` in the subject, new or found. Raises IncompatibleSchema."""
        return _id(await self._call("POST", f"{_subject(subject)}/versions", _body(schema)))

    async def lookup(self, subject: str, schema: dict[str, Any]) -> int | None:
        """Returns the id of ``schema`` in the subject, None if it is not registered there."""
        answer = await self._call("POST", _subject(subject), _body(schema), allow=(NO_SUBJECT, NO_SCHEMA))
        return None if answer is None else _id(answer)

    async def subjects(self) -> list[str]:
        """Returns the names of all subjects."""
        return [str(name) for name in _shaped(await self._call("GET", "/subjects"), list)]

    async def versions(self, subject: str) -> dict[int, Any]:
        """Returns every version of a subject, oldest first: number -> schema. Empty for an unknown subject."""
        numbers = await self._call("GET", f"{_subject(subject)}/versions", allow=(NO_SUBJECT,))
        found: dict[int, Any] = {}
        for number in sorted(_shaped(n, int) for n in _shaped([] if numbers is None else numbers, list)):
            answer = await self._call("GET", f"{_subject(subject)}/versions/{number}", allow=(NO_VERSION,))
            if answer is not None:
                found[number] = self._parse(_shaped(answer, dict))
        return found

    async def compatible(self, subject: str, schema: dict[str, Any]) -> list[str]:
        """Returns the registry's objections to ``schema`` as a new version of the subject; empty if it has none."""
        path = f"/compatibility{_subject(subject)}/versions?verbose=true"
        answer = await self._call("POST", path, _body(schema), allow=(NO_SUBJECT, NO_VERSION))
        if answer is None or _shaped(_shaped(answer, dict).get("is_compatible"), bool):
            return []
        return [shorten(m, 300) for m in answer.get("messages") or []] or ["the registry calls it incompatible"]

    async def set_compatibility(self, subject: str, level: str = LEVEL) -> None:
        """Set the level by which the registry checks new versions of the subject. The subject need not exist yet."""
        path, body = f"/config/{quote(subject, safe='')}", {"compatibility": level}
        try:
            await self._call("PUT", path, body)
        except IncompatibleSchema:  # 409: another process set it in the same moment; now it can be set again
            await self._call("PUT", path, body)

    def _parse(self, answer: dict[str, Any]) -> Any:
        try:
            return json.loads(answer["schema"])
        except RecursionError:
            raise UndecodableRecord("unreadable_schema", "a schema of too many levels") from None
        except (KeyError, TypeError, ValueError):
            raise RegistryUnavailable("the schema registry answers without a schema.") from None

    async def _call(self, method: str, path: str, body: object = None, *, allow: tuple[int, ...] = ()) -> Any:
        """Returns the answer's JSON, or None where the error code is one of ``allow``."""
        content = None if body is None else json.dumps(body).encode()
        try:
            async with self._http.stream(method, path, content=content) as response:
                raw = await _read(response)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise RegistryUnavailable(f"the schema registry does not answer: {type(error).__name__}.") from None
        status = response.status_code
        if status >= 500 or status in (408, 429):
            raise RegistryUnavailable(f"the schema registry answers {status}.")
        if 300 <= status < 400:  # not followed: the password goes to no other host, port or scheme
            where, hint = (
                host_of(response.headers.get("location", "")),
                "If it has moved, name it in KOUNTER_REGISTRY__URL.",
            )
            raise RegistryUnavailable(f"the schema registry redirects ({status}) to {where}.", hint=hint)
        if status in (401, 403):
            hint = "Check KOUNTER_REGISTRY__USERNAME and KOUNTER_REGISTRY__PASSWORD, and the user's rights."
            raise BrokenSetup(f"The schema registry answers {status}.", hint=hint)
        try:
            answer = json.loads(raw)
            code = 0 if status < 300 else int(answer["error_code"])
        except (ValueError, KeyError, TypeError, RecursionError):
            # The answer is not the registry's own (a proxy's page, a wrong path), so it does not concern the schema.
            raise await self._stranger(status) from None
        if status in WRONG_PATH and code in (0, *WRONG_PATH):  # a subject or schema that is not there has other codes
            stranger = await self._stranger(status)
            raise BrokenSetup(stranger.message, hint=stranger.hint)
        if status < 300:
            return answer
        if code in allow:
            return None
        if status == 409:
            raise IncompatibleSchema(f"{path}: {shorten(answer.get('message'), 300)}")
        raise BrokenSetup(f"The schema registry refuses {method} {path}: {shorten(answer.get('message'), 300)}")

    async def _stranger(self, status: int) -> KounterError:
        """Returns the error for an answer that no registry gave, with the path of a registry on the same server, if
        any."""
        if self._elsewhere is None:
            self._elsewhere = await self._look_elsewhere()
        here = str(self._http.base_url.copy_with(userinfo=b"")).rstrip("/")
        said = f"what answers at {here} ({status}) is no schema registry"
        if self._elsewhere:
            hint = f"There is one at {self._elsewhere}: set KOUNTER_REGISTRY__URL to that."
            return BrokenSetup(said, hint=hint)
        hint = (
            f"See KOUNTER_REGISTRY__URL: its path belongs to it, such as {PATHS[0]} of an Apicurio. Asked again later."
        )
        return RegistryUnavailable(f"{said}.", hint=hint)

    async def _look_elsewhere(self) -> str:
        for path in PATHS:
            url = self._http.base_url.copy_with(path=f"{path}/subjects")
            with contextlib.suppress(
                httpx.HTTPError, httpx.StreamError, RegistryUnavailable, ValueError, RecursionError
            ):
                async with self._http.stream("GET", url) as response:
                    if response.status_code == 200 and isinstance(json.loads(await _read(response)), list):
                        return str(url.copy_with(userinfo=b"", path=path))
        return ""


T = TypeVar("T")


def _shaped(part: Any, kind: type[T]) -> T:
    """Returns a part of an answer. Raises RegistryUnavailable for a part of another type, which must not count as
    absent."""
    if type(part) is not kind:
        raise RegistryUnavailable(f"the schema registry's answer can't be read: no {kind.__name__}, {shorten(part)}.")
    return part


def _id(answer: Any) -> int:
    return _shaped(_shaped(answer, dict).get("id"), int)


async def _read(response: httpx.Response) -> bytes:
    raw = bytearray()
    async for part in response.aiter_bytes():
        raw += part
        if len(raw) > MAX_ANSWER_BYTES:
            raise RegistryUnavailable(f"the schema registry's answer is above {MAX_ANSWER_BYTES} bytes.")
    return bytes(raw)


def _subject(subject: str) -> str:
    return f"/subjects/{quote(subject, safe='')}"


def _body(schema: dict[str, Any]) -> dict[str, str]:
    return {"schema": json.dumps(schema, ensure_ascii=False)}
