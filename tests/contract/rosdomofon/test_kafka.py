"""The Kafka class of RosDomofon on a real Kafka, each test with a company of its own."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from loguru import logger

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka import client as module
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.kafka.models import KafkaIncomingMessage
from adapters.rosdomofon.twin.kafka import MALFORMED
from adapters.rosdomofon.twin.server import ADDRESS
from schemas.errors import InvalidInput
from tests.support.systems.rosdomofon import PHONE, needs_specs, sample
from tests.support.systems.rosdomofon_play import Play
from tests.support.waiting import until

pytestmark = pytest.mark.integration


async def test_a_talk_of_an_abonent_and_two_companies(play: Play) -> None:
    first, second = play.settings.companies
    async with play.reading() as kafka:
        await play.said.abonent_says(first, play.abonent, "Здравствуйте")
        place = await play.said.abonent_says(second, play.abonent, "Домофон молчит", as_message=True)
        await until(lambda: len(play.got) == 2)
        assert sorted(map(str, play.texts)) == ["Домофон молчит", "Здравствуйте"]
        heard = next(m for m in play.got if m.text == "Домофон молчит")
        assert heard.from_abonent.phone == int(PHONE)
        assert heard.place == place
        assert heard.place.company == second
        sent = await kafka.send_message(play.abonent, PHONE, "Сейчас", company=first)
        await kafka.send_message_to_multiple([{"id": play.abonent, "phone": 0}, {"id": 5}], "Работы", company=second)
        await play.said.until(lambda: play.said.count() == 2)
        with pytest.raises(InvalidInput, match="company"):
            await kafka.send_message(play.abonent, PHONE, "Кому?")
        with pytest.raises(InvalidInput, match="company"):
            await kafka.send_message(play.abonent, PHONE, "Кому?", company="SK_SB")
        with pytest.raises(InvalidInput):
            await kafka.send_message(play.abonent, "7913", "Кому?", company=first)
    assert play.twin.operator.got(play.abonent) == ["Сейчас", "Работы"]
    assert play.twin.operator.got(5) == ["Работы"]
    assert play.said.heard()[0].place == sent
    assert play.said.wrong() == []


async def test_a_message_that_was_given_up_is_not_said_after_all(play: Play) -> None:
    """Its partition is another's then, who looks for it, finds nothing, and says it: it was said twice."""
    async with RosDomofonKafka(play.settings) as kafka:
        kafka._producer._options["linger_ms"] = 600_000
        sending = asyncio.create_task(kafka.send_message(play.abonent, PHONE, "Передумали", company=play.company))
        await until(lambda: kafka._producer._producer is not None)
        await until(lambda: kafka._producer._producer._message_accumulator._batches)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        kafka._producer._options["linger_ms"] = 5
        await kafka.send_message(play.abonent, PHONE, "Сейчас", company=play.company)
    await play.said.until(lambda: play.said.count() == 1)
    assert play.twin.operator.got(play.abonent) == ["Сейчас"]


@needs_specs
async def test_what_is_sent_has_the_documented_form(play: Play, stack: Any) -> None:
    async with RosDomofonKafka(play.settings) as kafka:
        await kafka.send_message(1574870, 79990000001, "Ответ оператора", company=play.company)
    topic = f"MESSAGES_OUT_{play.company}"
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=stack.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        record = await asyncio.wait_for(consumer.getone(), 60)
    finally:
        await consumer.stop()
    assert json.loads(record.value.decode()) == sample("kafka/MESSAGES_OUT.single")
    assert (record.key, tuple(record.headers)) == (None, ())


async def test_sign_ups_of_a_company_and_of_all(play: Play) -> None:
    play.settings = play.settings.model_copy(update={"sign_ups_all": True})
    flat = {**ADDRESS, "flat": 42}
    async with play.reading():
        await play.said.sign_up(play.company, play.abonent, flat)
        place = await play.said.sign_up(play.company, play.abonent, ADDRESS, to_all=True, uid=f"u-{play.company}")
        known = {f"SIGN_UPS_{play.company}", place.topic}
        await until(lambda: {s.place.topic for s in play.sign_ups if s.place} >= known)
    theirs = next(s for s in play.sign_ups if s.place and s.place.topic == f"SIGN_UPS_{play.company}")
    assert theirs.address
    assert theirs.address.flat == 42
    assert theirs.place
    assert theirs.place.company == play.company
    to_all = next(s for s in play.sign_ups if s.uid == f"u-{play.company}")
    assert to_all.place == place
    assert to_all.place is not None
    assert to_all.place.company is None


