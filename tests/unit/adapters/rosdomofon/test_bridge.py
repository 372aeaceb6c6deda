"""How reading the operator's topics ends where the operator denies us."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition

from adapters.rosdomofon.bridge import Bridge
from adapters.rosdomofon.kafka import group_reader
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from schemas.errors import DeliveryDenied

TP, OTHER = TopicPartition("MESSAGES_IN_A", 0), TopicPartition("MESSAGES_IN_B", 0)


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
    monkeypatch.setattr(group_reader, "AIOKafkaConsumer", lambda *topics, **options: cluster)
    nobody: Any = None
    bridge = Bridge(RosDomofonKafkaSettings(companies=("A",), group_id="g"), nobody, nobody)
    bridge._reader.done({TP: [SimpleNamespace(offset=7)]})  # type: ignore[list-item]
    with pytest.raises(DeliveryDenied, match="reading"):
        await bridge.run()
    assert cluster.stopped


class OneDenied(Denied):
    """Of two companies' topics it denies the second, if both are asked for."""

    _fetcher = SimpleNamespace(_kounter_deleted={TP: 5})

    def __init__(self, *tps: TopicPartition) -> None:
        super().__init__()
        self.tps, self.paused = set(tps), set[TopicPartition]()

    def assignment(self) -> set[TopicPartition]:
        return self.tps

    def pause(self, *tps: TopicPartition) -> None:
        self.paused |= set(tps)

    def resume(self, *tps: TopicPartition) -> None:
        self.paused -= set(tps)

    async def getmany(self, **how: Any) -> Any:
        if OTHER in self.tps - self.paused:
            raise TopicAuthorizationFailedError(OTHER.topic)
        return {TP: [SimpleNamespace(offset=7)]}


async def test_one_company_that_is_denied_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = OneDenied(TP, OTHER)
    monkeypatch.setattr(group_reader, "AIOKafkaConsumer", lambda *topics, **options: cluster)
    reader = group_reader.GroupReader(RosDomofonKafkaSettings(companies=("A", "B"), group_id="g"))
    await reader.start()
    assert await reader.batch() == {}
    assert cluster.paused == {OTHER}
    assert list(await reader.batch()) == [TP]
    assert reader.deleted == 5
    reader._retry_at = 0.0
    assert await reader.batch() == {}, "it is looked at again"
    assert cluster.paused == {OTHER}


async def test_where_all_that_is_ours_is_denied_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_reader, "AIOKafkaConsumer", lambda *topics, **options: OneDenied(OTHER))
    reader = group_reader.GroupReader(RosDomofonKafkaSettings(companies=("A", "B"), group_id="g"))
    await reader.start()
    with pytest.raises(DeliveryDenied, match="reading"):
        await reader.batch()
