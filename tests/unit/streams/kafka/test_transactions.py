"""What a writer raises."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import IllegalOperation, KafkaError
from aiokafka.structs import TopicPartition

from streams.kafka.settings import KafkaSettings
from streams.kafka.transactions import TransactionalWriter


async def test_a_write_beside_one_that_was_fenced_fails_as_kafka_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka answers it with an error of its own, which ended the delivery's process instead of its session."""

    async def send(*_: Any) -> int:
        raise IllegalOperation("Can't send messages while not in transaction")

    writer = TransactionalWriter(KafkaSettings(), "test", 0)
    monkeypatch.setattr(writer, "_begun", True)
    monkeypatch.setattr(writer, "_send", send)
    with pytest.raises(KafkaError, match="not in transaction"):
        await writer.commit("changelog", {"changelog": []}, {TopicPartition("t", 0): 1})
    await writer.stop()
