"""The door of the main backend's twin, ``POST /queue/{type}`` and ``…/many``. Source:
docs/contracts/brusnika.md#queue.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from adapters.request_body import TooLarge, read_body

LIMIT_BYTES: Final = 100 * 1024
TYPES: Final = (
    *("project", "building", "section", "premise", "client", "lead"),
    *("lead-ops", "user", "booking", "visit", "task", "agency"),
)
SINGLE_ONLY: Final = ("client", "booking", "visit")
NEEDS: Final[Mapping[str, Mapping[str, str]]] = {
    "building": {"project_ext_id": "project"},
    "section": {"building_ext_id": "building"},
    "premise": {"building_ext_id": "building", "section_ext_id": "section"},
    "lead-ops": {"lead_ext_id": "lead"},
}
"""Types by field that must be there; a project's city is not, as the door has no path for cities."""
PROMPTS: Final = {"project": 403, "building": 404, "section": 405, "lead": 406}
"""Ids of prompts for what is unknown."""


class Refused(Exception):
    """The answer to a request that is not done."""

    def __init__(self, status: int, prompt: int, text: str) -> None:
        self.status, self.prompt, self.text = status, prompt, text


class Door:
    """``things``: fields by type and id. ``key``: of encrypted bodies; None takes plain ones."""

    def __init__(self, key: RSAPrivateKey | None = None) -> None:
        self._key = key
        self.things: dict[str, dict[str, dict[str, Any]]] = {type: {} for type in TYPES}
        self.taken: list[tuple[str, str]] = []
        """Type and id of all that was taken, in order."""
        self.down = False
        """Answers 503 while it is true."""
        routes = [Route("/queue/{type}", self._one, methods=["POST"])]
        routes.append(Route("/queue/{type}/many", self._many, methods=["POST"]))
        self.asgi = Starlette(routes=routes)

    def end(self) -> None:
        """Nothing hangs."""

    async def _one(self, request: Request) -> Response:
        return await self._answer(request, many=False)

    async def _many(self, request: Request) -> Response:
        return await self._answer(request, many=True)

    async def _answer(self, request: Request, *, many: bool) -> Response:
        type = request.path_params["type"]
        if type not in TYPES or (many and type in SINGLE_ONLY):
            return JSONResponse({"message": f"Cannot POST {request.url.path}", "statusCode": 404}, 404)
        if self.down:
            return JSONResponse({"message": "Service Unavailable"}, 503)
        try:
            body = await read_body(request, LIMIT_BYTES)
        except TooLarge:
            return JSONResponse({"message": "request entity too large", "statusCode": 413}, 413)
        try:
            read = self._read(body)
            for thing in read["data"] if many else [read]:
                self._take(type, thing)
        except Refused as refused:
            prompt = {"id": refused.prompt, "labels": {"en": refused.text}, "status": refused.status}
            return JSONResponse({"meta": {"type": "error", "prompt": prompt}, "data": None}, refused.status)
        if type == "building":  # as the real one
            return Response(status_code=201)
        return JSONResponse({"message": "SUCCESS"}, 201)

    def _read(self, body: bytes) -> Any:
        """Raises Refused; every failure to decrypt looks alike."""
        try:
            read = json.loads(body)
            if self._key is not None:
                read = json.loads(_opened(self._key, read))
        except (ValueError, KeyError, TypeError):
            raise Refused(400, 400, "The body can't be read") from None
        if not isinstance(read, dict):
            raise Refused(422, 422, "Validation failed")
        return read

    def _take(self, type: str, thing: Any) -> None:
        name = "lead_ext_id" if type == "lead-ops" else "ext_id"
        if not isinstance(thing, dict) or not isinstance(thing.get(name), str) or "update_id" in thing:
            raise Refused(422, 422, "Validation failed")
        for field, parent in NEEDS.get(type, {}).items():
            if (ext_id := thing.get(field)) is not None and ext_id not in self.things[parent]:
                raise Refused(404, PROMPTS[parent], f"{parent} not found")
        self.things[type][thing[name]] = thing  # all columns: what is left out is emptied
        self.taken.append((type, thing[name]))


def _opened(key: RSAPrivateKey, sealed: dict[str, str]) -> bytes:
    parts = {name: base64.b64decode(sealed[name], validate=True) for name in ("key", "iv", "data")}
    inner = key.decrypt(parts["key"], OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None))
    decryptor = Cipher(algorithms.AES256(inner), modes.CBC(parts["iv"])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(parts["data"]) + decryptor.finalize()) + unpadder.finalize()
