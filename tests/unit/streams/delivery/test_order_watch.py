"""Orders to park are found among what is read, and ahead of a partition that holds back; without Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from schemas.errors import UndecodableRecord
from schemas.parking import ParkedAction, ParkedOrder
from streams.delivery import order_watch
from streams.delivery.order_watch import OrderWatch
from streams.kafka.settings import KafkaSettings
from tests.support.desk import TOPIC, Record
from tests.support.waiting import until

TP = TopicPartition(TOPIC, 0)
PARK = ParkedOrder("a", ParkedAction.PARK, (5,), None, "ann")
ROWS: dict[bytes, Any] = {b"order1": PARK, b"order2": ParkedOrder("a"), b"card-1": "a command", b"card-2": "another"}


async def decode(value: bytes) -> Any:
    if value not in ROWS:
        raise UndecodableRecord("unknown_schema_id", "none")
    return ROWS[value]


def records(*values: bytes | None, start: int = 0) -> list[Any]:
    return [Record(b"a", value, start + n, 0, 1, (), TOPIC) for n, value in enumerate(values)]


class Consumer:
    """Has some records, and notes where it is told to begin."""

    def __init__(self, log: list[Any]) -> None:
        self.log, self.at = log, 0
        self.began: list[int] = []
        self.stopped = False

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    def assign(self, tps: Iterable[TopicPartition]) -> None: ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.began.append(offset)
        self.at = offset

    async def getmany(self, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Any]]:
        await asyncio.sleep(0)
        found = [record for record in self.log if record.offset >= self.at][:2]
        self.at += len(found)
        return {TP: found} if found else {}


class Scene:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, log: list[Any]) -> None:
        self.consumer = Consumer(log)
        monkeypatch.setattr(order_watch, "committed_consumer", lambda kafka: self.consumer)
        self.found: list[tuple[int, ParkedOrder]] = []
        self.it = OrderWatch(KafkaSettings(), decode, lambda record, row: self.found.append((record.offset, row)))
        self.task = asyncio.create_task(self.it.run())


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(order_watch, "HELD_S", 0.0)
    monkeypatch.setattr(order_watch, "LOOK_S", 0.001)
    made = Scene(monkeypatch, records(b"card-1", b"bytes!", None, b"order2", b"card-2", b"order1", start=20))
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)


async def test_an_order_among_what_is_read_does_not_wait_for_its_key(scene: Scene) -> None:
    scene.it.look_at(records(b"card-1", b"order2", b"bytes!", b"order1"))
    await until(lambda: scene.found)
    assert scene.found == [(3, PARK)]


async def test_a_partition_that_holds_back_is_read_ahead_and_each_record_once(scene: Scene) -> None:
    scene.it.hold({TP: 20})
    await until(lambda: scene.found)
    scene.it.hold({})
    await until(lambda: scene.consumer.stopped)
    scene.it.hold({TP: 21})
    await until(lambda: len(scene.consumer.began) == 2)
    assert (scene.found, scene.consumer.began) == ([(25, PARK)], [20, 26])


async def test_one_that_another_owned_meanwhile_is_read_from_its_position_again(scene: Scene) -> None:
    scene.it.hold({TP: 20})
    await until(lambda: scene.found)
    scene.it.forget()
    await until(lambda: scene.consumer.stopped)
    scene.it.hold({TP: 22})
    await until(lambda: len(scene.found) == 2)
    assert scene.consumer.began == [20, 22]


async def test_one_that_holds_back_for_a_moment_is_not_read_ahead(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_watch, "HELD_S", 1_000.0)
    scene.it.hold({TP: 20})
    await asyncio.sleep(0.01)
    assert scene.consumer.began == []
