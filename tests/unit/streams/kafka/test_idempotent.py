"""The producer that outlives its own miscounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
)

from streams.kafka import idempotent
from streams.kafka.idempotent import ClockWrong, IdempotentProducer


class Refusing:
    """An `AIOKafkaProducer` whose sends all fail with ``error``, or are answered when it is asked to flush."""

    made: list[Refusing]

    def __init__(self, **options: Any) -> None:
        self._message_accumulator = self
        self.error: BaseException | None = None
        self.hangs = self.stopped = False
        self.sent: list[asyncio.Future[str]] = []
        self.made.append(self)

    async def start(self) -> None:
        pass

    async def flush(self) -> None:
        if self.hangs and self.sent:
            await asyncio.wait(self.sent)
        for answer in self.sent:
            if not answer.done():
                answer.set_result("written")

    def fail_all(self, error: BaseException) -> None:
        for answer in self.sent:
            if not answer.done():
                answer.set_exception(error)

    async def stop(self) -> None:
        self.stopped = True
        await self.flush()

    async def send(self, *args: Any, **options: Any) -> asyncio.Future[str]:
        assert not self.stopped
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        if self.error is not None:
            answer.set_exception(self.error)
        self.sent.append(answer)
        return answer


@pytest.fixture
async def producer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IdempotentProducer]:
    Refusing.made = []
    monkeypatch.setattr(idempotent, "AIOKafkaProducer", Refusing)
    made = IdempotentProducer()
    await made.current()
    yield made
    for each in Refusing.made:
        each.hangs = False
    await made.stop()
    assert all(each.stopped for each in Refusing.made)


async def send(producer: IdempotentProducer) -> asyncio.Future[Any]:
    return await producer.send("trial.item", b"", b"a", partition=0)


async def lose_count(producer: IdempotentProducer) -> None:
    Refusing.made[-1].error = OutOfOrderSequenceNumber()
    with pytest.raises(OutOfOrderSequenceNumber):
        await (await send(producer))
    await asyncio.sleep(0)  # this one has failed before anybody could look


async def test_one_that_lost_count_is_made_anew(producer: IdempotentProducer) -> None:
    """The feed tried for ever, with the same producer; every record of the partition was refused."""
    elsewhere = await send(producer)
    await lose_count(producer)
    await asyncio.gather(*(send(producer) for _ in range(3)))
    first, second = Refusing.made
    assert (first.stopped, second.stopped) == (True, False)
    assert len(second.sent) == 3
    assert await elsewhere == "written"


async def test_another_error_makes_no_new_one(producer: IdempotentProducer) -> None:
    Refusing.made[0].error = KafkaTimeoutError()
    for _ in range(2):
        with pytest.raises(KafkaTimeoutError):
            await (await send(producer))
    assert len(Refusing.made) == 1


async def test_a_time_that_brokers_refuse_is_told_as_the_clocks_fault(producer: IdempotentProducer) -> None:
    """`[Error 32] InvalidTimestampError` was all that a person read."""
    Refusing.made[0].error = InvalidTimestampError()
    with pytest.raises(ClockWrong, match=r"this machine's clock says 20.*Set the clock"):
        await (await send(producer))
    with pytest.raises(KafkaError):  # whoever tries again after Kafka's errors does so after this one
        await (await send(producer))


async def test_a_partition_that_answers_nothing_stops_no_other(
    producer: IdempotentProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotent, "FLUSH_S", 0.01)
    stuck = await send(producer)
    Refusing.made[0].hangs = True
    await lose_count(producer)
    await send(producer)
    with pytest.raises(ProducerClosed):
        await stuck
    assert len(Refusing.made[1].sent) == 1
