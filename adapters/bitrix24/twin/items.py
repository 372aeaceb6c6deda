"""The methods crm.item.* of the twin: the same leads in the universal API, camelCase and typed, with entityTypeId 1
only (docs/contracts/bitrix24.md#items)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from adapters.bitrix24.twin.errors import RestError
from adapters.bitrix24.twin.fields import FIELDS, NUMBERS, READ_ONLY, describe, is_user_field, positive_int, type_of
from adapters.bitrix24.twin.filter import split_prefix
from adapters.bitrix24.twin.leads import Doc
from adapters.bitrix24.twin.methods import Answer, Crm, Method, Params, list_of, map_of, start_of

LEAD: Final = 1
_OTHER_NAMES: Final = {
    "STATUS_ID": "stageId",
    "STATUS_SEMANTIC_ID": "stageSemanticId",
    "DATE_CREATE": "createdTime",
    "DATE_MODIFY": "updatedTime",
    "CREATED_BY_ID": "createdBy",
    "MODIFY_BY_ID": "updatedBy",
    "MOVED_BY_ID": "movedBy",
}


def item_name(name: str) -> str:
    """Return a field's name in this API: ``originId`` for ``ORIGIN_ID``, ``ufCrm_17`` for ``UF_CRM_17``."""
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    if is_user_field(name):
        return "ufCrm_" + name.removeprefix("UF_CRM_")
    first, *rest = name.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


ITEM_NAMES: Final = {name: item_name(name) for name in FIELDS}
_FIELD_NAMES: Final = {item: name for name, item in ITEM_NAMES.items()}


def field_name(item: str) -> str | None:
    """Return a field's name in the old API; None if a lead has no such field."""
    if found := re.fullmatch(r"ufCrm_?([A-Za-z0-9_]{1,50})", item):
        return "UF_CRM_" + found[1].upper()
    return _FIELD_NAMES.get(item)


def item_add(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": {"item": {…}}}``. Raises RestError."""
    _check_type(params)
    fields = _lead_fields(crm, map_of(params, "fields"))
    multis = map_of(params, "fields").get("fm")
    lead_id = crm.leads.add(fields | _multifields(_numbered(multis)))
    return Answer({"item": _item(crm, crm.leads.doc(lead_id))})


def item_update(crm: Crm, params: Params) -> Answer:
    """Change a lead. Phones come as a map: a numeric key is an id to change or delete, any other adds.

    Raises RestError.
    """
    lead_id = _item_id(crm, params)
    fields = _lead_fields(crm, map_of(params, "fields"))
    multis = map_of(params, "fields").get("fm")
    crm.leads.update(lead_id, fields | _multifields(multis if isinstance(multis, dict) else _numbered(multis)))
    return Answer({"item": _item(crm, crm.leads.doc(lead_id))})


def item_get(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": {"item": {…}}}``. Raises RestError."""
    return Answer({"item": _item(crm, crm.leads.doc(_item_id(crm, params)))})


def item_delete(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": []}``. Raises RestError."""
    crm.leads.delete(_item_id(crm, params))
    return Answer([])


def item_list(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": {"items": […]}}``. Raises RestError, unlike the old API for unknown fields as well."""
    _check_type(params)
    wanted = {}
    for key, value in map_of(params, "filter").items():
        prefix, item = split_prefix(str(key))
        wanted[prefix + _known(item, "filter")] = value
    order = {_known(str(k), "order"): v for k, v in map_of(params, "order").items()}
    page = crm.leads.find(wanted, order, start_of(params))
    select = {str(n) for n in list_of(params.get("select"))} - {"*"}
    items = [_item(crm, doc) for doc in page.docs]
    if select:
        items = [{n: v for n, v in item.items() if n in select or n == "id"} for item in items]
    return Answer({"items": items}, page.total, page.next)


def item_fields(crm: Crm, params: Params) -> Answer:
    """Answer the descriptors by the item's names. Raises RestError."""
    _check_type(params)
    fields = {item: {**describe(name), "upperName": name} for name, item in ITEM_NAMES.items()}
    return Answer({"fields": fields})


ITEM_METHODS: Final[dict[str, Method]] = {
    "crm.item.add": item_add,
    "crm.item.update": item_update,
    "crm.item.get": item_get,
    "crm.item.delete": item_delete,
    "crm.item.list": item_list,
    "crm.item.fields": item_fields,
}


def _check_type(params: Params) -> None:
    if positive_int(params.get("entityTypeId")) != LEAD:
        raise RestError("NOT_FOUND", "Смарт-процесс не найден")


def _item_id(crm: Crm, params: Params) -> int:
    _check_type(params)
    lead_id = positive_int(params.get("id"))
    if lead_id is not None:
        try:
            crm.leads.doc(lead_id)
        except RestError:
            lead_id = None
    if lead_id is None:
        raise RestError("NOT_FOUND", "Элемент не найден")
    return lead_id


def _known(item: str, where: str) -> str:
    name = field_name(item)
    if name is None:
        raise RestError("INVALID_ARG_VALUE", f"Invalid {where}: field '{item[:40]}' is not allowed in {where}")
    return name


def _lead_fields(crm: Crm, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields by the lead's names; unknown ones are ignored. Raises RestError for an unknown stage."""
    named = {name: value for item, value in fields.items() if (name := field_name(str(item)))}
    if "STATUS_ID" in named:
        sql = "SELECT 1 FROM statuses WHERE entity_id = 'STATUS' AND status_id = ?"
        if not crm.store.row(sql, str(named["STATUS_ID"])):
            raise RestError("CRM_FIELD_ERROR_VALUE_NOT_VALID", 'Неверное значение поля "stageId"')
    return {name: value for name, value in named.items() if name not in READ_ONLY}


def _numbered(multis: Any) -> dict[str, Any]:
    if multis is None:
        return {}
    if not isinstance(multis, list | dict):
        raise RestError("100", f"Expected iterable value for multiple field, but got {type(multis).__name__} instead")
    return {f"n{n}": one for n, one in enumerate(list_of(multis))}


def _multifields(multis: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return multi-fields as the old API has them. An entry without ``typeId`` does nothing, and yet succeeds."""
    found: dict[str, list[dict[str, Any]]] = {}
    for key, one in multis.items():
        if not isinstance(one, dict) or not one.get("typeId"):
            continue
        item = {"VALUE": one.get("value"), "VALUE_TYPE": one.get("valueType")}
        if str(key).isdecimal():
            item["ID"] = str(key)
        found.setdefault(str(one["typeId"]), []).append(item)
    return found


def _item(crm: Crm, doc: Doc) -> dict[str, Any]:
    item = {item_name(name): _typed(name, value) for name, value in doc.items()}
    item["fm"] = [
        {"id": int(one["ID"]), "valueType": one["VALUE_TYPE"], "value": one["VALUE"], "typeId": one["TYPE_ID"]}
        for ones in crm.leads.multifields(int(doc["ID"])).values()
        for one in ones
    ]
    return {**item, "entityTypeId": LEAD}


def _typed(name: str, value: Any) -> Any:
    """Return a value in this API's type: numbers are numbers, an empty time is null."""
    kind = type_of(name)
    if value is None or (value == "" and kind in ("date", "datetime")):
        return None
    if kind in NUMBERS:
        number = Decimal(value)
        return int(number) if number == int(number) else float(number)
    return value
