"""Models of the requests that the twin takes by REST and Kafka (docs/contracts/rosdomofon.md#rest). They are apart from
the client's: a mistake that both shared would pass every test."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

Id = Annotated[int, Field(ge=0, lt=2**63)]
Text = Annotated[str, Field(min_length=1, max_length=65_536)]


def _whole(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 20 else value


Phone = Annotated[int, BeforeValidator(_whole), Field(ge=70_000_000_000, le=79_999_999_999)]
"""Eleven digits, the first a 7, as text or as a number (docs/contracts/rosdomofon.md#phones)."""
NoPhone = Annotated[Literal[0] | Phone | None, Field(union_mode="left_to_right")]
"""A phone; 0 or null if it is unknown."""


class Taken(BaseModel):
    """Base of the models: only known fields, each of its own type."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False
    )


class NewAccount(Taken):
    """Body of ``POST /accounts``."""

    number: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
    phone: Phone


class NewFlat(Taken):
    """Body of ``POST /flats``; ``entranceId`` is text on the wire, unlike all other ids."""

    abonent_id: Id | None = None
    entrance_id: Annotated[int, BeforeValidator(_whole), Field(ge=0, lt=10**19)]
    flat_number: Annotated[str, Field(min_length=1, max_length=32)]
    virtual: bool = False


class NewConnection(Taken):
    """Body of ``POST /services/{id}/connections``."""

    flat_id: Id
    account_id: Id | None = None


class Addressee(Taken):
    """An addressee of a message by REST."""

    id: Id
    phone: NoPhone = None


class NewMessage(Taken):
    """Body of ``POST /messages``."""

    to_abonents: Annotated[list[Addressee], Field(min_length=1)]
    channel: Literal["support", "notification"] = "support"
    message: Text
    delivery_method: Text = "push"
    broadcast: bool = False


class SignUpChange(Taken):
    """Body of ``PATCH …/v2/sign_ups/{id}``."""

    status: Literal["unprocessed", "processed", "connected", "delegated", "rejected"] | None = None
    is_virtual: bool | None = None
    rejected_reason: Text | None = None


class KafkaAddressee(Taken):
    """An addressee of a message on Kafka."""

    company_id: int | None
    id: int
    phone: Literal[0] | Phone


class KafkaSender(KafkaAddressee):
    """The sender of a message on Kafka."""

    restriction_push_token_ids: list[Any] | None


class Push(Taken):
    """The push of a message on Kafka."""

    message: Text | None
    message_key: Text | None
    message_args: Any


class KafkaMessage(Taken):
    """A record of ``MESSAGES_OUT_<company>``: every field must be there, even if it is null."""

    channel: Text
    delivery_method: Text
    from_abonent: KafkaSender | None
    message: Text
    to_abonents: Annotated[list[KafkaAddressee], Field(min_length=1)]
    localized_push: Push | None
