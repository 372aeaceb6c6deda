from __future__ import annotations

from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import GroupLoadInProgressError
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v3
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from streams.kafka import patches
from streams.kafka.settings import KafkaSettings

patches.install()

TP = TopicPartition("t", 0)
LOADING = OffsetFetchResponse_v3(throttle_time_ms=0, topics=[], error_code=GroupLoadInProgressError.errno)
FOUND = OffsetFetchResponse_v3(throttle_time_ms=0, topics=[("t", [(0, 41, "", 0)])], error_code=0)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the broker answers, one after the other."""
    queue: list[Any] = []

    async def send(self: AIOKafkaClient, *args: Any, **options: Any) -> Any:
        return queue.pop(0)

    monkeypatch.setattr(patches, "_send", send)
    return queue


class Coordinator(GroupCoordinator):  # type: ignore[misc]
    """No network, no group."""

    def __init__(self, client: AIOKafkaClient) -> None:
        self._client, self.group_id, self._retry_backoff_ms = client, "g", 1
        self.coordinator_id = 1

    async def ensure_coordinator_known(self) -> None:
        self.coordinator_id = 1

    def coordinator_dead(self) -> None:
        self.coordinator_id = None


async def test_a_coordinator_that_is_loading_is_asked_again(answers: list[Any]) -> None:
    """It was taken for a group that never committed: chaos, a broker's restart."""
    answers += [LOADING, LOADING, FOUND]
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    found = await Coordinator(client).fetch_committed_offsets([TP])
    assert found == {TP: OffsetAndMetadata(41, "")}


async def test_the_admin_client_raises_it(answers: list[Any]) -> None:
    answers += [LOADING]
    admin = AIOKafkaAdminClient(**KafkaSettings(bootstrap_servers="127.0.0.1:1").client_options())
    with pytest.raises(GroupLoadInProgressError):
        await admin.list_consumer_group_offsets("g", group_coordinator_id=1, partitions=[TP])


async def test_an_answer_without_an_error_of_the_whole_is_passed(answers: list[Any]) -> None:
    answers += [OffsetFetchResponse_v1([("t", [(0, 41, "", 0)])]), FOUND]
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    for _ in range(2):
        assert await Coordinator(client).fetch_committed_offsets([TP]) == {TP: OffsetAndMetadata(41, "")}
