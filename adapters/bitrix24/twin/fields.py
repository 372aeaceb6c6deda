"""The fields of a lead, and the form in which a portal keeps their values (docs/contracts/bitrix24.md#leads)."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from adapters.bitrix24.twin.texts import column

PORTAL_ZONE: Final = timezone(timedelta(hours=3))

_TYPES: Final = {
    "integer": "ID ADDRESS_LOC_ADDR_ID",
    "user": "ASSIGNED_BY_ID CREATED_BY_ID MODIFY_BY_ID MOVED_BY_ID LAST_ACTIVITY_BY",
    "crm_company": "COMPANY_ID",
    "crm_contact": "CONTACT_ID",
    "crm_status": "HONORIFIC SOURCE_ID STATUS_ID",
    "crm_currency": "CURRENCY_ID",
    "double": "OPPORTUNITY",
    "char": "IS_RETURN_CUSTOMER IS_MANUAL_OPPORTUNITY HAS_PHONE HAS_EMAIL HAS_IMOL OPENED",
    "date": "BIRTHDATE",
    "datetime": "DATE_CREATE DATE_MODIFY DATE_CLOSED MOVED_TIME LAST_ACTIVITY_TIME",
}
_TYPE_OF: Final = {name: kind for kind, names in _TYPES.items() for name in names.split()}

_FIELDS: Final = """
    ID TITLE HONORIFIC NAME SECOND_NAME LAST_NAME COMPANY_TITLE COMPANY_ID CONTACT_ID IS_RETURN_CUSTOMER BIRTHDATE
    SOURCE_ID SOURCE_DESCRIPTION STATUS_ID STATUS_DESCRIPTION POST COMMENTS CURRENCY_ID OPPORTUNITY
    IS_MANUAL_OPPORTUNITY HAS_PHONE HAS_EMAIL HAS_IMOL ASSIGNED_BY_ID CREATED_BY_ID MODIFY_BY_ID DATE_CREATE DATE_MODIFY
    DATE_CLOSED STATUS_SEMANTIC_ID OPENED ORIGINATOR_ID ORIGIN_ID MOVED_BY_ID MOVED_TIME ADDRESS ADDRESS_2 ADDRESS_CITY
    ADDRESS_POSTAL_CODE ADDRESS_REGION ADDRESS_PROVINCE ADDRESS_COUNTRY ADDRESS_COUNTRY_CODE ADDRESS_LOC_ADDR_ID
    UTM_SOURCE UTM_MEDIUM UTM_CAMPAIGN UTM_CONTENT UTM_TERM LAST_ACTIVITY_BY LAST_ACTIVITY_TIME"""
FIELDS: Final = tuple(_FIELDS.split())
"""Fields of a lead, in the order of crm.lead.get."""
MULTIFIELDS: Final = ("PHONE", "EMAIL", "WEB", "IM", "LINK")
_READ_ONLY: Final = """
    ID STATUS_SEMANTIC_ID HAS_PHONE HAS_EMAIL HAS_IMOL CREATED_BY_ID MODIFY_BY_ID MOVED_BY_ID DATE_CREATE DATE_MODIFY
    MOVED_TIME IS_RETURN_CUSTOMER DATE_CLOSED LAST_ACTIVITY_TIME LAST_ACTIVITY_BY"""
READ_ONLY: Final = frozenset(_READ_ONLY.split())
NUMBERS: Final = frozenset({"integer", "user", "crm_company", "crm_contact", "double"})
TIMES: Final = frozenset({"date", "datetime"})
_USER_FIELD: Final = re.compile(r"UF_[A-Z0-9_]{1,60}")
_STATUS_TYPES: Final = {"HONORIFIC": "HONORIFIC", "SOURCE_ID": "SOURCE", "STATUS_ID": "STATUS"}


def type_of(name: str) -> str:
    """Return the portal's name for the type of a field."""
    return "crm_multifield" if name in MULTIFIELDS else _TYPE_OF.get(name, "string")


def is_user_field(name: str) -> bool:
    """Return whether the portal's owner added a field: any ``UF_…`` here, as the documentation names none."""
    return _USER_FIELD.fullmatch(name) is not None


def is_scalar(name: str) -> bool:
    """Return whether a lead has this field, multi-fields aside."""
    return name in FIELDS or is_user_field(name)


def describe(name: str) -> dict[str, Any]:
    """Return the descriptor that crm.lead.fields answers."""
    described: dict[str, Any] = {
        "type": type_of(name),
        "isRequired": False,
        "isReadOnly": name in READ_ONLY,
        "isImmutable": False,
        "isMultiple": name in MULTIFIELDS,
        "isDynamic": is_user_field(name),
        "title": name,
    }
    if name in _STATUS_TYPES:
        described["statusType"] = _STATUS_TYPES[name]
    return described


def kept(name: str, value: Any) -> Any:
    """Return a value as a portal keeps it: as text, whatever came. A value that PHP can't read as a number is 0."""
    kind = type_of(name)
    if isinstance(value, dict | list):
        if is_user_field(name):
            return value
        value = ""
    if kind in NUMBERS:
        return _number(value, "double" if kind == "double" else "integer")
    if kind == "char":
        return "Y" if value in (True, "Y", "y", "1", 1, "true") else "N"
    if kind in TIMES:
        return moment(value)
    if value is None:
        return None
    text = ("1" if value else "") if isinstance(value, bool) else str(value)
    return text if is_user_field(name) else column(name, text)


def _number(value: Any, kind: str) -> str:
    try:
        number = Decimal(str(value).strip())
        if not number.is_finite() or number.adjusted() > 15:
            raise InvalidOperation
    except InvalidOperation:
        number = Decimal(0)
    return f"{number:.2f}" if kind == "double" else str(int(number))


def moment(value: Any) -> str:
    """Return a time in the portal's zone, in ISO 8601 to the second, so that text order is time order; empty if the
    value is not a time."""
    try:
        read = datetime.fromisoformat(str(value))
    except ValueError:
        return ""
    zoned = read if read.tzinfo else read.replace(tzinfo=PORTAL_ZONE)
    try:
        return zoned.astimezone(PORTAL_ZONE).isoformat(timespec="seconds")
    except OverflowError:
        return ""


def positive_int(value: Any) -> int | None:
    """Return an id as PHP takes it, a number or a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 and int(text) > 0 else None
