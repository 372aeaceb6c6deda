"""The operator's twin on a real Kafka: each record once, and its control."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.twin.kafka import TwinOperator
from streams.kafka.settings import KafkaSettings
from tests.support.systems.rosdomofon import PHONE, control
from tests.support.systems.rosdomofon_play import Play
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def test_the_twin_hears_each_record_once_also_after_a_restart(play: Play) -> None:
    async with RosDomofonKafka(play.settings) as kafka:
        await kafka.send_message(play.abonent, PHONE, "раз", company=play.company)
        await play.said.until(lambda: play.said.count() == 1)
        cluster = KafkaSettings(bootstrap_servers=play.settings.bootstrap_servers)
        async with TwinOperator(cluster, play.twin.operator, play.settings.companies) as again:
            await kafka.send_message(play.abonent, PHONE, "два", company=play.company)
            await again.until(lambda: again.count() == 2)
            await asyncio.sleep(0.3)
    assert play.twin.operator.got(play.abonent) == ["раз", "два"]


async def test_the_twin_tells_what_is_wrong_with_a_companys_record(play: Play) -> None:
    topic = f"MESSAGES_OUT_{play.company}"
    for value in (b"{", b'{"message": "A", "toAbonents": []}', b'{"message": "A", "toAbonents": [{"id": 1}]}', None):
        await play.said.produce(topic, value)
    await play.said.until(lambda: len(play.said.wrong()) == 4)
    assert play.said.heard() == []
    assert play.said.wrong()[2][1] == "without channel, deliveryMethod, fromAbonent, localizedPush"


async def test_an_abonent_speaks_by_the_twins_control(play: Play) -> None:
    play.twin.app.control.speaking = play.said
    async with play.reading():
        asked = {"phone": 79990000077, "text": "Откройте", "company": play.company}
        said = await control(play.twin, "say", asked)
        await until(lambda: play.got)
        again = await control(
            play.twin, "say", {"abonent_id": said["abonent_id"], "text": "Ау", "company": play.company}
        )
        await until(lambda: len(play.got) == 2)
    assert play.texts == ["Откройте", "Ау"]
    assert {m.from_abonent.id for m in play.got} == {said["abonent_id"]} == {again["abonent_id"]}
    async with httpx.AsyncClient(base_url=play.twin.url, trust_env=False) as http:
        wrong = [{"abonent_id": 1, "text": "Кто?"}, {"text": "Кто?"}, {"phone": 7, "text": "Кто?"}]
        answers = [await http.post("/_twin/say", json=body) for body in wrong]
    assert [answer.status_code for answer in answers] == [404, 404, 422]
