"""JSON of external systems: read strictly, mapped to rows in our names, and back.

An absent field leaves the state as it is, an explicit null clears it (`unset`), an unknown field is ignored, as
external systems add fields. Their names and labels come from the contract's marks.
"""

from __future__ import annotations

import json
import math
import types
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, NoReturn, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError, create_model
from pydantic_core import ErrorDetails

from schemas.errors import InvalidInput
from schemas.fields import AvroType, Label
from schemas.record import SEQUENCE, UNSET, Contract, contract, contracts, marks

Row = tuple[Any, ...]
ERRORS_SHOWN: Final = 5
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = "a time: ISO 8601, e.g. 2026-01-31T09:00:00Z"
_EXPECTED: Final = {
    "string_type": "a text",
    "string_unicode": "a text of whole Unicode characters",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
    "string_pattern_mismatch": "a text without control characters",
    "bool_type": "true or false",
    "tuple_type": "a list",
}
"""Texts for a sender, by the type of pydantic's error."""


class _Nothing(Enum):
    """Stands for an absent value, distinct from any text and null of the sender."""

    NOTHING = 0

    def __repr__(self) -> str:
        return "nothing"


def parse_json(raw: bytes | str, *, max_bytes: int = 1_048_576, max_depth: int = 32) -> Any:
    """Returns any JSON value; numbers with a point or exponent become Decimal, so that money stays exact.

    Raises InvalidInput for more than ``max_bytes`` (not parsed at all), bytes that are not UTF-8 or not JSON (NaN and
    Infinity are not), and more than ``max_depth`` arrays and objects in one another.
    """
    if len(raw) > max_bytes:
        raise InvalidInput("document", f"at most {max_bytes} bytes", f"{len(raw)} bytes")
    try:
        text = raw if isinstance(raw, str) else raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput("document", "UTF-8", raw[error.start : error.end + 16]) from None
    try:
        value = json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidInput(
            "document", f"JSON ({error.msg}, at {error.pos})", text[error.pos : error.pos + 20]
        ) from None
    except RecursionError:
        raise InvalidInput("document", f"at most {max_depth} levels", "many more") from None
    except (ValueError, InvalidOperation):  # an int of more digits than Python reads, an exponent beyond Decimal
        raise InvalidInput("document", "numbers of a sensible size", "a far longer one") from None
    _check_depth(value, max_depth)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidInput("document", "JSON, which has no such number", name)


def _check_depth(value: Any, max_depth: int) -> None:
    """Check level by level, without recursion, as the sender chooses the depth. Raises InvalidInput."""
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        depth += 1
        if depth > max_depth:
            raise InvalidInput("document", f"at most {max_depth} levels", "more")
        level = [inner for v in level for inner in (v.values() if isinstance(v, dict) else v)]


def from_outside(word: str, data: object) -> Row:
    """Returns the row of a message of the external type ``word``. Raises InvalidInput in the sender's own names.

    Numbers may come as numeric texts (the sources say only "number"), but not as booleans.
    """
    known = {c.outside: c for c in contracts() if c.outside}
    of = known.get(word) or known.get(word.lower())
    if of is None:
        raise InvalidInput("type", "one of " + ", ".join(known), word)
    if not isinstance(data, dict):
        raise InvalidInput("data", "an object", data)
    try:
        valid = _model(of).model_validate(data)
    except ValidationError as error:
        raise _invalid(error.errors(include_url=False)) from None
    values = {name: getattr(valid, f"f_{name}") for name in _said(of)}
    if UNSET in of.fields:
        names = of.wire_names
        values[UNSET] = tuple(n for n in values if n != SEQUENCE and names[n] in data and data[names[n]] is None)
    row: Row = of.record(**{n: v.value if isinstance(v, Label) else v for n, v in values.items()})
    return row


def to_outside(row: Row) -> tuple[str, dict[str, Any]]:
    """Returns the external ``type`` and ``data`` of a row: absent fields left out, unset ones null.

    Money stays Decimal. UNKNOWN has no external label, so it is left out. Raises InvalidInput
    for a record that has no external name, and for values that JSON or the calendar can't hold.
    """
    of = contract(type(row))
    if of.outside is None:
        raise InvalidInput(of.full_name, "a record with an external name", of.name)
    said: dict[str, Any] = {}
    for name in _said(of):
        value = row[of.fields.index(name)]
        if value is not None and (spoken := _spoken(of, name, value)) is not None:
            said[of.wire_names[name]] = spoken
    if UNSET in of.fields:
        cleared = row[of.fields.index(UNSET)]
        said |= {of.wire_names[n]: None for n in _said(of) if n in cleared and of.wire_names[n] not in said}
    return of.outside, said


