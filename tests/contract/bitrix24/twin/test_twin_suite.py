"""The portal's twin in the suite of all twins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import httpx

from adapters.bitrix24.rest.answers import Bitrix24Refused
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from adapters.twin_kit.faults import Way
from schemas.errors import DeliveryDenied, DeliveryUnavailable, OutcomeUnknown
from tests.contract.suites.twin import Meaning, Scene, TwinPageSuite, TwinSuite
from tests.support.systems.bitrix24 import client_of


def both(meaning: type[Any], *kinds: str) -> dict[str, Meaning]:
    return dict.fromkeys(kinds, (meaning, meaning))


class TestBitrix24Twin(TwinSuite):
    """A lead is added."""

    fault = Fault
    own: ClassVar[dict[str, Meaning]] = {
        **dict.fromkeys(
            (Way.UNAVAILABLE, "INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER"), (DeliveryUnavailable, OutcomeUnknown)
        ),
        **both(DeliveryUnavailable, "QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT"),
        **both(DeliveryDenied, "OVERLOAD_LIMIT", "PORTAL_DELETED", "NO_AUTH_FOUND", "expired_token"),
        **both(DeliveryDenied, "INVALID_CREDENTIALS", "ACCESS_DENIED", "insufficient_scope", "user_access_error"),
        **both(Bitrix24Refused, "INVALID_REQUEST", "ERROR_METHOD_NOT_FOUND", "ERROR_BATCH_LENGTH_EXCEEDED"),
        **both(Bitrix24Refused, "ERROR_BATCH_METHOD_NOT_ALLOWED"),
    }

    @asynccontextmanager
    async def running(self, db_path: str | Path, timeout_s: float) -> AsyncIterator[Scene]:
        async with Bitrix24Twin(db_path=db_path) as twin, client_of(twin, timeout_s) as portal:
            yield Scene(
                twin.url,
                twin.faults,
                lambda: portal.call("crm.lead.list", {}),
                lambda: portal.call("crm.lead.add", {}),
                lambda: len(twin.portal.leads.find({}, {}, 0).docs),
            )

    def planned(self, kind: str, **more: Any) -> Fault:
        return Fault(kind=kind, methods=("crm.lead.list", "crm.lead.add"), **more)


class TestBitrix24TwinPage(TwinPageSuite):
    """Leads and stages."""

    async def page(self) -> httpx.Response:
        fields = dict.fromkeys(("TITLE", "NAME", "COMMENTS", "ORIGIN_ID", "STATUS_ID"), self.bad)
        phone = {"PHONE": [{"VALUE": self.bad, "VALUE_TYPE": self.bad}]}
        async with Bitrix24Twin() as twin, httpx.AsyncClient(base_url=twin.url, trust_env=False) as http:
            added = await http.post("/rest/1/twin/crm.lead.add", json={"fields": fields | phone})
            assert added.status_code == 200
            await http.post("/_twin/statuses", json={"status_id": self.bad, "name": self.bad})
            return await http.get("/")
