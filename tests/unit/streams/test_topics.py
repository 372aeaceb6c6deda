"""Topics at a start: what only means that brokers are away, and what is a broken setup."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from schemas.errors import BrokenSetup
from schemas.kafka import KafkaSettings
from streams import topics
from streams.topics import KEPT, Topic

TOPIC = Topic("estate.lead", KEPT)


class Admin:
    """A cluster that answers with an error code or a leader."""

    def __init__(self, code: int = 0, leader: int = 1) -> None:
        self.code, self.leader = code, leader

    async def create_topics(self, new: Any) -> Any:
        return SimpleNamespace(topic_errors=[(topic.name, self.code, "as it is") for topic in new])

    async def describe_topics(self, names: list[str]) -> Any:
        return [{"topic": name, "error_code": 0, "partitions": [{"leader": self.leader}]} for name in names]


async def test_brokers_that_are_away_are_no_broken_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was started meanwhile ended for good."""
    monkeypatch.setattr(topics, "LEADER_WAIT_S", 0.0)
    await topics._await_leaders(Admin(), [TOPIC.name], 1)
    with pytest.raises(KafkaError, match=r"estate\.lead"):
        await topics._await_leaders(Admin(leader=-1), [TOPIC.name], 1)


async def test_a_partition_count_that_is_another_is_one() -> None:
    with pytest.raises(BrokenSetup, match="has 1 partitions, 8 are set"):
        await topics._await_leaders(Admin(), [TOPIC.name], 8)


@pytest.mark.parametrize(
    ("code", "error"), [(7, KafkaError), (41, KafkaError), (38, BrokenSetup), (29, BrokenSetup), (0, None), (36, None)]
)
async def test_a_topic_that_can_not_be_made(code: int, error: type[Exception] | None) -> None:
    """Timed out, not the controller; too few brokers for its replicas, not allowed; made, there already."""
    making = topics._create(Admin(code), KafkaSettings(), [TOPIC])
    if error is None:
        assert await making == ([] if code else [TOPIC.name])
    else:
        with pytest.raises(error, match=r"estate\.lead"):
            await making
