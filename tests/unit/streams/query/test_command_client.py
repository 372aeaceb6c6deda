"""Answers to commands, by a consumer that is none."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from schemas.commands import CommandReply
from schemas.crm import MoveUser
from schemas.errors import RegistryUnavailable
from streams.kafka import consumer
from streams.kafka.batches.headers import Slice, UnreadableBatch
from streams.kafka.settings import KafkaSettings
from streams.query import command_client
from streams.query.command_client import CommandClient

REPLIES = "crm.user.replies"
REPLY = CommandReply("7", "c-1")


class Broker:
    """One topic of values; consumers and the producer of a test meet here."""

    def __init__(self, unreadable: int = 0) -> None:
        self.values: list[bytes] = []
        self.unreadable = unreadable
        """Offsets that can't be unpacked, at the start."""

    async def send(self, command: Any) -> None:
        self.values.append(b"reply")

    def consumer(self, **options: Any) -> Consumer:
        return Consumer(self)


class Consumer:
    def __init__(self, broker: Broker) -> None:
        self._broker, self._at = broker, 0

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, tps: Any) -> None: ...

    async def end_offsets(self, tps: Any) -> dict[Any, int]:
        return dict.fromkeys(tps, len(self._broker.values))

    def seek(self, tp: Any, offset: int) -> None:
        self._tp, self._at = tp, offset

    async def getmany(self, timeout_ms: int) -> dict[Any, Any]:
        await asyncio.sleep(0.001)
        if self._at < self._broker.unreadable:
            found = Slice(0, 0, 0, self._broker.unreadable - 1, 0, None, 0)
            raise UnreadableBatch(REPLIES, 0, self._at, found, b"", ValueError("no codec"))
        new = [SimpleNamespace(topic=REPLIES, value=v, offset=o) for o, v in enumerate(self._broker.values)][self._at :]
        self._at += len(new)
        return {self._tp: new} if new else {}


class Decoding:
    """Of a registry that is away for so many records."""

    def __init__(self, away: int) -> None:
        self.away = away

    async def decode(self, topic: str, value: bytes) -> CommandReply:
        self.away -= 1
        if self.away >= 0:
            raise RegistryUnavailable("connection refused")
        return REPLY


async def test_an_answer_outlasts_an_outage_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    broker, serde = Broker(), Decoding(2)
    monkeypatch.setattr(consumer, "AIOKafkaConsumer", broker.consumer)
    monkeypatch.setattr(command_client, "RETRY_S", 0.001)
    bus = CommandClient(KafkaSettings(partitions=1), serde, broker, [REPLIES])  # type: ignore[arg-type]
    running = asyncio.create_task(bus.run())
    try:
        assert await bus.ask(MoveUser("7", "c-1", "NEW"), 2.0) == REPLY
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_replies_that_can_not_be_unpacked_hold_up_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(unreadable=2)
    broker.values = [b"?", b"?"]
    monkeypatch.setattr(consumer, "AIOKafkaConsumer", broker.consumer)
    bus = CommandClient(KafkaSettings(partitions=1), Decoding(0), broker, [REPLIES])  # type: ignore[arg-type]
    bus._positions = {TopicPartition(REPLIES, 0): 0}
    running = asyncio.create_task(bus.run())
    try:
        assert await bus.ask(MoveUser("7", "c-1", "NEW"), 2.0) == REPLY
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
