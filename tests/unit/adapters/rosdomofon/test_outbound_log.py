"""Looking for what was said, on a cluster that stops answering in the middle."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import TopicPartition

from adapters.rosdomofon import inbound_log
from adapters.rosdomofon.kafka import outbound_log
from adapters.rosdomofon.kafka.outbound_log import OutboundLog
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from schemas.errors import DeliveryUnavailable
from streams.kafka import consumer

SETTINGS = RosDomofonKafkaSettings(companies=("A",), group_id="g")


class Silent:
    """Says that there are records, and brings none."""

    def __init__(self, *topics: str, **options: Any) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def assign(self, tps: Any) -> None: ...
    def seek(self, tp: Any, offset: int) -> None: ...

    def assignment(self) -> set[TopicPartition]:
        return {TopicPartition("MESSAGES_IN_A", 0)}

    async def offsets_for_times(self, times: Any) -> dict[Any, None]:
        return dict.fromkeys(times)

    async def beginning_offsets(self, tps: Any) -> Any:
        return dict.fromkeys(tps, 0)

    async def end_offsets(self, tps: Any) -> dict[Any, int]:
        return dict.fromkeys(tps, 5)

    async def position(self, tp: Any) -> int:
        return 3

    async def getmany(self, *tps: Any, **how: Any) -> dict[Any, Any]:
        return {}


async def test_a_silent_cluster_is_a_failure_and_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "SILENCE_S", 0.0)
    for module in (inbound_log, outbound_log):
        monkeypatch.setattr(module, "AIOKafkaConsumer", Silent)
    with pytest.raises(DeliveryUnavailable, match="reading MESSAGES_OUT"):
        await OutboundLog(SETTINGS, "MESSAGES_OUT_A").find([0], b"{}", 1_000)
    with pytest.raises(KafkaTimeoutError):
        await inbound_log.heard(SETTINGS, 0.0, ["7"])
