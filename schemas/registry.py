"""The schema registry's client: Confluent's REST API, as Apicurio and others speak it too. Source: contracts §8."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Self, cast

import httpx
from pydantic import BaseModel, SecretStr

from schemas.errors import IncompatibleSchema, RegistryUnavailable, UndecodableRecord


class RegistrySettings(BaseModel):
    """Where the registry is."""

    url: str = ""
    """Empty: the embedded one."""
    username: str = ""
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    timeout_s: float = 5.0


class SchemaRegistry:
    """Schemas by id are kept for ever: an id never changes its meaning."""

    def __init__(self, settings: RegistrySettings) -> None:
        auth = (settings.username, settings.password.get_secret_value()) if settings.username else None
        self._http = httpx.AsyncClient(
            base_url=settings.url, auth=auth, timeout=settings.timeout_s, verify=str(settings.ca_file or "") or True
        )
        self._schemas: dict[int, dict[str, Any]] = {}
        self._asked: dict[int, asyncio.Task[dict[str, Any]]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def schema(self, id: int) -> dict[str, Any]:
        """The schema of an id. UndecodableRecord if there is none, RegistryUnavailable if it can't be asked."""
        if id not in self._schemas:
            if id not in self._asked:
                self._asked[id] = asyncio.create_task(self._fetch(id))
            try:
                self._schemas[id] = await asyncio.shield(self._asked[id])
            finally:
                self._asked.pop(id, None)
        return self._schemas[id]

    async def _fetch(self, id: int) -> dict[str, Any]:
        answer = await self._call("GET", f"/schemas/ids/{id}")
        if answer.status_code == 404:
            raise UndecodableRecord("unknown_schema_id", f"the registry knows no schema {id}")
        return cast("dict[str, Any]", json.loads(answer.json()["schema"]))

    async def register(self, subject: str, schema: dict[str, Any]) -> int:
        """Id of the schema in the subject, new or found."""
        answer = await self._call("POST", f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})
        if answer.status_code == 409:
            raise IncompatibleSchema(f"{subject}: {answer.text[:300]}")
        return int(answer.json()["id"])

    async def set_compatibility(self, subject: str, level: str = "FULL_TRANSITIVE") -> None:
        """What new versions of the subject are checked against."""
        await self._call("PUT", f"/config/{subject}", {"compatibility": level})

    async def _call(self, method: str, path: str, body: object = None) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise RegistryUnavailable(f"the schema registry does not answer: {type(error).__name__}.") from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise RegistryUnavailable(f"the schema registry answers {answer.status_code}.")
        return answer
