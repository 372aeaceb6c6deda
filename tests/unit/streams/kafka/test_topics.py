"""Topics at a start: what only means that brokers are away, and what is a broken setup."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from schemas.errors import BrokenSetup
from streams.domains.crm import CRM
from streams.kafka import topics
from streams.kafka.settings import KafkaSettings
from streams.kafka.topics import KEPT, REPLIES, Topic
from streams.topology import topics_of
from tests.support.trial import TRIAL

TOPIC = Topic("estate.lead", KEPT)


class Admin:
    """A cluster that answers with an error code or a leader."""

    def __init__(self, code: int = 0, leader: int = 1) -> None:
        self.code, self.leader = code, leader

    async def create_topics(self, new: Any) -> Any:
        return SimpleNamespace(topic_errors=[(topic.name, self.code, "as it is") for topic in new])

    async def describe_topics(self, names: list[str]) -> Any:
        partitions = [{"partition": 0, "leader": self.leader}]
        return [{"topic": name, "error_code": 0, "partitions": partitions} for name in names]


async def test_brokers_that_are_away_are_no_broken_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that was started meanwhile ended for good."""
    monkeypatch.setattr(topics, "LEADER_WAIT_S", 0.0)
    assert await topics.partitions_of(Admin(), [TOPIC.name]) == {TOPIC.name: [0]}
    with pytest.raises(KafkaError, match=r"estate\.lead"):
        await topics.partitions_of(Admin(leader=-1), [TOPIC.name])


async def test_a_partition_count_that_is_another_is_one() -> None:
    found = await topics.partitions_of(Admin(), [TOPIC.name])
    with pytest.raises(BrokenSetup, match="has 1 partitions, 8 are set"):
        topics._check_counts(found, {TOPIC.name: 8})


async def test_a_topic_that_was_made_a_moment_ago_is_asked_for_again() -> None:
    """A broker may not know it yet, or know it without a leader."""

    answers: list[Any] = [(3, []), (5, []), (0, [{"partition": 0, "leader": -1}])]

    class Late(Admin):
        async def describe_topics(self, names: list[str]) -> Any:
            if not answers:
                return await super().describe_topics(names)
            code, partitions = answers.pop(0)
            return [{"topic": name, "error_code": code, "partitions": partitions} for name in names]

    assert await topics.partitions_of(Late(), [TOPIC.name]) == {TOPIC.name: [0]}
    assert answers == []


async def test_no_topics_have_no_partitions() -> None:
    """Kafka takes a request without names for one about all topics."""
    assert await topics.partitions_of(None, []) == {}


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


class Configured(Admin):
    """A cluster whose topics have these settings."""

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self.settings = settings

    async def describe_configs(self, resources: Any) -> Any:
        entries = list(self.settings.items())
        return [SimpleNamespace(resources=[(0, None, 2, resource.name, entries) for resource in resources])]


def test_replies_are_kept_for_a_day_and_nothing_else_is() -> None:
    """They were kept for ever, though nobody reads one after some seconds."""
    wanted = {topic.name: topic.config for topic in topics_of([CRM, TRIAL])}
    forgetting = {name for name, config in wanted.items() if config.get("retention.ms") == "86400000"}
    assert forgetting == {
        "crm.user.replies", "crm.directory.replies", "crm.request.replies", "trial.account.replies"
    }  # fmt: skip
    assert all(
        config["cleanup.policy"] == "compact" or config.get("retention.ms") == "-1"
        for name, config in wanted.items()
        if name not in forgetting
    )


@pytest.mark.parametrize("retention", ["86400000", "-1"])
async def test_a_reply_topic_may_forget_and_may_keep(retention: str) -> None:
    """One that an older version made keeps its replies for ever."""
    admin = Configured(**{"cleanup.policy": "delete", "retention.ms": retention})
    await topics._check_policies(admin, KafkaSettings(), [Topic("crm.user.replies", REPLIES)])


async def test_other_topics_may_not_forget() -> None:
    admin = Configured(**{"cleanup.policy": "delete", "retention.ms": "86400000"})
    with pytest.raises(BrokenSetup, match="topics that forget: estate"):
        await topics._check_policies(admin, KafkaSettings(), [TOPIC])
