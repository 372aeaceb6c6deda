"""The bridge to Nest: a message that no record of ours can hold is put aside, those behind it go on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.structs import TopicPartition

from adapters.nest.bridge import NestBridge
from adapters.nest.settings import NestSettings
from schemas.errors import InvalidInput, UndecodableRecord
from streams.domains import core_users
from streams.kafka import dead_letters
from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import OtherPartition, ProducerRecord

TP = TopicPartition("bitrix_queue", 0)


class Writer:
    def __init__(self) -> None:
        self.writes: dict[Any, Any] = {}

    async def commit(self, changelog: str, writes: Any, offsets: Any) -> None:
        self.writes, self.offsets = writes, offsets


def record(n: int, topic: str = TP.topic) -> Any:
    return SimpleNamespace(topic=topic, partition=0, offset=n, key=b"k", value=b"{}", timestamp=1, headers=())


async def test_one_that_cant_be_written_holds_up_no_other() -> None:
    class Odd(NestBridge):
        async def _of(self, record: Any) -> Any:
            if record.offset == 1:
                raise InvalidInput("ext_id", "at most 255 characters", "x" * 300)
            if record.offset == 2:
                raise UndecodableRecord("no_json", "not JSON")
            return OtherPartition("t", 0), ProducerRecord(b"k", b"v")

    writer: Any = Writer()
    await Odd(KafkaSettings(), SimpleNamespace(), NestSettings())._carry({TP: [record(n) for n in range(4)]}, writer)  # type: ignore[arg-type]
    assert {target.topic: len(entries) for target, entries in writer.writes.items()} == {"t": 2, dead_letters.TOPIC: 2}
    assert writer.offsets == {TP: 4}


async def test_a_strangers_record_among_the_replies_is_put_aside() -> None:
    class Serde:
        async def decode(self, topic: str, value: bytes) -> Any:
            return ("something", "else")

    serde: Any = Serde()
    writer: Any = Writer()
    await NestBridge(KafkaSettings(), serde, NestSettings())._carry({TP: [record(1, core_users.REPLIES)]}, writer)
    ((target, entries),) = writer.writes.items()
    assert (target.topic, len(entries)) == (dead_letters.TOPIC, 1)
