"""The types that a record's fields can have. Each defines its validation at the edge and its Avro type.

In a row (a decoded record, a state) the values are plain: str, int, float, bool, Decimal, tuple of str; a time is an
int of microseconds since the epoch in UTC, an enum is its symbol, which compares equal to its `Label` member.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, StringConstraints

INT64_LIMIT: Final = 2**63
MOST_DIGITS: Final = 19
"""Decimal digits in a 64-bit integer."""
TEXT_LIMIT: Final = 65_536  # characters; a description of a project has about 4,000


def is_id(text: str) -> bool:
    """Returns whether a text is a non-negative integer of 64 bits. Checked before `int` is called, which is slow with
    thousands of digits."""
    return text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS and int(text) < INT64_LIMIT


class Label(StrEnum):
    """An enum whose members have the external system's labels: ``ACTIVE = "ACTIVE", "Активные", "Открыта"``.

    The symbol (English capitals) is what topics, states and answers carry. `label` is the one that is written;
    labels after it are accepted as well. Labels are compared without regard to letter case.
    """

    label: str
    also: tuple[str, ...]

    def __new__(cls, symbol: str, label: str, *also: str) -> Label:
        member = str.__new__(cls, symbol)
        member._value_ = symbol
        member.label, member.also = label, also
        return member

    @classmethod
    def of_label(cls, label: object) -> Label:
        """Returns the member with the external label ``label``. Raises ValueError that lists the known labels."""
        member = members_by_label(cls).get(label.casefold()) if isinstance(label, str) else None
        if member is None:
            raise ValueError("one of " + ", ".join(repr(m.label) for m in cls))
        return member


@cache
def members_by_label(cls: type[Label]) -> dict[str, Label]:
    """Returns the members of an enum by each of their labels, casefolded."""
    return {label.casefold(): member for member in cls for label in (member.label, *member.also)}


@dataclass(frozen=True)
class AvroType:
    """Marks a field's Avro type where the Python type does not determine it."""

    attributes: tuple[tuple[str, str | int], ...]


@dataclass(frozen=True)
class Personal:
    """Marks a field as personal data: masked in logs, pages and exports unless asked for."""


@dataclass(frozen=True)
class WireName:
    """The name of a field in the external JSON, where it differs from ours, misspellings included.

    Two fields may share a name: a list there belongs to the one that is a list, anything else to the other.
    """

    name: str
    also: tuple[str, ...] = ()
    """Further names that are accepted; `name` is the one that is written."""


@dataclass(frozen=True)
class Internal:
    """Marks a field that the external form does not have."""


@dataclass(frozen=True)
class WholeAsText:
    """Marks a text that may come as a JSON whole number, which is taken as its digits."""


@dataclass(frozen=True)
class NumberText:
    """Marks the text form of a value that mostly is a number, beside a field marked `IfNumber`."""


@dataclass(frozen=True)
class IfNumber:
    """Marks a whole number that is cleared where its text form (`NumberText`) is no number, as "12А"."""


@dataclass(frozen=True)
class EachOf:
    """Marks a list of texts that are symbols of an enum; the external form holds their labels."""

    labels: type[Label]


def _micros(value: object) -> int:
    if isinstance(value, bool):
        raise ValueError("a time: ISO 8601, e.g. 2026-01-31T09:00:00Z")
    if isinstance(value, int):
        return value
    if isinstance(value, datetime):
        moment = value
    elif isinstance(value, date):
        moment = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise ValueError("a time: ISO 8601, e.g. 2026-01-31T09:00:00Z") from None
    return to_micros(moment)


def to_micros(moment: datetime) -> int:
    """Returns microseconds since the epoch, exactly (no float); a time without a zone is taken as UTC."""
    delta = moment.replace(tzinfo=moment.tzinfo or UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _decimal(value: object) -> Decimal:
    expected = "a number with at most 2 decimals, below 2**63"
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError(expected)
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(expected) from None
    # The exponent is checked first: arithmetic on 1e999999999 overflows.
    if not number.is_finite() or number.adjusted() > 18 or abs(number) >= INT64_LIMIT:
        raise ValueError(expected)
    cents = number.quantize(Decimal("0.01"))
    if cents != number:
        raise ValueError(expected)
    return cents


def _int64(value: int) -> int:
    if not -INT64_LIMIT <= value < INT64_LIMIT:
        raise ValueError("a whole number of at most 64 bits")
    return value


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


MOST_ID: Final = 255
_CONTROL: Final = r"\x00-\x1f\x7f"
_ID: Final = re.compile(f"[^{_CONTROL}]{{1,{MOST_ID}}}")


def is_ext_id(text: str) -> bool:
    """Returns whether a text is a valid `ExtId`, for records that no edge has validated."""
    return _ID.fullmatch(text) is not None


_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MINUTE: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")


def _day(text: str) -> str:
    try:
        if _DAY.fullmatch(text) and date.fromisoformat(text):
            return text
    except ValueError:
        pass
    raise ValueError("a day: YYYY-MM-DD, e.g. 2026-01-31")


def _minute(text: str) -> str:
    if not _MINUTE.fullmatch(text):
        raise ValueError("a time of day: HH:mm, e.g. 09:30")
    return text


def _date_text(text: str) -> str:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("a date or time: ISO 8601, e.g. 2026-01-31") from None
    return text


ExtId = Annotated[str, StringConstraints(min_length=1, max_length=MOST_ID, pattern=f"^[^{_CONTROL}]+$"), WholeAsText()]
"""An id of an external system; the key of topics and tables."""
Text = Annotated[str, StringConstraints(max_length=TEXT_LIMIT)]
Int = Annotated[int, AfterValidator(_int64)]
Float = Annotated[float, AfterValidator(_finite)]
Money = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    AvroType((("type", "bytes"), ("logicalType", "decimal"), ("precision", 21), ("scale", 2))),
]
"""Money in the currency of the deal, two decimals: docs/contracts/brusnika.md#types, ``price: bigint``."""
Micros = Annotated[int, BeforeValidator(_micros), AvroType((("type", "long"), ("logicalType", "timestamp-micros")))]
"""A moment: microseconds since the epoch, UTC."""
Texts = tuple[Text, ...]
Day = Annotated[str, AfterValidator(_day)]
"""A day of the calendar without a time zone, ``YYYY-MM-DD``, kept as it came."""
TimeOfDay = Annotated[str, AfterValidator(_minute)]
"""A time of day without a time zone, ``HH:mm``, kept as it came."""
DateText = Annotated[str, AfterValidator(_date_text)]
"""A date, with or without a time, in ISO 8601, kept as it came: a date of birth has no time zone."""
