"""RosDomofon's wire formats: camelCase names, phones, times (docs/contracts/rosdomofon.md#phones)."""

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
_PUNCTUATION: Final = re.compile(r"[\s().-]+")
MOST_ROUNDS: Final = 20
"""Rounds of `validate_leniently`; each removes all invalid parts on one level."""


class Wire(BaseModel):
    """Base of models of the operator's answers: unknown fields are kept, errors never show values."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", hide_input_in_errors=True, allow_inf_nan=False,
        coerce_numbers_to_str=True,
    )  # fmt: skip

    def wire(self) -> dict[str, Any]:
        """Return the document as the operator has it: its names, JSON's types."""
        return self.model_dump(mode="json", by_alias=True)

    def unknown(self) -> dict[str, Any]:
        """Return the fields that the models do not define, nested as in the document; items of a list by index."""
        found = dict(self.model_extra or {})
        for name, field in type(self).model_fields.items():
            if nested := _unknown(getattr(self, name)):
                found[field.alias or name] = nested
        return found


def _unknown(value: object) -> dict[str, Any]:
    if isinstance(value, list):
        return {str(index): nested for index, item in enumerate(value) if (nested := _unknown(item))}
    return value.unknown() if isinstance(value, Wire) else {}


class Request(Wire):
    """Base of models of requests: only known fields, each of its own type."""

    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=False)


W = TypeVar("W", bound=Wire)


def validate_leniently(
    model: type[W], document: Any, required: Collection[tuple[str, ...]] = ()
) -> tuple[W, dict[str, Any]]:
    """Return the valid parts of a document as a model, and the invalid parts, nested as in the document.

    Raises the first ValidationError if a ``required`` part is invalid, or one without which nothing is left.
    """
    invalid: dict[str, Any] = {}
    first: ValidationError | None = None
    for _ in range(MOST_ROUNDS):
        try:
            return model.model_validate(document), invalid
        except ValidationError as error:
            first = first or error
            if first is error:
                document = copy.deepcopy(document)
            details = error.errors(include_url=False, include_input=False)
            paths = {_existing(document, detail["loc"]) for detail in details}
            for path in sorted(paths, key=str, reverse=True):  # last items of a list first: the others keep their index
                if not path or path in required:
                    raise first from None
                if not any(other[: len(path)] == path for other in paths - {path}):
                    _move(document, path, invalid)
    raise first or RuntimeError("no round at all")


def _existing(document: Any, path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Returns the beginning of a path that exists in the document."""
    for depth, name in enumerate(path):
        if not _has(document, name):
            return path[:depth]
        document = document[name]
    return path


def _move(document: Any, path: tuple[int | str, ...], invalid: dict[str, Any]) -> None:
    """Moves the value at a path of the document to the same path of ``invalid``."""
    for name in path[:-1]:
        document, invalid = document[name], invalid.setdefault(_free(invalid, name), {})
    value = document.pop(path[-1])
    if value is not None:
        name = _free(invalid, path[-1])
        invalid[name] = merged(value, invalid[name]) if _both_maps(value, invalid.get(name)) else value


def _free(invalid: dict[str, Any], name: int | str) -> str:
    """Returns the name, or a longer one if another item of a list had that index before."""
    text = str(name)
    while text in invalid and not isinstance(invalid[text], dict):
        text += "'"
    return text


def _has(document: Any, name: int | str) -> bool:
    if isinstance(document, list):
        return isinstance(name, int) and name < len(document)
    return isinstance(document, dict) and name in document


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Returns both documents in one; where a name is in both, ``one`` wins and nested documents are merged."""
    both = {n: merged(one[n], other[n]) for n in one.keys() & other.keys() if _both_maps(one[n], other[n])}
    return {**other, **one, **both}


def _both_maps(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict)


def problems(error: ValidationError) -> str:
    """Returns which fields are invalid and why, without values: they may be a person's phone or text."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:5])


def mask(phone: object) -> str:
    """Returns a phone as logs may show it: ``7913*****67``."""
    text = str(phone)
    return f"{text[:4]}*****{text[-2:]}" if _PHONE.fullmatch(text) else "*"


def mask_phones(text: str) -> str:
    """Returns a text with all phones in it masked."""
    return _PHONE.sub(lambda found: mask(found[0]), text)


def is_foreign(phone: str) -> bool:
    """Returns whether digits are a phone in another form than the operator's."""
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
    """Returns a phone in any usual notation in the operator's form; of other countries all digits; None if unknown."""
    if value is None or (value == 0 and not isinstance(value, bool)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | str) or (isinstance(value, str) and len(value) > 40):
        raise ValueError(_ANY_FORM)
    text = _PUNCTUATION.sub("", str(value) if isinstance(value, str) or -(10**40) < value < 10**40 else "x")
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
        # The operator counts milliseconds, however small the number.
        try:
            return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)
        except (OverflowError, ValueError, OSError):
            raise ValueError("a time in milliseconds since the epoch") from None
    return value


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar, in another zone
        raise ValueError("a time of the years 1 to 9999") from None


def to_millis(moment: datetime) -> int:
    """Returns a time in milliseconds since the epoch."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


Phone = Annotated[str, BeforeValidator(_phone_text), AfterValidator(_checked)]
"""Phone of a REST request, eleven digits as text (docs/contracts/rosdomofon.md#phones); a number is taken too."""
KafkaPhone = Annotated[int, BeforeValidator(_phone_number), AfterValidator(_checked_or_none)]
"""Phone on Kafka, a whole number; 0 stands for the system or an unknown phone."""
AnyPhone = Annotated[str | None, BeforeValidator(_any_phone)]
"""Phone of any country in an answer: no answer is refused because of its phone."""
AnyNumber = Annotated[int | None, BeforeValidator(_any_number)]
"""Phone of any country on Kafka."""
Someone = Annotated[
    AnyPhone, PlainSerializer(lambda phone: int(phone or 0), return_type=int, when_used="json")
]  # fmt: skip
"""Phone of any country of an addressee in a REST answer; 0 on the wire if unknown."""
MaybePhone = Annotated[
    Phone | None,
    BeforeValidator(_unknown_phone),
    PlainSerializer(lambda phone: int(phone or 0), return_type=int, when_used="json"),
]
"""Phone of an addressee in a REST request: a whole number on the wire, 0 if unknown."""
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_utc)]
"""Time as ISO 8601 text or in milliseconds since the epoch; without a zone it is UTC."""
Millis = Annotated[Moment, PlainSerializer(to_millis, return_type=int, when_used="json")]
"""Time that the operator writes in milliseconds since the epoch."""
