"""Records of Kounter from the operator's models, by the tables of `field_maps` (docs/contracts/rosdomofon.md).

A field that the operator leaves out keeps its value in the state; a field that it sends as null is cleared (`unset`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, TypeVar, cast

from adapters.rosdomofon import field_maps
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

R = TypeVar("R", bound=tuple[Any, ...])


_UNMAPPED: Final = ("to_abonents", "properties", "providers", "app_names", "localized_sms")
"""Fields of a message that have no field in the record: they are kept in ``extra``."""
_EMPTY: Final[tuple[Any, ...]] = (None, [], {})


def account_row(account: models.Account) -> Account:
    """Returns the record of an account. A list of accounts lacks balance and invoice, which then keep their values."""
    return _row(Account, str(account.id), account, field_maps.ACCOUNT)


def flat_row(flat: models.Flat | models.CreateFlatResponse) -> Flat:
    """Returns the record of a flat."""
    return _row(Flat, str(flat.id), flat, field_maps.FLAT)


def service_row(service: models.Service) -> Service:
    """Returns the record of a service."""
    return _row(Service, str(service.id), service, field_maps.SERVICE)


def connection_row(connection: models.Connection, account_id: int | None = None) -> Connection:
    """Returns the record of a connection.

    ``account_id``: the account whose connections were requested; the operator does not repeat it in each.
    """
    row = _row(Connection, str(connection.id), connection, field_maps.CONNECTION)
    return row if account_id is None else row._replace(account_ext_id=str(account_id))


def abonent_row(
    named: models.Owner | models.AbonentInfo | kafka_models.KafkaFromAbonent | kafka_models.SignUpAbonent,
    *,
    company: str | None = None,
    seen_at: int | None = None,
) -> Abonent:
    """Returns the record of an abonent that an account, a message or a sign-up names.

    ``company``: its short name; ``seen_at``: time of the message, microseconds since the epoch.
    """
    resolved = named.resolved if isinstance(named, models.Owner) else None
    company_id = named.company_id if isinstance(named, kafka_models.KafkaFromAbonent) else None
    return Abonent(str(named.id), str(named.phone) if named.phone else None, resolved, company, company_id, seen_at)


def message_row(message: kafka_models.KafkaIncomingMessage, said_at: int) -> Message:
    """Returns the record of an abonent's message on Kafka; topic, partition and offset are its id
    (docs/contracts/rosdomofon.md#kafka).

    ``said_at``: time of the Kafka record, microseconds since the epoch. Raises ValueError for a message without a
    place.
    """
    place = message.place
    if place is None:
        raise ValueError("a message without a place")
    has_unmapped = any(getattr(message, name) not in _EMPTY for name in _UNMAPPED)
    fields = message.wire() if has_unmapped else {}
    unmapped = {n: v for n, v in fields.items() if n in _unmapped_names(type(message)) and v not in _EMPTY}
    phone = message.from_abonent.phone
    ext_id = f"{message.from_abonent.id}/{'/'.join(map(str, place))}"
    return _row(Message, ext_id, message, field_maps.MESSAGE)._replace(
        direction=Direction.IN,
        origin=Origin.OPERATOR,
        company=place.company,
        abonent_phone=str(phone) if phone else None,
        source_topic=place.topic,
        source_partition=place.partition,
        source_offset=place.offset,
        said_at=said_at,
        extra=_extra(message, unmapped),
    )


def history_row(message: models.Message, abonent_id: int, company: str | None = None) -> Message:
    """Returns the record of a message of an abonent's history; its id there identifies it."""
    direction = None if message.incoming is None else Direction.IN if message.incoming else Direction.OUT
    row = _row(Message, f"{abonent_id}/history/{message.id}", message, field_maps.HISTORY_MESSAGE)
    return row._replace(
        direction=direction,
        origin=Origin.OPERATOR,
        company=company,
        abonent_ext_id=str(abonent_id),
        extra=_extra(message, {}),
    )


def sign_up_row(sign_up: kafka_models.SignUp) -> SignUp:
    """Returns the record of a sign-up. An unknown status, and a flat that is no number, are kept in ``extra``."""
    place, label = sign_up.place, sign_up.status
    status = next((s for s in SignUpStatus if label and s.label == label.lower()), None)
    flat = sign_up.address.flat if sign_up.address else None
    text_flat = {"address": {"flat": flat}} if isinstance(flat, str) else {}
    unknown_status = {"status": label} if label and not status else {}
    return _row(SignUp, str(sign_up.id), sign_up, field_maps.SIGN_UP)._replace(
        company=place.company if place else None,
        status=status,
        source_topic=place.topic if place else None,
        source_partition=place.partition if place else None,
        source_offset=place.offset if place else None,
        extra=_extra(sign_up, {**text_flat, **unknown_status}),
    )


def _row(cls: type[R], ext_id: str, model: Wire, fields: field_maps.FieldMap) -> R:
    values: dict[str, Any] = {}
    cleared: list[str] = []
    for name, source in fields.items():
        found, present = _find(model, source.path)
        value = None if found is None else source.convert(found)
        if value is not None:
            values[name] = value
        elif present:
            cleared.append(name)
    return cast(Callable[..., R], cls)(ext_id=ext_id, unset=tuple(cleared), **values)


def _find(model: Any, path: str) -> tuple[Any, bool]:
    """Returns the value at the path, and whether the operator sent that field at all."""
    for name in path.split("."):
        value = getattr(model, name)
        if value is None:
            return None, name in model.model_fields_set
        model = value
    return model, True


@cache
def _unmapped_names(model: type[Wire]) -> frozenset[str]:
    return frozenset(model.model_fields[name].alias or name for name in _UNMAPPED)


def _extra(model: Wire, unmapped: dict[str, Any]) -> str | None:
    """Returns as JSON all that the record has no field for."""
    invalid = model.invalid if isinstance(model, kafka_models.Received) else {}
    extra = merged(merged(invalid, model.unknown()), unmapped)
    return field_maps.as_json(extra) if extra else None
