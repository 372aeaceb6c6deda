"""Records of Kounter from what the operator says: one table of places for each record (docs/contracts/rosdomofon.md).

A field that the operator leaves out stays as it is in the state; one that it says to be null is cleared (`unset`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar, cast

from adapters.rosdomofon.address import Address
from adapters.rosdomofon.kafka import models as kafka_models
from adapters.rosdomofon.rest import models
from adapters.rosdomofon.wire import Wire, merged
from schemas.domofon import (
    Abonent,
    Account,
    Connection,
    Direction,
    Flat,
    Message,
    Origin,
    Service,
    SignUp,
    SignUpStatus,
)
from schemas.fields import to_micros

R = TypeVar("R", bound=tuple[Any, ...])


class _At(NamedTuple):
    """Where a field stands in a model, by our names with dots between, and what it becomes."""

    path: str
    to: Callable[[Any], Any] = lambda value: value


def _money(value: float) -> Decimal:
    return Decimal(repr(value))  # rounded where it is written, and refused there if it is too much


def _micros(moment: datetime) -> int:
    return to_micros(moment)


def _number(flat: int | str) -> int | None:
    """Of a flat; one such as ``12А`` stands in the address's line."""
    return flat if isinstance(flat, int) else None


def _line(address: Address) -> str | None:
    return address.line() or None


def _ranges(ranges: list[Any]) -> tuple[str, ...]:
    return tuple(f"{r.flat_start}-{r.flat_end}" for r in ranges)


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:  # NaN or 1e999, which no JSON holds: kept as text
        return json.dumps(json.loads(json.dumps(value), parse_constant=str), ensure_ascii=False)


_PLACE: Final = {
    "address": _At("address", _line),
    "country": _At("address.country.short_name"),
    "country_name": _At("address.country.name"),
    "city": _At("address.city"),
    "street_id": _At("address.street.id"),
    "street": _At("address.street.name"),
    "street_fias": _At("address.street.code_fias"),
    "street_kladr": _At("address.street.code_kladr"),
    "street_code": _At("address.street.universal_code"),
    "house_id": _At("address.house.id"),
    "house": _At("address.house.number"),
    "block": _At("address.house.block"),
    "building": _At("address.house.building"),
    "housing": _At("address.house.housing"),
    "entrance_ext_id": _At("address.entrance.id", str),
    "entrance": _At("address.entrance.number"),
    "flat": _At("address.flat", _number),
}
_ACCOUNT: Final = {
    "number": _At("number"),
    "abonent_ext_id": _At("owner.id", str),
    "abonent_phone": _At("owner.phone"),
    "abonent_resolved": _At("owner.resolved"),
    "company_id": _At("company.id"),
    "company": _At("company.short_name"),
    "company_name": _At("company.name"),
    "licensee": _At("company.licensee_short"),
    "blocked": _At("blocked"),
    "block_reason": _At("block_reason"),
    "billing_available": _At("billing_available"),
    "recurring_enabled": _At("is_company_recurring_enabled"),
    "terms_of_use_link": _At("terms_of_use_link"),
    "balance": _At("balance.balance", _money),
    "balance_at": _At("balance.balance_date", _micros),
    "currency": _At("balance.currency"),
    "payment_available": _At("balance.is_payment_available"),
    "recommended_payment_at": _At("balance.recommended_payment_date", _micros),
    "recommended_payment": _At("balance.recommended_payment_sum", _money),
    "show_banner": _At("balance.show_banner"),
    "invoice_amount": _At("invoice.amount", _money),
    "invoice_currency": _At("invoice.currency"),
    "invoice_begin": _At("invoice.date_begin"),
    "invoice_reminder": _At("invoice.reminder_needed"),
    "invoice_uid": _At("invoice.uid"),
    "recurring_status": _At("recurring_payment.status"),
    "paid_until": _At("paid_until"),
}
_FLAT: Final = {
    "account_ext_id": _At("account_id", str),
    "abonent_ext_id": _At("owner.id", str),
    "abonent_phone": _At("owner.phone"),
    "virtual": _At("virtual"),
    "blocked": _At("blocked"),
    "entrance_first_flat": _At("address.entrance.flat_start"),
    "entrance_last_flat": _At("address.entrance.flat_end"),
    "entrance_more_flats": _At("address.entrance.additional_flat_ranges", _ranges),
    **_PLACE,
}
_SERVICE: Final = {
    "name": _At("name"),
    "type": _At("type"),
    "custom_name": _At("custom_name"),
    "company_id": _At("company_id"),
    "created_at": _At("created_at", _micros),
    "delegation_limit": _At("delegation_tunings.limit"),
}
_CONNECTION: Final = {
    "account_ext_id": _At("account.id", str),
    "flat_ext_id": _At("flat.id", str),
    "service_ext_id": _At("service.id", str),
    "service_type": _At("service.type"),
    "blocked": _At("blocked"),
    "currency": _At("currency"),
    "tariff": _At("tariff", _money),
    "delegation_limit": _At("delegation_tunings.limit"),
}
_MESSAGE: Final = {
    "abonent_ext_id": _At("from_abonent.id", str),
    "channel": _At("channel"),
    "text": _At("text"),
    "delivery_method": _At("delivery_method"),
    "broadcast": _At("broadcast"),
    "wait_response": _At("wait_response"),
    "chat_id": _At("chat_id"),
    "message_code": _At("message_code"),
    "push_key": _At("localized_push.message_key"),
    "push_args": _At("localized_push.message_args", _json),
    "sms_text": _At("sms_message"),
    "image_url": _At("image_url"),
}
_SAID: Final = {
    "operator_message_id": _At("id"),
    "abonent_ext_id": _At("abonent.id", str),
    "abonent_phone": _At("abonent.phone"),
    "channel": _At("channel"),
    "text": _At("message"),
    "said_at": _At("message_date", _micros),
}
_SIGN_UP: Final = {
    "abonent_ext_id": _At("abonent.id", str),
    "abonent_phone": _At("abonent.phone", str),
    "application_id": _At("application.id"),
    "application": _At("application.name"),
    "application_provider": _At("application.provider"),
    "application_company_id": _At("application.company_id"),
    "virtual": _At("virtual"),
    "time_zone": _At("time_zone"),
    "offer_signed": _At("offer_signed"),
    "contract_number": _At("contract_number"),
    "created_at": _At("created_at", _micros),
    "uid": _At("uid"),
    **_PLACE,
}
_ELSEWHERE: Final = ("to_abonents", "properties", "providers", "app_names", "localized_sms")
"""Fields of a message that have no field of ours."""
_NOTHING: Final[tuple[Any, ...]] = (None, [], {})


