"""A executor with its surroundings, without Kafka, clock and outside system."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from adapters.bitrix24.sink import Bitrix24Sink
from schemas.bitrix24 import CardCommand, CardReceipt
from schemas.codec.serde import Serde
from streams.delivery.executor import CommandExecutor
from streams.delivery.job import Job
from streams.delivery.ledger import Ledger
from streams.delivery.parking import Parking
from streams.delivery.state import DeliveryState, Write
from streams.ports import Sink
from streams.resilience import CircuitBreaker
from tests.support.local import raw

TOPIC = "bitrix.commands"
COMMAND = CardCommand(
    ext_id="l-1", command_id="c-1", aggregate="estate.lead", title="Lead 1", reply_topic="estate.lead"
)
Call = tuple[CardCommand, int, bool]


class Done(NamedTuple):
    lead_id: int
    created: bool = True


class Port:
    """Answers from a list; what is called without one is done."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []

    async def deliver(self, command: Any, attempt: int, uncertain: bool) -> Done:
        self.calls.append((command, attempt, uncertain))
        if self.answers:
            raise self.answers.pop(0)
        return Done(77)


def cards(port: Any = None) -> Bitrix24Sink:
    """The sink of a portal, of which ``port`` is called."""
    return Bitrix24Sink(port, port)


class Shelf:
    """A partition's store without RocksDB."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self.offset: int | None = None
        self.get = self.states.get

    def write(self, states: dict[bytes, bytes | None], offset: int, as_of: float | None = None) -> None:
        self.offset = offset
        for key, value in states.items():
            if value is None:
                self.states.pop(key, None)
            else:
                self.states[key] = value

    def scan(self, prefix: bytes, start: bytes | None = None) -> list[tuple[bytes, bytes]]:
        return sorted(i for i in self.states.items() if i[0].startswith(prefix) and i[0] >= (start or prefix))


class Desk:
    """A executor with its surroundings."""

    def __init__(self, serde: Serde, port: Any, sink: Sink | None = None, threshold: int = 100) -> None:
        self.serde, self.port = serde, port
        self.slept: list[float] = []
        self.told: list[Write] = []
        self.committed: list[Write] = []
        self.state = DeliveryState("memory", Shelf())  # type: ignore[arg-type]
        self.parking = Parking(self.state)
        self.now = 0.0
        circuit = CircuitBreaker("bitrix24", threshold, 1.0, 10, clock=lambda: self.now, sleep=self.sleep)
        self.executor = CommandExecutor(
            sink or cards(port), serde, circuit, waits=(0.0, 2.0, 4.0), settles_s=30.0, sleep=self.sleep
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)

    async def commit(self, writes: list[Write]) -> None:
        """As the partition's delivery does it: to Kafka, then to the local copy."""
        self.committed += writes
        self.state.apply([entry for topic, entry in writes if topic == "memory"], len(self.committed))

    def job(self, record: Any, *, told: bool = False) -> Job:
        return Job(record, told, self.told.extend, self.commit, Ledger(self.state), self.parking)

    async def execute(self, row: Any = COMMAND, offset: int = 5, *, told: bool = False) -> list[Write]:
        """What is written for a record, without what the delivery remembers."""
        record: Any = Record(*raw(self.serde, TOPIC, row, offset), topic=TOPIC)
        writes = await self.executor.execute(self.job(record, told=told))
        await self.commit(writes)
        return [write for write in writes if write[0] != "memory"]

    async def receipt(self, writes: list[Write], topic: str = "bitrix.responses") -> CardReceipt:
        values = [entry.value for t, entry in writes if t == topic]
        assert len(values) == 1
        row = await self.serde.decode(topic, values[0] or b"")
        assert isinstance(row, CardReceipt)
        return row


class Record(NamedTuple):
    key: bytes | None
    value: bytes | None
    offset: int
    partition: int
    timestamp: int
    headers: Any
    topic: str
