"""``/queue/{type}``: changes that the developer's system pushes, one or many in a request
(docs/contracts/brusnika.md#queue)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from typing import Annotated, Any, Final

from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from fastapi import APIRouter, HTTPException, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from adapters.envelope import Undecipherable, is_sealed, unsealed
from adapters.request_body import TooLarge, read_body
from kounter.gateway import problems
from kounter.gateway.strict import StrictRoute
from kounter.gateway.tokens import WRITE_ESTATE, Tokens, guards, refusals
from schemas.errors import InvalidInput, KounterError, shorten
from schemas.external import from_outside, parse_json
from schemas.record import contract, contracts, declare_all
from schemas.wire.passwords import concealed

Row = tuple[Any, ...]
Put = Callable[[Sequence[Row]], Awaitable[Sequence[InvalidInput | None]]]
"""Function that returns when rows are safe; for each that can never be taken, its error. Raises KafkaError."""
MOST_BYTES: Final = 1 << 20
"""Bytes of a body, encrypted or plain."""
MOST_CHANGES: Final = 1_000
"""Changes in a request."""
SAID: Final = {"message": "SUCCESS"}
OTHER_WORDS: Final = {"lead_op": "lead-ops"}
"""Path names of types, where they differ."""
UNREADABLE: Final = "the encrypted body can't be read"


@cache
def _words() -> Mapping[str, str]:
    """Returns the types by their names in paths, in lower case."""
    declare_all()
    known = [c.outside for c in contracts() if c.outside is not None and c.domain == "estate"]
    return {OTHER_WORDS.get(word, word).lower(): word for word in known}


Word = Annotated[str, Path(json_schema_extra={"enum": sorted(_words())})]


class NotWritten(KounterError):
    """Raised where Kafka has perhaps not taken the changes."""

    code = "not_written"
    hint = "Send the request again: what was taken is dropped as known."


def queue_router(put: Put, key: RSAPrivateKey | None, tokens: Tokens | None) -> APIRouter:
    """Returns the two routes, which need the scope `WRITE_ESTATE`. ``key``: reads encrypted bodies."""
    router = APIRouter(
        prefix="/queue", tags=["queue"], dependencies=guards(tokens, WRITE_ESTATE), route_class=StrictRoute
    )
    errors = problems.responses(400, 404, 413, 422, 503, *refusals(tokens))

    @router.post(
        "/{type}",
        status_code=201,
        responses=errors,
        operation_id="push_change",
        summary="Take one change, plain or encrypted",
        openapi_extra=_body({"type": "object"}),
    )
    async def push(type: Word, request: Request) -> dict[str, str]:
        of = _known(type)
        await _take(put, [_read(of, await _plain(request, key), "")])
        return SAID

    @router.post(
        "/{type}/many",
        status_code=201,
        responses=errors,
        operation_id="push_changes",
        summary="Take many changes of a type, or none if one is invalid",
        openapi_extra=_body(
            {
                "type": "object",
                "required": ["data"],
                "properties": {"data": {"type": "array", "maxItems": MOST_CHANGES, "items": {"type": "object"}}},
            }
        ),
    )
    async def push_many(type: Word, request: Request) -> dict[str, str]:
        of, body = _known(type), await _plain(request, key)
        items = body.get("data") if isinstance(body, dict) else None
        if not isinstance(items, list) or len(items) > MOST_CHANGES:
            came = f"{len(items)} changes" if isinstance(items, list) else concealed(items)
            raise InvalidInput("data", f"a list of at most {MOST_CHANGES} changes", came)
        await _take(put, [_read(of, item, f"data[{n}].") for n, item in enumerate(items)])
        return SAID

    return router


def _known(word: str) -> str:
    found = _words().get(word.lower())
    if found is None:
        raise HTTPException(404, f"type: expected one of {', '.join(sorted(_words()))}, came {shorten(word)}")
    return found


async def _plain(request: Request, key: RSAPrivateKey | None) -> Any:
    """Returns the JSON value of a body, decrypted. Raises HTTPException, InvalidInput."""
    try:
        raw = await read_body(request, MOST_BYTES)
    except TooLarge:
        raise HTTPException(413, f"a body of more than {MOST_BYTES} bytes") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body was cut off") from None
    body = parse_json(raw, max_bytes=MOST_BYTES)
    if not is_sealed(body):
        return body
    if key is None:
        raise HTTPException(400, UNREADABLE)
    try:
        return await run_in_threadpool(partial(unsealed, key, body, max_bytes=MOST_BYTES))
    except Undecipherable:
        raise HTTPException(400, UNREADABLE) from None


def _read(word: str, body: object, place: str) -> Row:
    """Returns the row of a change. Raises InvalidInput that names the field, after its ``place`` in the body."""
    try:
        row = from_outside(word, body)
    except InvalidInput as error:
        raise InvalidInput(f"{place}{error.field}", error.expected, Came(error.came)) from None
    counter = contract(type(row)).counter
    # Only the socket is numbered: its numbers would be compared with these.
    return row if counter is None else row._replace(**{counter: None})  # type: ignore[attr-defined]


class Came:
    """A received value that is shortened already."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


async def _take(put: Put, rows: Sequence[Row]) -> None:
    try:
        refused = await put(rows)
    except KafkaError as error:
        raise NotWritten(f"Kafka has not taken all of it: {type(error).__name__}") from None
    for n, wrong in enumerate(refused):
        if wrong is not None:
            raise InvalidInput(
                wrong.field if len(rows) == 1 else f"data[{n}].{wrong.field}", wrong.expected, Came(wrong.came)
            )


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    parts = {name: {"type": "string", "contentEncoding": "base64"} for name in ("key", "iv", "data")}
    encrypted = {"type": "object", "required": list(parts), "properties": parts, "additionalProperties": False}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": [schema, encrypted]}}}}
    }
