"""The Kafka class of RosDomofon and the operator's twin on a real Kafka, each test with a company of its own."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, errors
from loguru import logger

from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka import client as module
from adapters.rosdomofon.kafka.client import Malformed, RosDomofonKafka
from adapters.rosdomofon.kafka.errors import failed
from adapters.rosdomofon.kafka.models import KafkaIncomingMessage, SignUp
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from adapters.rosdomofon.twin.kafka import MALFORMED, TwinOperator
from adapters.rosdomofon.twin.server import ADDRESS, RosDomofonTwin
from schemas.errors import BrokenSetup, DeliveryDenied, DeliveryUnavailable, InvalidInput
from streams.kafka.settings import KafkaSettings
from tests.support.rosdomofon import PHONE, control, needs_specs, sample

pytestmark = pytest.mark.integration


class Play:
    """A twin on Kafka, settings of its companies, and what their handler got."""

    def __init__(self, twin: RosDomofonTwin, said: TwinOperator, settings: RosDomofonKafkaSettings) -> None:
        self.twin, self.said, self.settings = twin, said, settings
        self.company = settings.companies[0]
        self.abonent = twin.operator.add_abonent(int(PHONE))
        self.got: list[KafkaIncomingMessage] = []
        self.sign_ups: list[SignUp] = []
        self.bad: list[Malformed] = []

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[RosDomofonKafka]:
        async with RosDomofonKafka(self.settings, self.bad.append) as kafka:
            kafka.set_message_handler(self.got.append)
            kafka.set_sign_up_handler(self.sign_ups.append)
            await kafka.start()
            yield kafka

    @property
    def texts(self) -> list[str | None]:
        return [message.text for message in self.got]


@pytest.fixture
async def play(stack: Any) -> AsyncIterator[Play]:
    name = f"T_{secrets.token_hex(4)}"
    companies = (name, f"{name}.2")
    kafka = {"bootstrap_servers": stack.bootstrap_servers}
    settings = RosDomofonKafkaSettings(**kafka, group_id=f"group-{name}", companies=companies)
    async with (
        RosDomofonTwin() as twin,
        TwinOperator(KafkaSettings(**kafka), twin.operator, companies) as said,
    ):
        yield Play(twin, said, settings)


async def until(reached: Any, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not reached():  # noqa: ASYNC110 - there is nobody to tell us
            await asyncio.sleep(0.02)


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
    assert "letter by letter" in denied.hint


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
