"""The external form of a row's or state's values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple, get_origin

from schemas.errors import InvalidInput
from schemas.fields import EachOf, Label
from schemas.record import Contract, marks
from schemas.wire.strict import is_time, plain_type

Form = Callable[[str, Any], Any]
"""Function of the wire name and a value that is not None; returns None for a value that has no external form."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Written(NamedTuple):
    name: str
    wire_name: str
    form: Form | None
    """None: the value is written as it is."""


def written(of: Contract, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that have a value, in their external form. A field that shares its name with an earlier one is
    that one's text form, and is written where it differs. Raises InvalidInput for values that JSON or the calendar
    can't hold."""
    said: dict[str, Any] = {}
    for name, wire_name, form in _plan(of):
        value = values.get(name)
        if value is None or (wire_name in said and str(said[wire_name]) == value):
            continue
        if form is None:
            said[wire_name] = value
        elif (external := form(wire_name, value)) is not None:
            said[wire_name] = external
    return said


@cache
def _plan(of: Contract) -> tuple[_Written, ...]:
    return tuple(_Written(name, of.wire_names[name], _form(of.hints[name])) for name in of.said)


def _form(hint: Any) -> Form | None:
    kind = plain_type(hint)
    if isinstance(kind, type) and issubclass(kind, Label):
        labels = _labels(kind)
        return lambda _, symbol: labels.get(symbol)
    for mark in marks(hint):
        if isinstance(mark, EachOf):
            each = _labels(mark.labels)
            return lambda _, symbols: [each[symbol] for symbol in symbols if symbol in each]
    if get_origin(kind) is tuple:
        return lambda _, texts: list(texts)
    if is_time(hint):
        return _moment
    return _finite if kind is float else None


def _labels(kind: type[Label]) -> dict[str, str]:
    return {member.value: member.label for member in kind}


def _moment(wire_name: str, micros: int) -> str:
    try:
        moment = _EPOCH + timedelta(microseconds=micros)
    except OverflowError:
        raise InvalidInput(wire_name, "a time of the years 1 to 9999", micros) from None
    return moment.isoformat().replace("+00:00", "Z")


def _finite(wire_name: str, number: float) -> float:
    if not math.isfinite(number):
        raise InvalidInput(wire_name, "a finite number", number)
    return number
