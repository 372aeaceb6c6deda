"""The sink of the main backend's door in the suite of all sinks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.backend.queue import BackendQueue
from adapters.backend.settings import BackendSettings
from adapters.backend.sink import BackendSink
from adapters.backend.twin.faults import Fault, OwnWay
from adapters.backend.twin.server import BackendTwin
from schemas.backend import BackendEvent
from schemas.errors import DeliveryRefused, UndecodableRecord
from schemas.estate import City
from streams.ports import OrderedSink, Outcome, Sent
from tests.contract.suites.sink import Scene, SinkSuite

FAULTS = {"denied": OwnWay.NO_PATH}


class TestBackendSink(SinkSuite):
    """A project. There are no receipts: nothing but the upsert comes of a change."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Scene]:
        async with BackendTwin() as twin, BackendQueue(BackendSettings(base_url=twin.url)) as queue:
            rows = "SELECT id FROM things ORDER BY id"
            yield Scene(
                BackendSink(queue),
                lambda: [row["id"] for row in twin.store.rows(rows)],
                lambda kind: twin.faults.plan(Fault(kind=FAULTS.get(kind, kind), count=1)),
            )

    def command(self, key: str) -> BackendEvent:
        return BackendEvent(f"project/{key}", 7, "project", f'{{"ext_id":"{key}","update_id":7}}')

    async def test_what_is_no_command_is_refused(self, scene: Scene) -> None:
        for wrong, reason in (
            (City("c-1", 1), "foreign_record"),
            (self.command("1")._replace(subject=""), "missing_key"),
            (self.command("1")._replace(frame="[]"), "no_frame"),
            (self.command("1")._replace(frame='{"ext_id":'), "no_frame"),
        ):
            with pytest.raises(UndecodableRecord) as refused:
                scene.sink.accept(wrong)
            assert refused.value.reason == reason

    async def test_each_key_is_a_subject_of_its_own(self, scene: Scene) -> None:
        first, again, other = (scene.sink.accept(self.command(key)) for key in ("1", "1", "2"))
        assert first.idempotency_key == again.idempotency_key != other.idempotency_key

    async def test_receipts_go_to_known_topics(self, scene: Scene) -> None:
        for outcome in (Outcome(1, Sent("project/1")), Outcome(2, error=DeliveryRefused("not like this"))):
            assert scene.sink.receipts(self.command("1"), outcome) == ((), self.command("1"))

    async def test_a_refusal_is_in_the_receipt(self, scene: Scene) -> None:
        assert not scene.sink.receipt_topics

    async def test_the_log_keeps_its_order(self, scene: Scene) -> None:
        assert isinstance(scene.sink, OrderedSink)
        assert scene.sink.run_of(b"premise/1") == scene.sink.run_of(b"premise/2") == "premise"
        for alone in (b"client/1", b"booking/1", b"VISIT/1", b"", None):
            assert scene.sink.run_of(alone) is None
