"""The sink of the operator's REST in the suite of all sinks; the one of its Kafka needs a Kafka (test_actions)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.rosdomofon.actions import OperatorActions
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.settings import OperatorSettings, RosDomofonKafkaSettings
from adapters.rosdomofon.sink import RosDomofonRestSink
from adapters.rosdomofon.twin.faults import Fault
from adapters.rosdomofon.twin.server import RosDomofonTwin
from schemas.rosdomofon import OperatorAction, OperatorCommand
from tests.contract.suites.sink import Scene, SinkSuite
from tests.support.systems.rosdomofon import PHONE


class TestMessages(SinkSuite):
    """A message that is sent by REST."""

    at = time.time_ns() // 1_000

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Scene]:
        async with RosDomofonTwin() as twin:
            self.abonent = twin.operator.add_abonent(int(PHONE))
            ours = RosDomofonKafkaSettings(companies=("SK_SB",), group_id="g")
            settings = OperatorSettings(**twin.settings().model_dump(), kafka=ours)

            def fail(kind: str) -> None:
                twin.faults.plan(Fault(kind=kind, count=2 if kind == "denied" else 1, calls=("POST /messages",)))

            async with RosDomofonKafka(ours) as kafka, RosDomofonAPI(settings) as api:
                sink = RosDomofonRestSink(OperatorActions(settings, kafka, api))
                yield Scene(sink, lambda: twin.operator.got(self.abonent), fail)

    def command(self, key: str) -> OperatorCommand:
        known = {"company": "SK_SB", "abonent_ext_id": str(self.abonent), "abonent_phone": PHONE, "at": self.at}
        return OperatorCommand(
            f"abonent:{self.abonent}", f"c-{key}", OperatorAction.SEND_MESSAGE, text=key, by_rest=True, **known
        )
