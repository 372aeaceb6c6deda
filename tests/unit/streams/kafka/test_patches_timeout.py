"""The error of a request for offsets that was repeated until its timeout."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.errors import KafkaTimeoutError
from aiokafka.protocol.metadata import MetadataResponse_v0
from aiokafka.structs import TopicPartition

from streams.kafka import patches

patches.install()
NOT_LEADER = 6


class Answering(Fetcher):  # type: ignore[misc]
    """Requests to brokers, without a group or a network. The log has one partition, changes have two without leader."""

    def __init__(self, code: int) -> None:
        self._client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
        self._client.force_metadata_update = self._client.add_topic = lambda *_: None
        self._retry_backoff, self._code = 0.001, code
        log = (0, "backend.events", [(0, 0, 1, [1], [1])])
        changes = (0, "backend.changes", [(5, p, -1, [], []) for p in range(2)])
        self._client.cluster.update_metadata(MetadataResponse_v0([(1, "127.0.0.1", 1)], [log, changes]))

    async def _proc_offset_request(self, node_id: int, topic_data: Any) -> Any:
        raise patches.for_code(self._code)()


async def offsets_of(*places: tuple[str, int], code: int = NOT_LEADER) -> str:
    with pytest.raises(KafkaTimeoutError) as raised:
        await Answering(code).end_offsets([TopicPartition(*place) for place in places], 20)
    return str(raised.value)


async def test_a_partition_that_never_was_is_named() -> None:
    """A delivery waited for seven partitions of the log, and ended with `Failed to get offsets by times`."""
    said = await offsets_of(("backend.events", 0), ("backend.events", 7))
    assert "backend.events 7: there is no such partition, the topic has 1" in said
    assert "backend.events 0" not in said


async def test_a_topic_that_never_was_and_one_without_a_leader_are_named() -> None:
    said = await offsets_of(("none", 3), ("backend.changes", 1))
    assert "none 3: there is no such topic" in said
    assert "backend.changes 1: it has no leader" in said


async def test_the_last_answer_is_named() -> None:
    """As of a broker that does not lead what its cluster takes it to lead."""
    said = await offsets_of(("backend.events", 0))
    assert "backend.events 0" in said
    assert "NotLeaderForPartition" in said
