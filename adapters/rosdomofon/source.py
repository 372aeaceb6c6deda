"""The source of RosDomofon: the bridge from the operator's Kafka, and the comparison with its REST."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiokafka.structs import ConsumerRecord
from loguru import logger

from adapters.connector import Context, OpenSource
from adapters.identity import Sure
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.bridge import Bridge, Bury
from adapters.rosdomofon.dead_letters import SOURCE, STAGE
from adapters.rosdomofon.identity import look_at_cluster, look_at_company, of_cluster
from adapters.rosdomofon.inbound_log import heard
from adapters.rosdomofon.reconciliation import Comparison
from adapters.rosdomofon.reconciliation_state import Known
from adapters.rosdomofon.settings import OperatorSettings
from schemas.codec.serde import Serde
from schemas.errors import KounterError
from streams.kafka import dead_letters, identities
from streams.kafka.cluster import keep_asking
from streams.kafka.idempotent import IdempotentProducer
from streams.kafka.producer import RecordProducer
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import REQUEST_BYTES


class BridgeAndComparison:
    """The bridge, with the comparison beside it: messages go on without the comparison."""

    def __init__(self, bridge: Bridge, comparison: Comparison | None, every_minutes: float) -> None:
        self._bridge, self._comparison, self._every = bridge, comparison, every_minutes
        self.ready, self.stop = bridge.ready, bridge.stop

    async def run(self) -> None:
        """Run until `stop`. Raises the errors of the bridge; an error of the comparison is logged."""
        beside = None
        if self._comparison is not None:
            beside = asyncio.create_task(self._comparison.run(self._every))
            beside.add_done_callback(_log_failure)
        try:
            await self._bridge.run()
        finally:
            if beside is not None:
                beside.cancel()
                await asyncio.gather(beside, return_exceptions=True)


def _log_failure(task: asyncio.Task[None]) -> None:
    """Log it at once, not when the bridge ends."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.opt(exception=error).error("the bridge goes on without its comparison")


@asynccontextmanager
async def open_bridge(context: Context, serde: Serde) -> AsyncIterator[OpenSource]:
    operator, kafka = context.part(OperatorSettings), context.kafka
    async with AsyncExitStack() as stack:
        known_cluster = {"cluster": await look_at_cluster(operator, partial(identities.settle, kafka))}
        producer = await stack.enter_async_context(RecordProducer(kafka, serde, SOURCE))
        bury = await stack.enter_async_context(burying(kafka))
        known = stack.enter_context(_known(context.data_dir / SOURCE))
        comparison = await _comparison(context, producer, known, stack)
        bridge = Bridge(operator.kafka, producer, bury, known.came)
        yield OpenSource(
            BridgeAndComparison(bridge, comparison, operator.compare_minutes),
            partial(keep_asking, operator.kafka, partial(of_cluster, known_cluster)),
        )


async def _comparison(context: Context, producer: Any, known: Known, stack: AsyncExitStack) -> Comparison | None:
    """Returns the comparison with the operator's REST, None without an account there."""
    operator = context.part(OperatorSettings)
    if not operator.username or not operator.compare_minutes:
        return None
    api = await stack.enter_async_context(RosDomofonAPI(operator))
    await Sure(partial(look_at_company, api, operator, partial(identities.settle, context.kafka))).begin()
    return Comparison(
        api,
        producer,
        known,
        partial(heard, operator.kafka),
        abonents=operator.compare_abonents,
        days=operator.compare_days,
    )


@contextmanager
def _known(folder: Path) -> Iterator[Known]:
    folder.mkdir(parents=True, exist_ok=True)
    known = Known(folder / "known.sqlite")
    try:
        yield known
    finally:
        known.close()


@asynccontextmanager
async def burying(kafka: KafkaSettings) -> AsyncIterator[Bury]:
    """Yields a function that writes the dead letter of a record of the operator's cluster."""
    producer = IdempotentProducer(**kafka.client_options(), max_request_size=REQUEST_BYTES)
    await producer.current()

    async def bury(record: ConsumerRecord, error: KounterError) -> Any:
        letter = dead_letters.dead_letter(record.topic, record, error, STAGE)
        partition = record.partition % kafka.partitions
        return await (
            await producer.send(
                dead_letters.TOPIC, letter.value, letter.key, partition=partition, headers=letter.headers
            )
        )

    try:
        yield bury
    finally:
        await producer.stop()
