"""The reading of an external message, field by field, with an error for each wrong value.

It takes all forms that the contract's marks allow. `schemas.wire.compiled` takes the common ones faster; a test
compares the two.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache, partial
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError, create_model
from pydantic_core import ErrorDetails

from schemas.errors import InvalidInput
from schemas.fields import INT64_LIMIT, AvroType, EachOf, IfNumber, Label, NumberText, WholeAsText
from schemas.record import UNSET, Contract, marks
from schemas.wire.passwords import concealed

Row = tuple[Any, ...]
ERRORS_SHOWN: Final = 5
_TIME: Final = "a time: ISO 8601, e.g. 2026-01-31T09:00:00Z"
_INT64: Final = "a whole number of at most 64 bits"
_WHOLE_OR_TEXT: Final = "a text or a whole number"
_DIGITS: Final = re.compile(r"-?[0-9]{1,19}")
_LONGEST_ID_BITS: Final = 848
"""Bits of a whole number of more than 255 digits, the most of an id."""
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


class _Named(NamedTuple):
    """The names of a field in the external form, and how its value is chosen among them."""

    name: str
    names: tuple[str, ...]
    is_list: bool
    is_shared: bool
    """Another field has one of the names too."""
    form: type[IfNumber] | type[NumberText] | None


class Read(NamedTuple):
    """A value that was found for a field."""

    wire_name: str
    value: Any


def read_strictly(of: Contract, data: Mapping[str, Any]) -> Row:
    """Returns the row of a message. Raises InvalidInput in the sender's own names, with up to five errors."""
    found = find_values(of, data)
    try:
        valid = _model(of).model_validate({f"f_{name}": read.value for name, read in found.items()})
    except ValidationError as error:
        raise _invalid(of, found, error.errors(include_url=False)) from None
    values = {name: getattr(valid, f"f_{name}") for name in of.said}
    if UNSET in of.fields:
        values[UNSET] = tuple(n for n, read in found.items() if n != of.counter and read.value is None)
    row: Row = of.record(**{n: v.value if isinstance(v, Label) else v for n, v in values.items()})
    return row


def find_values(of: Contract, data: Mapping[str, Any]) -> dict[str, Read]:
    """Returns the value of each field that the message names: of several names the first that has one."""
    found: dict[str, Read] = {}
    for name, names, is_list, is_shared, form in _named(of):
        for wire_name in names:
            if wire_name not in data:
                continue
            value = data[wire_name]
            if is_shared and (wire_name != names[0] if value is None else isinstance(value, list | tuple) != is_list):
                continue  # the other field's
            if form is NumberText and (value := text_of_number(value)) is None and data[wire_name] is not None:
                continue  # the number itself is refused
            if form is IfNumber and isinstance(value, str):
                value = number_of_text(value)
            if name not in found or found[name].value is None:
                found[name] = Read(wire_name, value)
    return found


def text_of_number(value: object) -> str | None:
    """Returns the text form of a value that may be a number: a text as it is, None for a value that is neither."""
    if isinstance(value, str):
        return value
    try:
        return str(_whole(value))
    except ValueError:
        return None


def number_of_text(text: str) -> int | None:
    """Returns the number that a text is, None for any other text."""
    number = int(text) if _DIGITS.fullmatch(text) else None
    return number if number is not None and -INT64_LIMIT <= number < INT64_LIMIT else None


@cache
def _named(of: Contract) -> tuple[_Named, ...]:
    found = []
    for field in of.said:
        kinds = [type(m) for m in marks(of.hints[field])]
        form = IfNumber if IfNumber in kinds else NumberText if NumberText in kinds else None
        names = of.accepted_names[field]
        is_list = get_origin(plain_type(of.hints[field])) is tuple
        found.append(_Named(field, names, is_list, shares_name(of, field), form))
    return tuple(found)


def shares_name(of: Contract, field: str) -> bool:
    """Returns whether a field and another one, of which one is a list, have a name in common."""
    if any(isinstance(m, IfNumber | NumberText) for m in marks(of.hints[field])):
        return False
    others = {n for other in of.said if other != field for n in of.accepted_names[other]}
    return not others.isdisjoint(of.accepted_names[field])


@cache
def _model(of: Contract) -> type[BaseModel]:
    """Returns the model of a contract. Fields are prefixed, as some have names that pydantic's models use
    themselves."""
    fields: dict[str, Any] = {}
    for name in of.said:
        fields[f"f_{name}"] = (_loose(of.hints[name]), Field(of.defaults.get(name, ...)))
    return create_model(f"Outside{of.name}", __config__=ConfigDict(extra="ignore"), **fields)


def _loose(hint: Any) -> Any:
    """Returns a field's type in its external form: labels for symbols, numeric texts for numbers, texts for times."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = next(a for a in get_args(hint) if a is not types.NoneType)
        return _loose(inner) | None
    kind = plain_type(hint)
    if is_time(hint):
        return Annotated[hint, BeforeValidator(_time)]
    for mark in marks(hint):
        if isinstance(mark, WholeAsText):
            return Annotated[hint, BeforeValidator(_digits)]
        if isinstance(mark, EachOf):
            return tuple[Annotated[str, BeforeValidator(partial(_symbol, mark.labels))], ...]
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
def plain_type(hint: Any) -> Any:
    """Returns the plain type within marks and ``| None``."""
    if get_origin(hint) in (Union, types.UnionType):
        return plain_type(next(a for a in get_args(hint) if a is not types.NoneType))
    return plain_type(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


@cache
def is_time(hint: Any) -> bool:
    """Returns whether a field holds microseconds since the epoch."""
    return any(isinstance(m, AvroType) and ("logicalType", "timestamp-micros") in m.attributes for m in marks(hint))


def _symbol(words: type[Label], label: object) -> str:
    return str(words.of_label(label).value)


def _time(value: object) -> str:
    if not isinstance(value, str):  # a number would leave open seconds, milliseconds or microseconds
        raise ValueError(_TIME)
    return value


def _digits(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int) or value.bit_length() > _LONGEST_ID_BITS:
        raise ValueError(_WHOLE_OR_TEXT)
    return str(value)


def _whole(value: object) -> int:
    number = _decimal(value, _INT64)
    # The exponent is checked first: the int of 1e999999999 would fill the memory.
    if number.adjusted() > 19 or number != number.to_integral_value():
        raise ValueError(_INT64)
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


def _invalid(of: Contract, found: Mapping[str, Read], details: list[ErrorDetails]) -> InvalidInput:
    """Returns the first error by field, with up to five in the message."""
    errors = [_one(of, found, d) for d in details]
    first = errors[0]
    if len(errors) > 1:
        more = [f"and {len(errors) - ERRORS_SHOWN} more"] if len(errors) > ERRORS_SHOWN else []
        first.args = ("; ".join([e.message for e in errors[:ERRORS_SHOWN]] + more),)
    return first


def _one(of: Contract, found: Mapping[str, Read], detail: ErrorDetails) -> InvalidInput:
    name = str(detail["loc"][0]).removeprefix("f_")
    wire_name = found[name].wire_name if name in found else of.wire_names[name]
    field = ".".join([wire_name, *(str(part) for part in detail["loc"][1:])])
    if detail["type"] == "missing":
        return InvalidInput(field, "a value", _Nothing.NOTHING)
    came = concealed(detail["input"])
    if detail["type"] == "value_error":
        return InvalidInput(field, str(detail["ctx"]["error"]), came)
    expected = _EXPECTED.get(detail["type"], detail["msg"].removeprefix("Input should be "))
    return InvalidInput(field, expected.format_map(detail.get("ctx", {})), came)
