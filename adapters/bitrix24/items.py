"""A portal's leads by ``crm.item.*``, the API that stays: it has other names and types, and phones in ``fm``
(docs/contracts/bitrix24.md#items).

Callers use the names of the old API, which this module translates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.bitrix24.leads import (
    SCALARS,
    BadLead,
    LeadApi,
    Leads,
    PortalLead,
    found,
    heeded,
    number,
    read_lead,
    read_row,
)
from adapters.bitrix24.rest.answers import rows
from adapters.bitrix24.rest.client import Bitrix24Client
from schemas.errors import OutcomeUnknown

LEAD: Final = 1
"""entityTypeId"""
_OTHER_NAMES: Final = {"STATUS_ID": "stageId", "DATE_CREATE": "createdTime", "DATE_MODIFY": "updatedTime"}
_PREFIX: Final = re.compile(r"[^A-Z]*")


class Items:
    """``crm.item.*`` of leads; see `leads.LeadApi`."""

    def __init__(self, portal: Bitrix24Client) -> None:
        self._portal = portal

    async def find(self, originator: str, origin: str) -> int | None:
        """See LeadApi. The portal ignores case, so the origins are compared again here. Raises DeliveryError."""
        listed = await self._rows(
            {"=ORIGINATOR_ID": originator, "=ORIGIN_ID": origin}, {"ID": "ASC"}, ("ID", "ORIGIN_ID")
        )
        return found("crm.item.list", listed, "id", "originId", origin)

    async def add(self, fields: Mapping[str, Any]) -> int:
        """See LeadApi. Raises DeliveryError."""
        phones = fields.get("PHONE", ())
        item = _scalars(fields) | ({"fm": [_multi(phone) for phone in phones]} if phones else {})
        reply = await self._portal.call("crm.item.add", {"entityTypeId": LEAD, "fields": item})
        return number(_item(reply.result).get("id"))

    async def update(self, lead_id: int, fields: Mapping[str, Any]) -> None:
        """See LeadApi. Here ``fm`` is a map: its key is a phone's id, or ``n0``, ``n1``… for a new one.

        Raises DeliveryError.
        """
        phones = {str(phone.get("ID", f"n{n}")): _multi(phone) for n, phone in enumerate(fields.get("PHONE", ()))}
        item = _scalars(fields) | ({"fm": phones} if phones else {})
        reply = await self._portal.call("crm.item.update", {"entityTypeId": LEAD, "id": lead_id, "fields": item})
        if not _item(reply.result):
            raise OutcomeUnknown("crm.item.update: the portal's answer is not a success")

    async def get(self, lead_id: int) -> PortalLead:
        """See LeadApi. Raises DeliveryError."""
        reply = await self._portal.call("crm.item.get", {"entityTypeId": LEAD, "id": lead_id})
        return read_lead(_as_lead(_item(reply.result)))

    async def page(self, wanted: Mapping[str, Any], order: Mapping[str, str]) -> list[PortalLead | BadLead]:
        """See LeadApi. Raises DeliveryError."""
        listed = await self._rows(wanted, order, SCALARS, "fm")
        return heeded("crm.item.list", [read_row(_as_lead(item)) for item in listed], wanted)

    async def _rows(
        self, wanted: Mapping[str, Any], order: Mapping[str, str], select: Sequence[str], *more: str
    ) -> list[Mapping[str, Any]]:
        params = {
            "entityTypeId": LEAD,
            "filter": {_filter_name(key): value for key, value in wanted.items()},
            "order": {_name(key): direction for key, direction in order.items()},
            "select": [*map(_name, select), *more],
            "start": -1,
        }
        reply = await self._portal.call("crm.item.list", params)
        return rows("crm.item.list", reply.result.get("items") if isinstance(reply.result, Mapping) else None)


def lead_api(portal: Bitrix24Client) -> LeadApi:
    """Return the API that the client's settings name."""
    return Items(portal) if portal.api == "item" else Leads(portal)


def _name(field: str) -> str:
    """Return the new API's name of a field: ``originId`` for ``ORIGIN_ID``."""
    first, *rest = field.lower().split("_")
    return _OTHER_NAMES.get(field) or first + "".join(word.capitalize() for word in rest)


def _filter_name(key: str) -> str:
    prefix = _PREFIX.match(key)
    end = prefix.end() if prefix else 0
    return key[:end] + _name(key[end:])


def _scalars(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {_name(field): value for field, value in fields.items() if field != "PHONE"}


def _multi(phone: Mapping[str, Any]) -> dict[str, str]:
    """Return a phone for ``fm``. Without ``typeId`` the portal answers success and does nothing."""
    return {"typeId": "PHONE", "valueType": phone["VALUE_TYPE"], "value": phone["VALUE"]}


def _item(result: Any) -> Mapping[str, Any]:
    """Return the item of an answer; an empty one if there is none."""
    item = result.get("item") if isinstance(result, Mapping) else None
    return item if isinstance(item, Mapping) else {}


def _as_lead(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as the old API would show it. Raises Unreadable."""
    phones = [
        {"ID": one.get("id"), "VALUE": one.get("value"), "VALUE_TYPE": one.get("valueType")}
        for one in rows("lead", item.get("fm") or [])
        if one.get("typeId") == "PHONE"
    ]
    return {field: item[_name(field)] for field in SCALARS if _name(field) in item} | {"PHONE": phones}
