"""How reading the operator's topics ends where the operator denies us."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError
from aiokafka.structs import TopicPartition

from adapters.rosdomofon import reading
from adapters.rosdomofon.bridge import Bridge
from adapters.rosdomofon.topics import RosDomofonKafkaSettings
from schemas.errors import DeliveryDenied

TP = TopicPartition("MESSAGES_IN_A", 0)


class Denied:
    """The operator's cluster, which denies us after the first batch."""

    def __init__(self) -> None:
        self.stopped = False

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    def assignment(self) -> set[TopicPartition]:
        return {TP}

    async def getmany(self, **how: Any) -> Any:
        raise GroupAuthorizationFailedError

    async def commit(self, offsets: Any) -> None:
        raise GroupAuthorizationFailedError


async def test_denied_the_bridge_leaves_the_group_though_nothing_can_be_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Denied()
    monkeypatch.setattr(reading, "AIOKafkaConsumer", lambda *topics, **options: cluster)
    nobody: Any = None
    bridge = Bridge(RosDomofonKafkaSettings(companies=("A",), group_id="g"), nobody, nobody)
    bridge._reader.done({TP: [SimpleNamespace(offset=7)]})  # type: ignore[list-item]
    with pytest.raises(DeliveryDenied, match="reading"):
        await bridge.run()
    assert cluster.stopped
