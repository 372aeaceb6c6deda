"""The twin's own control: limits, stages, the webhook, and the history of each lead
(docs/contracts/bitrix24.md#twin)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from adapters.bitrix24.twin.errors import RestError
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.leads import PERSON
from adapters.bitrix24.twin.limits import Limits
from adapters.bitrix24.twin.page import HEADERS, SHOWN, page
from adapters.bitrix24.twin.portal import Portal
from adapters.bitrix24.twin.texts import typed
from adapters.bitrix24.twin.webhook import Hook
from adapters.twin_kit.bodies import read_json
from adapters.twin_kit.control import BaseControl
from adapters.twin_kit.faults import Faults

LEADS_PER_ANSWER: Final = 100_000
T = TypeVar("T")


class Control(BaseControl[Fault]):
    """Routes of the portal, and its page."""

    fault = Fault

    def __init__(self, portal: Portal, faults: Faults[Fault], requests: Mapping[str, int]) -> None:
        super().__init__(faults)
        self._portal, self._requests = portal, requests
        self.routes += [
            Route("/", self.show, methods=["GET"]),
            Route("/_twin/leads", self.leads, methods=["GET"]),
            Route("/_twin/leads", self.add_lead, methods=["POST"]),
            Route("/_twin/leads/{id:int}", self.change_lead, methods=["PATCH", "DELETE"]),
            Route("/_twin/leads/{id:int}/comments", self.add_comment, methods=["POST"]),
            Route("/_twin/limits", self.limits, methods=["GET", "POST"]),
            Route("/_twin/statuses", self.add_status, methods=["POST"]),
            Route("/_twin/mode", self.set_mode, methods=["POST"]),
            Route("/_twin/webhook", self.webhook, methods=["POST", "DELETE"]),
        ]

    async def show(self, request: Request) -> Response:
        """Return the page."""
        leads, store = self._portal.leads, self._portal.store
        newest = store.rows("SELECT id FROM leads WHERE deleted = 0 ORDER BY id DESC LIMIT ?", SHOWN)
        shown = [leads.doc(row["id"]) | leads.multifields(row["id"]) for row in newest]
        stages = store.rows(
            "SELECT json_extract(doc, '$.STATUS_ID'), count(*) FROM leads WHERE deleted = 0 GROUP BY 1 ORDER BY 1"
        )
        total = sum(row[1] for row in stages)
        return HTMLResponse(page(shown, total, [(str(row[0]), row[1]) for row in stages]), headers=HEADERS)

    def counts(self) -> dict[str, Any]:
        """Return the numbers of requests by method, leads, events, and requests that were refused for the rate."""
        hooks = self._portal.hooks
        (leads,) = self._portal.store.rows("SELECT count(*) AS n FROM leads WHERE deleted = 0")
        events = {"events_sent": hooks.sent, "events_failed": hooks.failed}
        rate = {"refused_for_rate": self._portal.gate.refused}
        return {"requests": dict(self._requests), "leads": leads["n"], **events, **rate}

    def forget(self) -> None:
        """Empty the portal."""
        self._portal.reset()

    async def leads(self, request: Request) -> Response:
        """Return all leads, deleted ones as well, with their history, and how often each origin was created.

        ``?origin_id=`` selects one origin.
        """
        origin = request.query_params.get("origin_id")
        store = self._portal.store
        condition, values = ("WHERE born_origin = ?", [origin]) if origin is not None else ("", [])
        rows = store.rows(f"SELECT * FROM leads {condition} ORDER BY id LIMIT {LEADS_PER_ANSWER}", *values)  # noqa: S608
        counted = store.rows(
            f"SELECT born_origin, count(*) AS n FROM leads {condition} GROUP BY born_origin",  # noqa: S608
            *values,
        )
        creations = {row["born_origin"]: row["n"] for row in counted if row["born_origin"] is not None}
        return JSONResponse({"leads": [self._lead(row) for row in rows], "creations": creations})

    def _lead(self, row: Any) -> dict[str, Any]:
        store, lead_id = self._portal.store, row["id"]
        history = [
            {"at": h["at"], "action": h["action"], "by": h["author"], "changes": json.loads(h["changes"])}
            for h in store.rows("SELECT * FROM history WHERE lead_id = ? ORDER BY id", lead_id)
        ]
        comments = store.rows("SELECT comment FROM comments WHERE entity_type = 'lead' AND entity_id = ?", lead_id)
        return {
            "id": lead_id,
            "deleted": bool(row["deleted"]),
            "origin_id": row["born_origin"],
            "fields": {**json.loads(row["doc"]), "ID": str(lead_id), **self._portal.leads.multifields(lead_id)},
            "comments": [c["comment"] for c in comments],
            "history": history,
        }

    async def add_lead(self, request: Request) -> Response:
        """Create a lead as a person in the portal."""
        body = await read_json(request)
        return JSONResponse({"id": _refusing(lambda: self._portal.leads.add(_fields(body), PERSON))})

    async def change_lead(self, request: Request) -> Response:
        """Change or delete a lead as a person in the portal."""
        lead_id, leads = request.path_params["id"], self._portal.leads
        if request.method == "DELETE":
            _refusing(lambda: leads.delete(lead_id, PERSON))
        else:
            body = await read_json(request)
            _refusing(lambda: leads.update(lead_id, _fields(body), PERSON))
        return JSONResponse({"id": lead_id})

    async def add_comment(self, request: Request) -> Response:
        """Write into a lead's timeline as a person: ``{"comment": "…"}``."""
        comment = _mapping(await read_json(request)).get("comment")
        comment = typed(comment) if isinstance(comment, str) else comment
        fields = {"ENTITY_ID": request.path_params["id"], "ENTITY_TYPE": "lead", "COMMENT": comment}
        return JSONResponse({"id": _refusing(lambda: self._portal.crm.timeline.add(fields))})

    async def limits(self, request: Request) -> Response:
        """Return the limits; POST sets the named ones and begins all counts again."""
        gate = self._portal.gate
        if request.method == "POST":
            body = await read_json(request)
            gate.set(_made(Limits, {**gate.as_dict(), **_mapping(body)}))
        return JSONResponse(gate.as_dict())

    async def add_status(self, request: Request) -> Response:
        """Add a stage of the portal: ``{"status_id": "UC_1", "name": "…", "semantics": null}``.

        Raises HTTPException.
        """
        body = _mapping(await read_json(request))
        if not isinstance(body.get("status_id"), str) or body.get("semantics") not in (None, "S", "F"):
            raise HTTPException(422, "status_id: a text; semantics: null, S or F")
        sql = """INSERT OR REPLACE INTO statuses (entity_id, status_id, name, sort, system, semantics)
                 VALUES ('STATUS', ?, ?, 25, 'N', ?)"""
        name = str(body.get("name", body["status_id"]))
        self._portal.store.run(sql, body["status_id"], name, body.get("semantics"))
        return JSONResponse({"status_id": body["status_id"]})

    async def set_mode(self, request: Request) -> Response:
        """Set the mode: ``{"mode": 1}`` with leads, ``{"mode": 2}`` simple CRM. Raises HTTPException."""
        mode = _mapping(await read_json(request)).get("mode")
        if mode not in (1, 2):
            raise HTTPException(422, "mode: 1 or 2")
        self._portal.store.note("crm_mode", mode)
        return JSONResponse({"mode": mode})

    async def webhook(self, request: Request) -> Response:
        """Register the outgoing webhook: ``{"url", "application_token", "events"?}``; DELETE removes it."""
        if request.method == "DELETE":
            self._portal.hooks.register(None)
            return JSONResponse({"events": []})
        body = _mapping(await read_json(request))
        hook = _made(Hook, body)
        self._portal.hooks.register(hook)
        return JSONResponse({"events": hook.events})


def _mapping(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise HTTPException(422, "a JSON object")
    return body


def _fields(body: Any) -> dict[str, Any]:
    return _mapping(_mapping(body).get("fields"))


def _made(cls: Callable[..., T], body: Any) -> T:
    try:
        return cls(**_mapping(body))
    except (TypeError, ValueError) as error:
        raise HTTPException(422, str(error)) from error


def _refusing(act: Callable[[], T]) -> T:
    try:
        return act()
    except RestError as error:
        raise HTTPException(404 if error.description == "Not found" else 422, error.description) from error
