"""A person's orders for parked commands, on the topic of the commands, so that the order per key holds."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from schemas.bitrix24 import CLEARABLE
from schemas.errors import InvalidInput
from schemas.external import parse_json
from schemas.fields import ExtId, Int, Label, Personal, Text
from schemas.record import UNSET, contract, namespace

record = namespace("parking")

MOST_EDIT_BYTES: Final = 100_000
MOST_REPEATED: Final = 5_000
"""Characters of a value that a receipt repeats at most: a receipt must fit on its topic, and in a state."""
HINT: Final = "Name fields of the command: `kounter parked show` prints them."
Row = tuple[Any, ...]


class ParkedAction(Label):
    RETRY = "RETRY", "retry"
    DROP = "DROP", "drop"
    PARK = "PARK", "park"


@record("bitrix.commands", "rosdomofon.commands", "rosdomofon.requests", "backend.events", key="ext_id")
class ParkedOrder(NamedTuple):
    """What shall be done with the parked commands of a key. A replay of the topic does the same again."""

    ext_id: ExtId
    """The key of the commands."""
    action: ParkedAction = ParkedAction.RETRY
    offsets: tuple[Int, ...] = ()
    """Offsets of the commands that the order is for; empty: all. A retry begins only if the first parked command is
    among them, and takes along those parked behind it, so an order that comes twice does nothing the second time.
    To park names commands that are being retried; those that are done or parked by then stay as they are.
    """
    edit: Annotated[Text, Personal()] | None = None
    """A JSON object: fields of the command at the first of ``offsets`` that are changed before it is tried again."""
    by: Text | None = None


def edited(row: Row, edit: str) -> Row:
    """Returns the command with the changes of an order. Raises InvalidInput that names the field."""
    changes = parse_json(edit, max_bytes=MOST_EDIT_BYTES, max_depth=4)
    if not isinstance(changes, dict):
        raise InvalidInput("edit", "a JSON object", changes, hint=HINT)
    of = contract(type(row))
    for name, value in changes.items():
        if name not in of.fields or name == of.key:
            expected = "one of " + ", ".join(n for n in of.fields if n != of.key)
            raise InvalidInput("edit", expected, name, hint=HINT)
        try:
            changes[name] = _adapter(type(row), name).validate_python(value)
        except ValidationError as error:
            raise InvalidInput(name, error.errors(include_url=False)[0]["msg"], value, hint=HINT) from None
    if UNSET in of.fields and UNSET not in changes:
        # An empty value of a card's field clears it, too; of another field it is invalid.
        named = (*row[of.fields.index(UNSET)], *(n for n in changes if n in CLEARABLE))
        changes[UNSET] = tuple(dict.fromkeys(n for n in named if changes.get(n) is None))
    changed: Row = row._replace(**changes)  # type: ignore[attr-defined]
    return changed


def differences(before: Row, after: Row) -> dict[str, list[Any]]:
    """Returns the changes of an edit by field: the value asked for and the value written, in their JSON form."""
    of = contract(type(before))
    changed = [(n, a, b) for n, a, b in zip(of.fields, before, after, strict=True) if a != b and n != UNSET]
    return {name: [brief(asked), brief(done)] for name, asked, done in changed}


def done_instead(*edits: str | None) -> dict[str, tuple[Any, Any]]:
    """Returns the edits in a receipt: (asked, done), texts or None, by field of the command. Empty if there are none,
    or if they can't be read: any producer may write a receipt."""
    return {name: pair for each in edits for name, pair in _pairs(each).items()}


def _pairs(edits: str | None) -> dict[str, tuple[Any, Any]]:
    try:
        found = orjson.loads(edits) if edits else {}
    except orjson.JSONDecodeError:
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {n: (p[0], p[1]) for n, p in pairs if isinstance(p, list) and len(p) == 2 and all(map(_is_text, p))}


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def brief(value: Any) -> Any:
    """Returns a value in the form in which a receipt repeats it."""
    if isinstance(value, str) and len(value) > MOST_REPEATED:
        return value[: MOST_REPEATED - 1] + "…"
    return value if value is None or isinstance(value, bool | int | str) else str(value)


@cache
def _adapter(record: type, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(contract(record).hints[name])