def account_row(account: models.Account) -> Account:
    """An account; of a list without balance, invoice and the like, which stay as they are."""
    return _row(Account, str(account.id), account, _ACCOUNT)


def flat_row(flat: models.Flat | models.CreateFlatResponse) -> Flat:
    return _row(Flat, str(flat.id), flat, _FLAT)


def service_row(service: models.Service) -> Service:
    return _row(Service, str(service.id), service, _SERVICE)


def connection_row(connection: models.Connection, account_id: int | None = None) -> Connection:
    """``account_id``: of the account that was asked for its connections, which they do not name then."""
    row = _row(Connection, str(connection.id), connection, _CONNECTION)
    return row if account_id is None else row._replace(account_ext_id=str(account_id))


def abonent_row(
    who: models.Owner | models.AbonentInfo | kafka_models.KafkaFromAbonent | kafka_models.SignUpAbonent,
    *,
    company: str | None = None,
    seen_at: int | None = None,
) -> Abonent:
    """Whoever was named; ``seen_at`` in microseconds."""
    resolved = who.resolved if isinstance(who, models.Owner) else None
    company_id = who.company_id if isinstance(who, kafka_models.KafkaFromAbonent) else None
    return Abonent(str(who.id), str(who.phone) if who.phone else None, resolved, company, company_id, seen_at)


def message_row(message: kafka_models.KafkaIncomingMessage, said_at: int) -> Message:
    """What an abonent said on Kafka, known by its place. ``said_at``: the record's time in microseconds.

    Raises ValueError for a message that was not read from Kafka.
    """
    place = message.place
    if place is None:
        raise ValueError("a message without a place")
    said = any(getattr(message, name) not in _NOTHING for name in _ELSEWHERE)
    known = message.wire() if said else {}
    left = {n: v for n, v in known.items() if n in _aliases(type(message)) and v not in _NOTHING}
    phone = message.from_abonent.phone
    ext_id = f"{message.from_abonent.id}/{'/'.join(map(str, place))}"
    return _row(Message, ext_id, message, _MESSAGE)._replace(
        direction=Direction.IN,
        origin=Origin.OPERATOR,
        company=place.company,
        abonent_phone=str(phone) if phone else None,
        source_topic=place.topic,
        source_partition=place.partition,
        source_offset=place.offset,
        said_at=said_at,
        extra=_extra(message, left),
    )


def said_row(message: models.Message, abonent_id: int, company: str | None = None) -> Message:
    """A message of an abonent's history at the operator, known by its id there."""
    direction = None if message.incoming is None else Direction.IN if message.incoming else Direction.OUT
    row = _row(Message, f"{abonent_id}/history/{message.id}", message, _SAID)
    return row._replace(
        direction=direction,
        origin=Origin.OPERATOR,
        company=company,
        abonent_ext_id=str(abonent_id),
        extra=_extra(message, {}),
    )


def sign_up_row(sign_up: kafka_models.SignUp) -> SignUp:
    """A sign-up, known by its id; a status that we do not know is kept in ``extra``."""
    place, label = sign_up.place, sign_up.status
    known = next((s for s in SignUpStatus if label and s.label == label.lower()), None)
    flat = sign_up.address.flat if sign_up.address else None
    kept = {"address": {"flat": flat}} if isinstance(flat, str) else {}
    more = {"status": label} if label and not known else {}
    return _row(SignUp, str(sign_up.id), sign_up, _SIGN_UP)._replace(
        company=place.company if place else None,
        status=known,
        source_topic=place.topic if place else None,
        source_partition=place.partition if place else None,
        source_offset=place.offset if place else None,
        extra=_extra(sign_up, {**kept, **more}),
    )


def _row(cls: type[R], ext_id: str, model: Wire, fields: Mapping[str, _At]) -> R:
    values: dict[str, Any] = {}
    cleared: list[str] = []
    for name, at in fields.items():
        value, said = _find(model, at.path)
        ours = None if value is None else at.to(value)
        if ours is not None:
            values[name] = ours
        elif said:
            cleared.append(name)
    return cast(Callable[..., R], cls)(ext_id=ext_id, unset=tuple(cleared), **values)


def _find(model: Any, path: str) -> tuple[Any, bool]:
    """The value, and whether the operator says anything of it."""
    for name in path.split("."):
        value = getattr(model, name)
        if value is None:
            return None, name in model.model_fields_set
        model = value
    return model, True


@cache
def _aliases(of: type[Wire]) -> frozenset[str]:
    return frozenset(of.model_fields[name].alias or name for name in _ELSEWHERE)


def _extra(model: Wire, more: dict[str, Any]) -> str | None:
    aside = model.aside if isinstance(model, kafka_models.Received) else {}
    left = merged(merged(aside, model.unknown()), more)
    return _json(left) if left else None
