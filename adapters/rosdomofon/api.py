"""RosDomofon for Python: accounts, flats, services, blocks and messages (docs/contracts/rosdomofon.md).

The errors of all methods are those of `schemas.errors`: RosDomofonRefused for what the operator will never take,
DeliveryUnavailable for what may be tried again, OutcomeUnknown where a write may have been done, DeliveryDenied where
the operator will not talk to us. An id or a text that can't be right is refused before it is sent (InvalidInput).
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from loguru import logger

from adapters.rosdomofon.kafka.client import Addressee, MessageHandler, RosDomofonKafka
from adapters.rosdomofon.kafka.models import Place
from adapters.rosdomofon.rest.accounts import Accounts
from adapters.rosdomofon.rest.client import RosDomofonRest
from adapters.rosdomofon.rest.messages import Messages
from adapters.rosdomofon.rest.models import AuthResponse
from adapters.rosdomofon.settings import RosDomofonKafkaSettings, RosDomofonSettings
from schemas.errors import BrokenSetup


class RosDomofonAPI(Accounts, Messages):
    """``async with RosDomofonAPI(RosDomofonSettings(username="user", password="pass")) as api: ...``

    The Kafka methods need ``kafka``, the settings of the operator's cluster; without them they raise BrokenSetup.
    """

    def __init__(self, settings: RosDomofonSettings, kafka: RosDomofonKafkaSettings | None = None) -> None:
        self._rest = RosDomofonRest(settings)
        self._kafka = RosDomofonKafka(kafka) if kafka else None

    async def __aenter__(self) -> Self:
        await self._rest.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._kafka is not None:
                await self._kafka.__aexit__(kind, error, trace)
        finally:
            await self._rest.__aexit__(kind, error, trace)

    async def authenticate(self) -> AuthResponse:
        """Get a token at once. Not needed before other methods: they get and renew it themselves.

        >>> (await api.authenticate()).token_type
        'bearer'
        """
        got = await self._rest.authenticate()
        logger.info("rosdomofon: authenticated, the token is good for {} s", got.expires_in)
        return got

    @property
    def kafka(self) -> RosDomofonKafka:
        """All that can be done by Kafka; the methods below have the names of the published library."""
        if self._kafka is None:
            raise BrokenSetup("RosDomofonAPI has no Kafka", hint="Give it RosDomofonKafkaSettings.")
        return self._kafka

    def set_kafka_message_handler(self, handler: MessageHandler) -> None:
        """See `RosDomofonKafka.set_message_handler`.

        >>> api.set_kafka_message_handler(lambda message: print(message.text))
        """
        self.kafka.set_message_handler(handler)

    async def start_kafka_consumer(self) -> None:
        """See `RosDomofonKafka.start`.

        >>> await api.start_kafka_consumer()
        """
        await self.kafka.start()

    async def stop_kafka_consumer(self) -> None:
        """See `RosDomofonKafka.stop`.

        >>> await api.stop_kafka_consumer()
        """
        await self.kafka.stop()

    async def send_kafka_message(
        self, to_abonent_id: int, to_abonent_phone: int | str, message: str, *, company: str | None = None
    ) -> Place:
        """See `RosDomofonKafka.send_message`.

        >>> (await api.send_kafka_message(1574870, 79308312222, "Сообщение через Kafka")).offset
        0
        """
        return await self.kafka.send_message(to_abonent_id, to_abonent_phone, message, company=company)

    async def send_kafka_message_to_multiple(
        self, to_abonents: Iterable[Addressee], message: str, *, company: str | None = None
    ) -> Place:
        """See `RosDomofonKafka.send_message_to_multiple`.

        >>> (await api.send_kafka_message_to_multiple([{"id": 1574870, "phone": 79308312222}], "Работы")).offset
        1
        """
        return await self.kafka.send_message_to_multiple(to_abonents, message, company=company)
