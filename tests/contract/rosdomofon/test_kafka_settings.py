"""Settings, groups and names that the operator's Kafka refuses, and a cluster in trouble."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, errors

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.kafka.errors import failed
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryUnavailable
from tests.support.systems.rosdomofon_play import Play
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def test_setups_that_can_not_work(play: Play) -> None:
    alone = RosDomofonKafkaSettings(bootstrap_servers=play.settings.bootstrap_servers, companies=("A",))
    for settings in (alone, alone.model_copy(update={"companies": (), "group_id": "g"}), play.settings):
        async with RosDomofonKafka(settings) as kafka:
            with pytest.raises(BrokenSetup):
                await kafka.start()
    async with RosDomofonAPI(play.twin.settings()) as api:
        with pytest.raises(BrokenSetup):
            await api.send_kafka_message(1, 0, "A")
    nowhere = RosDomofonKafkaSettings(bootstrap_servers="127.0.0.1:1", companies=("A",), group_id="g")
    async with RosDomofonKafka(nowhere) as kafka:
        kafka.set_message_handler(print)
        with pytest.raises(DeliveryUnavailable):
            await kafka.start()
        with pytest.raises(DeliveryUnavailable):
            await kafka.send_message(1, 0, "A")


def test_a_group_that_was_not_issued_is_denied() -> None:
    denied = failed("reading", errors.GroupAuthorizationFailedError("group"))
    assert isinstance(denied, DeliveryDenied)
    assert "as the operator issued it" in denied.hint


async def test_a_group_that_the_cluster_refuses_ends_the_reading(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: Any, **kwargs: Any) -> None:
        raise errors.GroupAuthorizationFailedError("group")

    async with play.reading() as kafka:
        monkeypatch.setattr(AIOKafkaConsumer, "getmany", refuse)
        with pytest.raises(DeliveryDenied, match="GroupAuthorizationFailed"):
            await asyncio.wait_for(kafka.wait(), 60)


async def test_who_waits_for_its_end_is_not_cancelled_by_it(play: Play) -> None:
    async with play.reading() as kafka:
        waiting = asyncio.create_task(kafka.wait())
        await asyncio.sleep(0)
        await kafka.stop()
        await waiting


async def test_a_cluster_in_trouble_is_waited_for(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    getmany, left = AIOKafkaConsumer.getmany, [3]

    async def trouble(self: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        if left[0] and self._group_id:
            left[0] -= 1
            raise errors.KafkaTimeoutError
        return await getmany(self, *args, **kwargs)

    monkeypatch.setattr(AIOKafkaConsumer, "getmany", trouble)
    await play.said.abonent_says(play.company, play.abonent, "А")
    async with play.reading():
        await until(lambda: play.got)
    assert left == [0]


@pytest.mark.parametrize("companies", [("A", "A"), ("ALL",), ("A B",), ("",), ("../x",), ("a" * 201,)])
def test_names_that_can_be_no_company(companies: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="companies"):
        RosDomofonKafkaSettings(companies=companies)
