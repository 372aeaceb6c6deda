"""A RosDomofon twin on a real Kafka with the settings of its companies, and waiting for what they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.rosdomofon.kafka.client import Malformed, RosDomofonKafka
from adapters.rosdomofon.kafka.models import KafkaIncomingMessage, SignUp
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import RosDomofonTwin
from tests.support.systems.rosdomofon import PHONE


class Play:
    """A twin on Kafka, settings of its companies, and what their handler got."""

    def __init__(self, twin: RosDomofonTwin, said: TwinOperator, settings: RosDomofonKafkaSettings) -> None:
        self.twin, self.said, self.settings = twin, said, settings
        self.company = settings.companies[0]
        self.abonent = twin.operator.add_abonent(int(PHONE))
        self.got: list[KafkaIncomingMessage] = []
        self.sign_ups: list[SignUp] = []
        self.bad: list[Malformed] = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[RosDomofonKafka]:
        async with RosDomofonKafka(self.settings, self.bad.append) as kafka:
            kafka.set_message_handler(self.got.append)
            kafka.set_sign_up_handler(self.sign_ups.append)
            await kafka.start()
            yield kafka

    @property
    def texts(self) -> list[str | None]:
        return [message.text for message in self.got]
