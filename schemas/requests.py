"""Requests under an Idempotency-Key: any command of a domain, carried out once however often it is asked for.

One aggregate a domain holds them, under any topic that `requests_on` was called for. The rules are in
`streams.idempotency`. (The Core users service has records of its own for the same, from before: `schemas.crm`.)
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Final, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.commands import CommandOutcome, CommandReply
from schemas.errors import InvalidInput, shorten
from schemas.external import parse_json
from schemas.fields import ExtId, Int, Personal, Text, Texts
from schemas.record import also_on, contract, namespace

record = namespace("requests")

Row = tuple[Any, ...]
Private = Annotated[Text, Personal()]
OWN: Final = ("command_id", "request")
"""Fields of a command that the request fills in: its id, and the key that its answer goes to."""


@record(key="ext_id")
class KeyedRequest(NamedTuple):
    """Ask for a command that must be carried out once, however often it is asked for under this key."""

    ext_id: ExtId
    """The Idempotency-Key."""
    command_id: Text = ""
    fingerprint: Text = ""
    """Hash of what the sender asked for: the same key with another one is refused."""
    record: Text = ""
    """Full name of the command's record class."""
    fields: Private = ""
    """The command's fields, a JSON object."""


@record(key="ext_id")
class RequestAccepted(NamedTuple):
    """Decided: the command is under way."""

    ext_id: ExtId
    update_id: Int | None = None
    fingerprint: Text | None = None
    record: Text | None = None
    unset: Texts = ()


@record(key="ext_id", if_unknown="ignore")
class RequestAnswered(NamedTuple):
    """The answer that every repeat gets. Told by the aggregate that carried the command out."""

    ext_id: ExtId
    outcome: CommandOutcome | None = None
    code: Text | None = None
    reason: Text | None = None
    subject: Text | None = None
    """The id of what the command has made or changed."""
    answer: Private | None = None
    """Further fields of the answer, as JSON of the domain's own."""
    unset: Texts = ()


def requests_on(aggregate: str) -> None:
    """Declare the topic of an aggregate, and those of its commands and replies, to hold such requests."""
    also_on(KeyedRequest, f"{aggregate}.commands")
    also_on(RequestAccepted, aggregate)
    also_on(RequestAnswered, aggregate)
    also_on(CommandReply, f"{aggregate}.replies")


def keyed(key: str, command_id: str, fingerprint: str, command: Row) -> KeyedRequest:
    """Returns the request for ``command`` under an Idempotency-Key."""
    of = contract(type(command))
    said = {n: v for n, v in zip(of.fields, command, strict=True) if n not in OWN and v is not None}
    fields = orjson.dumps(said, default=str).decode()  # money as text, which keeps its decimals
    return KeyedRequest(key, command_id, fingerprint, of.full_name, fields)


def command_of(request: KeyedRequest, known: Iterable[type[Row]]) -> Row:
    """Returns the command that is asked for, one of the ``known`` classes. Raises InvalidInput."""
    by_name = {contract(cls).full_name: cls for cls in known}
    cls = by_name.get(request.record)
    if cls is None:
        raise InvalidInput("record", f"one of {', '.join(by_name)}", request.record)
    said = parse_json(request.fields)
    if not isinstance(said, dict):
        raise InvalidInput("fields", "a JSON object", said)
    try:
        command: Row = _adapter(cls).validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        expected = first["msg"].removeprefix("Input should be ")
        raise InvalidInput(".".join(map(str, first["loc"])), expected, shorten(first["input"])) from None
    return command


@cache
def _adapter(cls: type[Row]) -> TypeAdapter[Any]:
    return TypeAdapter(cls)
