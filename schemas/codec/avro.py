"""The Avro schema that follows from a record class."""

from __future__ import annotations

import types
from decimal import Decimal
from typing import Annotated, Any, Final, Union, get_args, get_origin

from schemas.fields import AvroType, Label
from schemas.record import Contract, marks

PRIMITIVES: Final = {str: "string", int: "long", float: "double", bool: "boolean", bytes: "bytes"}
UNKNOWN: Final = "UNKNOWN"
"""Default of every enum, which an older reader gets for a symbol that was added later."""


def avro_schema(contract: Contract) -> dict[str, Any]:
    """Returns the schema as a JSON-like dict. Deterministic, so that its file can be compared in a test."""
    seen: set[str] = set()
    fields = []
    for name in contract.fields:
        hint = contract.hints[name]
        entry: dict[str, Any] = {"name": name, "type": _type(hint, contract, seen)}
        if name in contract.defaults:
            default = contract.defaults[name]
            entry["default"] = _plain(default)
        if name in contract.personal:
            entry["personal"] = True
        if contract.wire_names[name] != name:
            entry["outside"] = contract.wire_names[name]
        fields.append(entry)
    return {
        "type": "record",
        "name": contract.name,
        "namespace": f"kounter.{contract.domain}",
        "doc": " ".join((contract.record.__doc__ or "").split()),
        "fields": fields,
    }


def _plain(default: Any) -> Any:
    """Returns a default in its JSON form."""
    if isinstance(default, Label):
        return default.value
    return list(default) if isinstance(default, tuple) else default


def _type(hint: Any, contract: Contract, seen: set[str]) -> Any:
    """Avro type of a hint. ``seen`` holds the enums already written out: Avro names a type once, then refers to it."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = next(a for a in get_args(hint) if a is not types.NoneType)
        return ["null", _type(inner, contract, seen)]
    for mark in marks(hint):
        if isinstance(mark, AvroType):
            return dict(mark.attributes)
    if get_origin(hint) is Annotated:
        return _type(get_args(hint)[0], contract, seen)
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _type(get_args(hint)[0], contract, seen)}
    if isinstance(hint, type) and issubclass(hint, Label):
        if hint.__name__ in seen:
            return f"kounter.{contract.domain}.{hint.__name__}"
        seen.add(hint.__name__)
        symbols = [UNKNOWN, *[str(m) for m in hint]]
        return {"type": "enum", "name": hint.__name__, "symbols": symbols, "default": UNKNOWN}
    if hint is Decimal:
        raise TypeError("a bare Decimal has no scale: use Money")
    return PRIMITIVES[hint]
