"""Field maps: which field of an operator's model becomes which field of a record
(docs/contracts/rosdomofon.md#rest, docs/contracts/rosdomofon.md#messages)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from adapters.rosdomofon.address import Address
from schemas.fields import to_micros


class FieldSource(NamedTuple):
    """The source of a record's field in an operator's model."""

    path: str
    """Names of the model's attributes, with dots between."""
    convert: Callable[[Any], Any] = lambda value: value
    """Returns the record's value of a value that is not None; None clears the field."""


FieldMap = Mapping[str, FieldSource]
"""Sources by the record's field."""


def _money(value: float) -> Decimal:
    return Decimal(repr(value))  # the encoder rounds it, and refuses an amount out of range


def _number(flat: int | str) -> int | None:
    """Returns a flat's number; None for a text such as ``12А``, which only the address line shows."""
    return flat if isinstance(flat, int) else None


def _line(address: Address) -> str | None:
    return address.line() or None


def _ranges(ranges: list[Any]) -> tuple[str, ...]:
    return tuple(f"{r.flat_start}-{r.flat_end}" for r in ranges)


def as_json(value: Any) -> str:
    """Returns a value as JSON text; NaN and infinities, which JSON lacks, as strings."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:  # NaN or 1e999
        return json.dumps(json.loads(json.dumps(value), parse_constant=str), ensure_ascii=False)


ADDRESS: Final[FieldMap] = {
    "address": FieldSource("address", _line),
    "country": FieldSource("address.country.short_name"),
    "country_name": FieldSource("address.country.name"),
    "city": FieldSource("address.city"),
    "street_id": FieldSource("address.street.id"),
    "street": FieldSource("address.street.name"),
    "street_fias": FieldSource("address.street.code_fias"),
    "street_kladr": FieldSource("address.street.code_kladr"),
    "street_code": FieldSource("address.street.universal_code"),
    "house_id": FieldSource("address.house.id"),
    "house": FieldSource("address.house.number"),
    "block": FieldSource("address.house.block"),
    "building": FieldSource("address.house.building"),
    "housing": FieldSource("address.house.housing"),
    "entrance_ext_id": FieldSource("address.entrance.id", str),
    "entrance": FieldSource("address.entrance.number"),
    "flat": FieldSource("address.flat", _number),
}
ACCOUNT: Final[FieldMap] = {
    "number": FieldSource("number"),
    "abonent_ext_id": FieldSource("owner.id", str),
    "abonent_phone": FieldSource("owner.phone"),
    "abonent_resolved": FieldSource("owner.resolved"),
    "company_id": FieldSource("company.id"),
    "company": FieldSource("company.short_name"),
    "company_name": FieldSource("company.name"),
    "licensee": FieldSource("company.licensee_short"),
    "blocked": FieldSource("blocked"),
    "block_reason": FieldSource("block_reason"),
    "billing_available": FieldSource("billing_available"),
    "recurring_enabled": FieldSource("is_company_recurring_enabled"),
    "terms_of_use_link": FieldSource("terms_of_use_link"),
    "balance": FieldSource("balance.balance", _money),
    "balance_at": FieldSource("balance.balance_date", to_micros),
    "currency": FieldSource("balance.currency"),
    "payment_available": FieldSource("balance.is_payment_available"),
    "recommended_payment_at": FieldSource("balance.recommended_payment_date", to_micros),
    "recommended_payment": FieldSource("balance.recommended_payment_sum", _money),
    "show_banner": FieldSource("balance.show_banner"),
    "invoice_amount": FieldSource("invoice.amount", _money),
    "invoice_currency": FieldSource("invoice.currency"),
    "invoice_begin": FieldSource("invoice.date_begin"),
    "invoice_reminder": FieldSource("invoice.reminder_needed"),
    "invoice_uid": FieldSource("invoice.uid"),
    "recurring_status": FieldSource("recurring_payment.status"),
    "paid_until": FieldSource("paid_until"),
}
FLAT: Final[FieldMap] = {
    "account_ext_id": FieldSource("account_id", str),
    "abonent_ext_id": FieldSource("owner.id", str),
    "abonent_phone": FieldSource("owner.phone"),
    "virtual": FieldSource("virtual"),
    "blocked": FieldSource("blocked"),
    "entrance_first_flat": FieldSource("address.entrance.flat_start"),
    "entrance_last_flat": FieldSource("address.entrance.flat_end"),
    "entrance_more_flats": FieldSource("address.entrance.additional_flat_ranges", _ranges),
    **ADDRESS,
}
SERVICE: Final[FieldMap] = {
    "name": FieldSource("name"),
    "type": FieldSource("type"),
    "custom_name": FieldSource("custom_name"),
    "company_id": FieldSource("company_id"),
    "created_at": FieldSource("created_at", to_micros),
    "delegation_limit": FieldSource("delegation_tunings.limit"),
}
CONNECTION: Final[FieldMap] = {
    "account_ext_id": FieldSource("account.id", str),
    "flat_ext_id": FieldSource("flat.id", str),
    "service_ext_id": FieldSource("service.id", str),
    "service_type": FieldSource("service.type"),
    "blocked": FieldSource("blocked"),
    "currency": FieldSource("currency"),
    "tariff": FieldSource("tariff", _money),
    "delegation_limit": FieldSource("delegation_tunings.limit"),
}
MESSAGE: Final[FieldMap] = {
    "abonent_ext_id": FieldSource("from_abonent.id", str),
    "channel": FieldSource("channel"),
    "text": FieldSource("text"),
    "delivery_method": FieldSource("delivery_method"),
    "broadcast": FieldSource("broadcast"),
    "wait_response": FieldSource("wait_response"),
    "chat_id": FieldSource("chat_id"),
    "message_code": FieldSource("message_code"),
    "push_key": FieldSource("localized_push.message_key"),
    "push_args": FieldSource("localized_push.message_args", as_json),
    "sms_text": FieldSource("sms_message"),
    "image_url": FieldSource("image_url"),
}
HISTORY_MESSAGE: Final[FieldMap] = {
    "operator_message_id": FieldSource("id"),
    "abonent_ext_id": FieldSource("abonent.id", str),
    "abonent_phone": FieldSource("abonent.phone"),
    "channel": FieldSource("channel"),
    "text": FieldSource("message"),
    "said_at": FieldSource("message_date", to_micros),
}
SIGN_UP: Final[FieldMap] = {
    "abonent_ext_id": FieldSource("abonent.id", str),
    "abonent_phone": FieldSource("abonent.phone", str),
    "application_id": FieldSource("application.id"),
    "application": FieldSource("application.name"),
    "application_provider": FieldSource("application.provider"),
    "application_company_id": FieldSource("application.company_id"),
    "virtual": FieldSource("virtual"),
    "time_zone": FieldSource("time_zone"),
    "offer_signed": FieldSource("offer_signed"),
    "contract_number": FieldSource("contract_number"),
    "created_at": FieldSource("created_at", to_micros),
    "uid": FieldSource("uid"),
    **ADDRESS,
}
