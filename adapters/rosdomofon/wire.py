"""How RosDomofon writes things: camelCase names, phones, moments (contracts §2)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel

_PHONE: Final = re.compile(r"7[0-9]{10}")
_PHONE_FORM: Final = "a phone in the form 79131234567"


class Wire(BaseModel):
    """What comes from the operator: unknown fields are kept, errors never show what came."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="allow", hide_input_in_errors=True, allow_inf_nan=False
    )

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
    """What we send: only known fields."""

    model_config = ConfigDict(extra="forbid")


def problems(error: ValidationError) -> str:
    """What is wrong and where, without the values, which may be somebody's phone or words."""
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:5])


def mask(phone: object) -> str:
    """A phone as logs may show it: ``7913*****67``."""
    text = str(phone)
    return f"{text[:4]}*****{text[-2:]}" if _PHONE.fullmatch(text) else "*"


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


def _moment(value: object) -> object:
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
"""Eleven digits as REST has them; a number that REST answers with is taken too (contracts §2, specs)."""
KnownPhone = Annotated[int, BeforeValidator(_phone_number), AfterValidator(_checked_number)]
"""The same as Kafka has it: a whole number."""
KafkaPhone = Annotated[int, BeforeValidator(_phone_number), AfterValidator(_checked_or_none)]
"""Kafka's, where 0 stands for the system or for a phone that is not known."""
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