async def test_a_malformed_record_never_stops_it(play: Play) -> None:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="TRACE")
    async with play.reading():
        for way in MALFORMED:
            await play.said.malformed(f"MESSAGES_IN_{play.company}", way)
            await play.said.malformed(f"SIGN_UPS_{play.company}", way)
        await play.said.abonent_says(play.company, play.abonent, "тайна")
        await until(lambda: play.got and len(play.bad) == 2 * len(MALFORMED))
    logger.remove(sink)
    assert play.texts == ["тайна"]
    assert {b.value for b in play.bad} == set(MALFORMED.values())
    assert not any(word in line for line in lines for word in ("тайна", PHONE, "Кто это"))


async def test_a_handler_that_fails_is_called_again(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.01)
    calls: list[str | None] = []

    async def shaky(message: KafkaIncomingMessage) -> None:
        calls.append(message.text)
        if calls.count("1") < 3:
            raise ValueError("тайна")

    async with RosDomofonKafka(play.settings) as kafka:
        kafka.set_message_handler(shaky)
        await kafka.start()
        for text in "12":
            await play.said.abonent_says(play.company, play.abonent, text)
        await until(lambda: len(calls) == 4)
    assert calls == ["1", "1", "1", "2"]


async def test_a_restart_goes_on_where_it_was_and_a_redelivery_has_the_same_places(play: Play) -> None:
    for number in range(3):
        await play.said.abonent_says(play.company, play.abonent, str(number))
    async with play.reading():
        await until(lambda: len(play.got) == 3)
    await play.said.abonent_says(play.company, play.abonent, "3")
    async with play.reading():
        await until(lambda: len(play.got) == 4)
    assert play.texts == ["0", "1", "2", "3"]
    await play.said.redeliver(play.settings.group_id, f"MESSAGES_IN_{play.company}", 2)
    async with play.reading():
        await until(lambda: len(play.got) == 6)
    assert play.texts[4:] == ["2", "3"]
    assert [m.place for m in play.got[4:]] == [m.place for m in play.got[2:4]]


async def test_what_was_handled_before_a_stop_stays_handled(play: Play) -> None:
    calls, stuck = list[str](), asyncio.Event()

    async def handle(message: KafkaIncomingMessage) -> None:
        calls.append(message.text or "")
        if len(calls) == 2:
            stuck.set()
            await asyncio.Event().wait()

    for text in "123":
        await play.said.abonent_says(play.company, play.abonent, text)
    for _ in range(2):
        async with RosDomofonKafka(play.settings) as kafka:
            kafka.set_message_handler(handle)
            await kafka.start()
            await (until(lambda: len(calls) == 4) if stuck.is_set() else stuck.wait())
    assert calls == ["1", "2", "2", "3"]


async def test_the_methods_of_the_seed_are_on_the_api(play: Play) -> None:
    settings = play.settings.model_copy(update={"companies": (play.company,)})
    async with RosDomofonAPI(play.twin.settings(), settings) as api:

        async def answer(message: KafkaIncomingMessage) -> None:
            await api.send_message_to_abonent(message.from_abonent.id, "support", f"Получено: {message.text}")

        api.set_kafka_message_handler(answer)
        await api.start_kafka_consumer()
        await play.said.abonent_says(play.company, play.abonent, "Привет")
        await until(lambda: play.twin.operator.got(play.abonent))
        await api.stop_kafka_consumer()
        await api.send_kafka_message(play.abonent, int(PHONE), "Через Kafka")
        await api.send_kafka_message_to_multiple([{"id": play.abonent, "phone": int(PHONE)}], "Всем")
        await play.said.until(lambda: play.said.count() == 2)
        messages = [m.message async for m in api.iter_abonent_messages(play.abonent)]
    assert messages == ["Всем", "Через Kafka", "Получено: Привет", "Привет"]