def _spoken(of: Contract, name: str, value: Any) -> Any:
    kind = _kind(of.hints[name])
    if isinstance(kind, type) and issubclass(kind, Label):
        return next((m.label for m in kind if m.value == value), None)
    if _is_time(of.hints[name]):
        try:
            moment = _EPOCH + timedelta(microseconds=value)
        except OverflowError:
            raise InvalidInput(of.wire_names[name], "a time of the years 1 to 9999", value) from None
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(of.wire_names[name], "a finite number", value)
    return list(value) if isinstance(value, tuple) else value


def _said(of: Contract) -> tuple[str, ...]:
    """Returns the fields of the external form; `unset` is our form of its nulls."""
    return tuple(n for n in of.fields if n != UNSET)


@cache
def _model(of: Contract) -> type[BaseModel]:
    """Returns the model of a contract. Fields are prefixed, as some have names that pydantic's models use
    themselves."""
    fields: dict[str, Any] = {}
    for name in _said(of):
        alias = of.wire_names[name]
        default = of.defaults.get(name, ...)
        fields[f"f_{name}"] = (_loose(of.hints[name]), Field(default, alias=alias))
    return create_model(f"Outside{of.name}", __config__=ConfigDict(extra="ignore"), **fields)


def _loose(hint: Any) -> Any:
    """Returns a field's type in its external form: labels for symbols, numeric texts for numbers, texts for times."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = next(a for a in get_args(hint) if a is not types.NoneType)
        return _loose(inner) | None
    kind = _kind(hint)
    if _is_time(hint):
        return Annotated[hint, BeforeValidator(_time)]
    if kind is int:
        return Annotated[hint, BeforeValidator(_whole)]
    if kind is float:
        return Annotated[hint, BeforeValidator(_number)]
    if kind is bool:
        return Annotated[hint, Strict()]
    if isinstance(kind, type) and issubclass(kind, Label):
        return Annotated[hint, BeforeValidator(kind.of_label)]
    return hint


@cache  # asked for each field of each row
def _kind(hint: Any) -> Any:
    """Returns the plain type within marks and ``| None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return _kind(next(a for a in get_args(hint) if a is not types.NoneType))
    return _kind(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


@cache
def _is_time(hint: Any) -> bool:
    return any(isinstance(m, AvroType) and ("logicalType", "timestamp-micros") in m.attributes for m in marks(hint))


def _time(value: object) -> str:
    if not isinstance(value, str):  # a number would leave open seconds, milliseconds or microseconds
        raise ValueError(_TIME)
    return value


def _whole(value: object) -> int:
    number = _decimal(value, "a whole number of at most 64 bits")
    # The exponent is checked first: the int of 1e999999999 would fill the memory.
    if number.adjusted() > 19 or number != number.to_integral_value():
        raise ValueError("a whole number of at most 64 bits")
    return int(number)


def _number(value: object) -> float:
    return float(_decimal(value, "a finite number"))


def _decimal(value: object, expected: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(expected)
    try:
        number = Decimal(value)
    except (InvalidOperation, ValueError):
        raise ValueError(expected) from None
    if not number.is_finite():
        raise ValueError(expected)
    return number


def _invalid(details: list[ErrorDetails]) -> InvalidInput:
    """Returns the first error by field, with up to five in the message."""
    errors = [_one(d) for d in details]
    first = errors[0]
    if len(errors) > 1:
        more = [f"and {len(errors) - ERRORS_SHOWN} more"] if len(errors) > ERRORS_SHOWN else []
        first.args = ("; ".join([e.message for e in errors[:ERRORS_SHOWN]] + more),)
    return first


def _one(detail: ErrorDetails) -> InvalidInput:
    field = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "missing":
        return InvalidInput(field, "a value", _Nothing.NOTHING)
    if detail["type"] == "value_error":
        return InvalidInput(field, str(detail["ctx"]["error"]), detail["input"])
    expected = _EXPECTED.get(detail["type"], detail["msg"].removeprefix("Input should be "))
    return InvalidInput(field, expected.format_map(detail.get("ctx", {})), detail["input"])
