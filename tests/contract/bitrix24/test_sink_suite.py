"""The sink of the portal in the suite of all sinks: cards, and comments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.bitrix24.comments import mark
from adapters.bitrix24.sink import Bitrix24Sink
from adapters.bitrix24.twin.faults import Fault
from adapters.bitrix24.twin.server import Bitrix24Twin
from schemas.bitrix24 import CardAction, CardCommand, CommentCommand
from tests.contract.suites.sink import Scene, SinkSuite
from tests.support.systems.bitrix24 import ORIGINATOR, client_of


def plan(twin: Bitrix24Twin, kind: str, method: str) -> None:
    kind = "ACCESS_DENIED" if kind == "denied" else kind
    twin.faults.plan(Fault(kind, count=1, methods=(method,)))


class TestCards(SinkSuite):
    """A card is a lead."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Scene]:
        async with Bitrix24Twin() as twin, client_of(twin) as portal:

            def made() -> list[str]:
                return [doc["ORIGIN_ID"].rpartition(":")[2] for doc in twin.portal.leads.find({}, {}, 0).docs]

            yield Scene(Bitrix24Sink.of(portal, ORIGINATOR), made, lambda kind: plan(twin, kind, "crm.lead.add"))

    def command(self, key: str) -> CardCommand:
        return CardCommand(key, f"c-{key}", "estate.lead", CardAction.CREATE_CARD, title="Т", phone="+79990000001")


class TestComments(SinkSuite):
    """A comment stands in the timeline of a lead, which is there already."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Scene]:
        async with Bitrix24Twin() as twin, client_of(twin) as portal:
            ours = {"ORIGINATOR_ID": ORIGINATOR, "ORIGIN_ID": "abonent:15", "TITLE": "Т"}
            await portal.call("crm.lead.add", {"fields": ours})

            def made() -> list[str]:
                texts = [row["comment"] for row in twin.portal.store.rows("SELECT comment FROM comments ORDER BY id")]
                return [str(mark(text))[-1] for text in texts]

            yield Scene(
                Bitrix24Sink.of(portal, ORIGINATOR), made, lambda kind: plan(twin, kind, "crm.timeline.comment.add")
            )

    def command(self, key: str) -> CommentCommand:
        return CommentCommand("abonent:15", f"7f0c7b0e-6f0a-5a54-9d7c-3d0e2f1b8a6{key}", "Т", "Абонент 15")
