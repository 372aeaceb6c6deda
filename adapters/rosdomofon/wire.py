"""How RosDomofon writes things: camelCase names, phones, moments (docs/contracts/rosdomofon.md#phones)."""

from __future__ import annotations

import copy
import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel

from schemas.fields import is_id

_PHONE: Final = re.compile(r"7[0-9]{10}")
_PHONE_FORM: Final = "a phone in the form 79131234567"
_ANY_FORM: Final = "a phone of 7 to 15 digits"
_BETWEEN: Final = re.compile(r"[\s().-]+")
MOST_ROUNDS: Final = 20
"""Each sets aside all that is wrong on one level."""


class Wire(BaseModel):
    """What comes from the operator: unknown fields are kept, errors never show what came."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", hide_input_in_errors=True, allow_inf_nan=False,
        coerce_numbers_to_str=True,
    )  # fmt: skip

    def wire(self) -> dict[str, Any]:
        """As the outside has it: its names, JSON's types."""
        return self.model_dump(mode="json", by_alias=True)

    def unknown(self) -> dict[str, Any]:
        """The fields that no model of ours knows, in their places."""
        found = dict(self.model_extra or {})
        for name, field in type(self).model_fields.items():
            if deeper := _unknown(getattr(self, name)):
                found[field.alias or name] = deeper
        return found


def _unknown(value: object) -> dict[str, Any]:
    if isinstance(value, list):
        return {str(place): deeper for place, item in enumerate(value) if (deeper := _unknown(item))}
    return value.unknown() if isinstance(value, Wire) else {}


class Request(Wire):
    """What we send: only known fields, each of its own type."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=False)


W = TypeVar("W", bound=Wire)


def leniently(kind: type[W], came: Any, vital: Collection[tuple[str, ...]] = ()) -> tuple[W, dict[str, Any]]:
    """What of a document can be read, and in its places what had to be set aside for that.

    Raises the first ValidationError where a ``vital`` part, or one without which nothing is left, can't be read.
    """
    aside: dict[str, Any] = {}
    first: ValidationError | None = None
    for _ in range(MOST_ROUNDS):
        try:
            return kind.model_validate(came), aside
        except ValidationError as error:
            first = first or error
            if first is error:
                came = copy.deepcopy(came)
            places = {_innermost(came, wrong["loc"]) for wrong in error.errors(include_url=False, include_input=False)}
            for place in sorted(places, key=str, reverse=True):  # of a list the last first: the others keep theirs
                if not place or place in vital:
                    raise first from None
                if not any(other[: len(place)] == place for other in places - {place}):
                    _set_aside(came, place, aside)
    raise first or RuntimeError("no round at all")


def _innermost(came: Any, loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """How far the way to a place leads in what came."""
    for depth, name in enumerate(loc):
        if not _has(came, name):
            return loc[:depth]
        came = came[name]
    return loc


def _set_aside(came: Any, place: tuple[int | str, ...], aside: dict[str, Any]) -> None:
    for name in place[:-1]:
        came, aside = came[name], aside.setdefault(_free(aside, name), {})
    value = came.pop(place[-1])
    if value is not None:
        name = _free(aside, place[-1])
        aside[name] = merged(value, aside[name]) if _both_maps(value, aside.get(name)) else value


def _free(aside: dict[str, Any], name: int | str) -> str:
    """The name, or a longer one where another item of a list had that place before."""
    text = str(name)
    while text in aside and not isinstance(aside[text], dict):
        text += "'"
    return text


def _has(inner: Any, name: int | str) -> bool:
    if isinstance(inner, list):
        return isinstance(name, int) and name < len(inner)
    return isinstance(inner, dict) and name in inner


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both, where they have parts in common."""
    both = {n: merged(one[n], other[n]) for n in one.keys() & other.keys() if _both_maps(one[n], other[n])}
    return {**other, **one, **both}


