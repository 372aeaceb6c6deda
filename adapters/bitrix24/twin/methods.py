"""The REST methods of the twin except crm.item.*: leads (old API), stages, contacts, timeline
(docs/contracts/bitrix24.md#calls)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from adapters.bitrix24.twin.errors import RestError, system_error
from adapters.bitrix24.twin.fields import FIELDS, MULTIFIELDS, describe, is_user_field, positive_int
from adapters.bitrix24.twin.leads import PAGE, Doc, Leads
from adapters.bitrix24.twin.store import TwinStore
from adapters.bitrix24.twin.timeline import Timeline


class Answer(NamedTuple):
    """An answer; the result of a list has ``total`` and ``next``."""

    result: Any
    total: int | None = None
    next: int | None = None


class Crm(NamedTuple):
    """The state on which methods work."""

    store: TwinStore
    leads: Leads
    timeline: Timeline


Params = Mapping[str, Any]
Method = Callable[[Crm, Params], Answer]


def lead_add(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": 3465}``. Raises RestError."""
    return Answer(crm.leads.add(map_of(params, "fields")))


def lead_update(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": true}``. Raises RestError."""
    lead_id = _lead_id(params)
    crm.leads.update(lead_id, map_of(params, "fields"))
    return Answer(True)


def lead_delete(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": true}``. Raises RestError."""
    crm.leads.delete(_lead_id(params))
    return Answer(True)


def lead_get(crm: Crm, params: Params) -> Answer:
    """Answer a lead, with all values as texts; a multi-field exists only if it has values. Raises RestError."""
    lead_id = _lead_id(params)
    return Answer(crm.leads.doc(lead_id) | crm.leads.multifields(lead_id))


def lead_list(crm: Crm, params: Params) -> Answer:
    """Answer 50 leads a page, with user fields and multi-fields only if they are selected by name. Raises RestError."""
    page = crm.leads.find(map_of(params, "filter"), map_of(params, "order"), start_of(params))
    select = [str(name) for name in list_of(params.get("select"))] or ["*"]
    return Answer([_selected(crm, doc, select) for doc in page.docs], page.total, page.next)


def _selected(crm: Crm, doc: Doc, select: list[str]) -> Doc:
    whole, users = "*" in select, "UF_*" in select
    row = {
        name: value
        for name, value in doc.items()
        if name == "ID" or name in select or (users if is_user_field(name) else whole)
    }
    if any(name in MULTIFIELDS for name in select):
        has = crm.leads.multifields(int(doc["ID"]))
        row |= {name: has[name] for name in MULTIFIELDS if name in select and name in has}
    return row


def lead_fields(crm: Crm, params: Params) -> Answer:
    """Answer the descriptors of all fields."""
    return Answer({name: describe(name) for name in (*FIELDS, *MULTIFIELDS)})


def status_list(crm: Crm, params: Params) -> Answer:
    """Answer the stages (ENTITY_ID=STATUS) and sources. Raises RestError."""
    wanted = {str(k).lstrip("="): v for k, v in map_of(params, "filter").items()}
    rows = [
        {
            "ID": str(row["id"]),
            "ENTITY_ID": row["entity_id"],
            "STATUS_ID": row["status_id"],
            "NAME": row["name"],
            "NAME_INIT": row["name"] if row["system"] == "Y" else "",
            "SORT": str(row["sort"]),
            "SYSTEM": row["system"],
            "CATEGORY_ID": None,
            "COLOR": None,
            "SEMANTICS": row["semantics"],
        }
        for row in crm.store.rows("SELECT * FROM statuses ORDER BY entity_id, sort")
    ]
    rows = [r for r in rows if all(r[k] in (v if isinstance(v, list) else [v]) for k, v in wanted.items() if k in r)]
    return Answer(rows, len(rows))


def find_by_contact(crm: Crm, params: Params) -> Answer:
    """Answer ``{"LEAD": [1]}``, or ``[]`` where PHP has an empty map. Raises RestError."""
    kind = str(params.get("type") or "")
    if not kind:
        raise RestError("Communication type is not defined", "Parameter 'type' is required.")
    if kind not in ("PHONE", "EMAIL"):
        raise RestError("", f"Communication type '{kind[:20]}' is not supported in current context")
    values = [str(v) for v in list_of(params.get("values"))]
    if not values:
        raise RestError("", "Communication values is not defined")
    if str(params.get("entity_type") or "LEAD") != "LEAD":
        return Answer([])  # the twin has leads only
    found = crm.leads.with_contact(kind, values[:20])
    return Answer({"LEAD": found} if found else [])


def mode_get(crm: Crm, params: Params) -> Answer:
    """Answer 1 for a portal with leads, 2 for a simple CRM."""
    return Answer(2 if crm.leads.simple_mode else 1)


def profile(crm: Crm, params: Params) -> Answer:
    """Answer the webhook's user, who has another name in each twin, so that two of them differ."""
    name = f"Twin {crm.store.noted('twin')}"
    user = {"ID": "1", "ADMIN": True, "NAME": "Kounter", "LAST_NAME": name, "PERSONAL_GENDER": "", "TIME_ZONE": ""}
    return Answer(user)


def comment_add(crm: Crm, params: Params) -> Answer:
    """Answer ``{"result": 999}``. Raises RestError."""
    return Answer(crm.timeline.add(map_of(params, "fields")))


def comment_get(crm: Crm, params: Params) -> Answer:
    """Answer one comment. Raises RestError."""
    return Answer(crm.timeline.get(positive_int(params.get("id"))))


def comment_list(crm: Crm, params: Params) -> Answer:
    """Answer 50 comments of one entity a page. Raises RestError."""
    start = max(start_of(params), 0)
    newest_first = str(map_of(params, "order").get("ID", "")).upper() == "DESC"
    rows = crm.timeline.list(map_of(params, "filter"), newest_first)
    return Answer(rows[start : start + PAGE], len(rows), start + PAGE if len(rows) > start + PAGE else None)


def not_for_webhooks(crm: Crm, params: Params) -> Answer:
    """Refuse a method that needs an application. Raises RestError."""
    raise system_error("ACCESS_DENIED")


METHODS: Final[dict[str, Method]] = {
    "crm.lead.add": lead_add,
    "crm.lead.update": lead_update,
    "crm.lead.delete": lead_delete,
    "crm.lead.get": lead_get,
    "crm.lead.list": lead_list,
    "crm.lead.fields": lead_fields,
    "crm.status.list": status_list,
    "crm.duplicate.findbycomm": find_by_contact,
    "crm.settings.mode.get": mode_get,
    "crm.timeline.comment.add": comment_add,
    "crm.timeline.comment.get": comment_get,
    "crm.timeline.comment.list": comment_list,
    "profile": profile,
    "app.info": not_for_webhooks,
    "event.bind": not_for_webhooks,
    "event.unbind": not_for_webhooks,
}


def map_of(params: Params, name: str) -> dict[str, Any]:
    """Return a parameter that is a map, which PHP does not distinguish from a list. Raises RestError for others."""
    value = params.get(name)
    if value is None or value == "":
        return {}
    if isinstance(value, list):
        return {str(n): v for n, v in enumerate(value)}
    if not isinstance(value, dict):
        raise RestError("", f"Parameter '{name}' must be array.")
    return value


def list_of(value: Any) -> list[Any]:
    """Return the values of a list or map; a single value is a list of one."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [] if value is None or value == "" else [value]


def start_of(params: Params) -> int:
    """Return the position of a page; -1 means without a count."""
    text = str(params.get("start", 0))
    return -1 if text == "-1" else positive_int(text) or 0


def _lead_id(params: Params) -> int:
    lead_id = positive_int(params.get("id", params.get("ID")))
    if lead_id is None:
        raise RestError("", "ID is not defined or invalid.")
    return lead_id
