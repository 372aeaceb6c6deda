"""The Python client of RosDomofon: accounts, flats, services, blocks and messages (docs/contracts/rosdomofon.md).

All methods raise errors of `schemas.errors`: RosDomofonRefused if the operator refuses the request for its data,
DeliveryUnavailable if a retry may succeed, OutcomeUnknown if a write may have been executed, DeliveryDenied if the
operator denies access. An invalid id or text raises InvalidInput before anything is sent.
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
    """The operator's REST API and Kafka as one asynchronous context manager.

    ``async with RosDomofonAPI(RosDomofonSettings(username="user", password="pass")) as api: ...``

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
        """Get a token now; other methods get and renew it themselves when needed.

        Raises DeliveryDenied or DeliveryUnavailable.

        >>> (await api.authenticate()).token_type
        'bearer'
        """
        got = await self._rest.authenticate()
        logger.info("rosdomofon: authenticated, the token is good for {} s", got.expires_in)
        return got

    @property
    def kafka(self) -> RosDomofonKafka:
        """The Kafka client; the methods below have the published library's names. Raises BrokenSetup without one."""
        if self._kafka is None:
            raise BrokenSetup(
                "RosDomofonAPI has no Kafka settings", hint="Pass RosDomofonKafkaSettings as its second argument."
            )
        return self._kafka

    def set_kafka_message_handler(self, handler: MessageHandler) -> None:
        """Set the handler of messages, see `RosDomofonKafka.set_message_handler`. Raises BrokenSetup without Kafka.

        >>> api.set_kafka_message_handler(lambda message: print(message.text))
        """
        self.kafka.set_message_handler(handler)

    async def start_kafka_consumer(self) -> None:
        """Start reading, see `RosDomofonKafka.start`. Raises BrokenSetup, DeliveryUnavailable or DeliveryDenied.

        >>> await api.start_kafka_consumer()
        """
        await self.kafka.start()

    async def stop_kafka_consumer(self) -> None:
        """Stop reading, see `RosDomofonKafka.stop`. Raises BrokenSetup without Kafka.

        >>> await api.stop_kafka_consumer()
        """
        await self.kafka.stop()

    async def send_kafka_message(
        self, to_abonent_id: int, to_abonent_phone: int | str, message: str, *, company: str | None = None
    ) -> Place:
        """Send to one abonent. Raises as `RosDomofonKafka.send_message`, and BrokenSetup without Kafka.

        >>> (await api.send_kafka_message(1574870, 79308312222, "Сообщение через Kafka")).offset
        0
        """
        return await self.kafka.send_message(to_abonent_id, to_abonent_phone, message, company=company)

    async def send_kafka_message_to_multiple(
        self, to_abonents: Iterable[Addressee], message: str, *, company: str | None = None
    ) -> Place:
        """Send to several abonents. Raises as `RosDomofonKafka.send_message`, and BrokenSetup without Kafka.

        >>> (await api.send_kafka_message_to_multiple([{"id": 1574870, "phone": 79308312222}], "Работы")).offset
        1
        """
        return await self.kafka.send_message_to_multiple(to_abonents, message, company=company)