def _both_maps(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def problems(error: ValidationError) -> str:
    """What is wrong and where, without the values, which may be somebody's phone or words."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:5])


def mask(phone: object) -> str:
    """A phone as logs may show it: ``7913*****67``."""
    text = str(phone)
    return f"{text[:4]}*****{text[-2:]}" if _PHONE.fullmatch(text) else "*"


def is_foreign(phone: str) -> bool:
    """Whether digits are a phone, though not of the operator's form."""
    return 7 <= len(phone) <= 15 and not _PHONE.fullmatch(phone)


def _phone_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked(phone: str) -> str:
    if not _PHONE.fullmatch(phone):
        raise ValueError(_PHONE_FORM)
    return phone


def _phone_number(value: object) -> object:
    if isinstance(value, str) and _PHONE.fullmatch(value):
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(_PHONE_FORM)
    return value


def _checked_number(phone: int) -> int:
    _checked(str(phone))
    return phone


def _checked_or_none(phone: int) -> int:
    return _checked_number(phone) if phone else 0


def _unknown_phone(value: object) -> object:
    return None if value in (0, "0", "") and not isinstance(value, bool) else value


def _any_phone(value: object) -> str | None:
    """A phone as anybody may write it, in the operator's form; of other countries all digits, None for "not known"."""
    if value is None or (value == 0 and not isinstance(value, bool)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, str) and len(value) > 40):
        raise ValueError(_ANY_FORM)
    text = _BETWEEN.sub("", str(value) if isinstance(value, str) or -(10**40) < value < 10**40 else "x")
    digits = text.removeprefix("+")
    if text.startswith("00"):
        digits, text = digits[2:], "+"
    if not digits.strip("0") and digits == digits.strip("123456789"):
        return None
    if not (digits.isascii() and digits.isdigit() and 7 <= len(digits) <= 15):
        raise ValueError(_ANY_FORM)
    if not text.startswith("+") and len(digits) == 11 and digits.startswith("8"):
        return f"7{digits[1:]}"
    return f"7{digits}" if not text.startswith("+") and len(digits) == 10 else digits


def _any_number(value: object) -> int | None:
    phone = _any_phone(value)
    return None if phone is None else int(phone)


def _moment(value: object) -> object:
    if isinstance(value, str) and is_id(value.strip()):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        # The operator counts milliseconds, whatever their size.
        try:
            return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)
        except (OverflowError, ValueError, OSError):
            raise ValueError("milliseconds of a moment") from None
    return value


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:  # the first or the last day of all, in another zone
        raise ValueError("a moment of the years 1 to 9999") from None


def to_millis(moment: datetime) -> int:
    """Milliseconds since the epoch."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


Phone = Annotated[str, BeforeValidator(_phone_text), AfterValidator(_checked)]
"""Eleven digits as REST has them; a number that REST answers with is taken too
(docs/contracts/rosdomofon.md#phones)."""
KnownPhone = Annotated[int, BeforeValidator(_phone_number), AfterValidator(_checked_number)]
"""The same as Kafka has it: a whole number."""
KafkaPhone = Annotated[int, BeforeValidator(_phone_number), AfterValidator(_checked_or_none)]
"""Kafka's, where 0 stands for the system or for a phone that is not known."""
AnyPhone = Annotated[str | None, BeforeValidator(_any_phone)]
"""Whatever the operator answers with, of any country: nothing whole is refused for its phone."""
AnyNumber = Annotated[int | None, BeforeValidator(_any_number)]
"""The same where it stands on Kafka."""
Someone = Annotated[
    AnyPhone, PlainSerializer(lambda phone: int(phone or 0), return_type=int, when_used="json")
]  # fmt: skip
"""The same of an addressee in REST, who has 0 where none is known."""
MaybePhone = Annotated[
    Phone | None,
    BeforeValidator(_unknown_phone),
    PlainSerializer(lambda phone: int(phone or 0), return_type=int, when_used="json"),
]
"""An addressee's in REST: a whole number on the wire, 0 where it is not known."""
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_utc)]
"""Text of ISO 8601 or milliseconds; without a zone it is UTC."""
Millis = Annotated[Moment, PlainSerializer(to_millis, return_type=int, when_used="json")]
"""A moment that the operator writes in milliseconds."""
