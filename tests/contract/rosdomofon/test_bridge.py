"""The bridge from the twin's Kafka to ours, whose part a stub plays: what it takes over, what it never loses."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from adapters.rosdomofon import bridge as module
from adapters.rosdomofon.bridge import AbonentCache, Bridge
from adapters.rosdomofon.inbound_log import heard
from adapters.rosdomofon.settings import RosDomofonKafkaSettings
from adapters.rosdomofon.twin.kafka import MALFORMED, TwinOperator
from adapters.rosdomofon.twin.server import ADDRESS, RosDomofonTwin
from schemas.domofon import Abonent, Message, SignUp
from schemas.errors import BrokenSetup, InvalidInput, KounterError
from streams.kafka.settings import KafkaSettings
from tests.support.systems.rosdomofon import PHONE
from tests.support.waiting import until

pytestmark = pytest.mark.integration


class Ours:
    """Our cluster: what was acknowledged, in its order; it is away for the next ``away`` records."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self.ids: list[str] = []
        self.letters: list[tuple[Any, KounterError]] = []
        self.away = 0

    async def send_nowait(self, row: Any, *, id: str, time_micros: int) -> asyncio.Future[Any]:
        if isinstance(row, Message) and row.text == "too large":
            raise InvalidInput("Message", "a record of at most 1 byte", "2 bytes")
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.away:
            self.away -= 1
            sent.set_exception(KafkaTimeoutError())
        else:
            self.rows.append(row)
            self.ids.append(id)
            sent.set_result(None)
        return sent

    async def bury(self, record: Any, error: KounterError) -> None:
        self.letters.append((record, error))

    def texts(self) -> list[str]:
        return [row.text for row in self.rows if isinstance(row, Message)]


class Play:
    def __init__(self, twin: RosDomofonTwin, said: TwinOperator, settings: RosDomofonKafkaSettings) -> None:
        self.twin, self.said, self.settings, self.ours = twin, said, settings, Ours()
        self.company = settings.companies[0]
        self.abonent = twin.operator.add_abonent(int(PHONE))

    @asynccontextmanager
    async def bridge(self) -> AsyncIterator[Bridge]:
        ours: Any = self.ours
        bridge = Bridge(self.settings, ours, ours.bury)
        running = asyncio.create_task(bridge.run())
        try:
            await bridge.ready.wait()
            yield bridge
        finally:
            bridge.stop()
            await asyncio.wait_for(running, 60)

    async def says(self, *texts: str) -> None:
        for text in texts:
            await self.said.abonent_says(self.company, self.abonent, text)


@pytest.fixture
async def play(stack: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Play]:
    monkeypatch.setattr(module, "FIRST_WAIT_S", 0.05)
    name = f"B_{secrets.token_hex(4)}"
    cluster = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
    settings = RosDomofonKafkaSettings(
        bootstrap_servers=stack.bootstrap_servers, group_id=f"group-{name}", companies=(name,)
    )
    async with RosDomofonTwin() as twin, TwinOperator(cluster, twin.operator, settings.companies) as said:
        yield Play(twin, said, settings)


async def test_messages_and_sign_ups_become_records_and_what_can_not_be_read_a_dead_letter(play: Play) -> None:
    topics = [f"{prefix}{play.company}" for prefix in ("MESSAGES_IN_", "SIGN_UPS_")]
    for way in MALFORMED:
        for topic in topics:
            await play.said.malformed(topic, way)
    await play.says("Здравствуйте", "too large")
    place = await play.said.sign_up(play.company, play.abonent, ADDRESS)
    async with play.bridge() as bridge:
        await until(lambda: len(play.ours.rows) == 3 and len(play.ours.letters) == 2 * len(MALFORMED) + 1)
    message = next(row for row in play.ours.rows if isinstance(row, Message))
    assert message.ext_id == f"{play.abonent}/{topics[0]}/0/{len(MALFORMED)}"
    assert (message.company, message.text, message.abonent_phone) == (play.company, "Здравствуйте", PHONE)
    sign_up = next(row for row in play.ours.rows if isinstance(row, SignUp))
    assert (sign_up.source_topic, sign_up.source_offset) == (place.topic, place.offset)
    assert {record.topic for record, _ in play.ours.letters} == set(topics)
    reasons = {getattr(error, "reason", error.code) for _, error in play.ours.letters}
    assert reasons == {"empty", "not_json", "invalid", InvalidInput.code}
    stats = bridge.stats
    assert (stats.messages, stats.sign_ups, stats.malformed) == (1, 1, 2 * len(MALFORMED) + 1)


async def test_while_our_cluster_is_away_nothing_is_lost_and_the_order_is_kept(play: Play) -> None:
    play.ours.away = 7
    await play.says(*"abcde")
    async with play.bridge() as bridge:
        await until(lambda: set(play.ours.texts()) == set("abcde"))
        await until(lambda: not play.ours.away)
    assert play.ours.texts()[-5:] == list("abcde")
    assert bridge.stats.retried >= 1


async def test_what_was_not_acknowledged_comes_again_to_the_next_bridge(play: Play) -> None:
    await play.says("a", "b")
    play.ours.away = 1_000
    async with play.bridge() as bridge:
        await until(lambda: bridge.stats.retried)
    assert play.ours.rows == []
    play.ours.away = 0
    async with play.bridge():
        await until(lambda: play.ours.texts() == ["a", "b"])


async def test_what_comes_twice_has_the_same_ids(play: Play) -> None:
    await play.says("a", "b", "c")
    async with play.bridge():
        await until(lambda: len(play.ours.texts()) == 3)
    await play.says("d")
    async with play.bridge():
        await until(lambda: len(play.ours.texts()) == 4)
    assert play.ours.texts() == list("abcd")
    await play.said.redeliver(play.settings.group_id, f"MESSAGES_IN_{play.company}", 2)
    async with play.bridge():
        await until(lambda: len(play.ours.texts()) == 6)
    said = [(row, id) for row, id in zip(play.ours.rows, play.ours.ids, strict=True) if isinstance(row, Message)]
    assert said[4:] == said[2:4]


async def test_an_abonent_is_told_before_the_message_and_only_when_that_is_news(play: Play) -> None:
    await play.says("a", "b")
    async with play.bridge():
        await until(lambda: len(play.ours.texts()) == 2)
        who, *said = play.ours.rows
        assert isinstance(who, Abonent)
        assert [row.text for row in said] == ["a", "b"]
        assert (who.ext_id, who.phone, who.company) == (str(play.abonent), PHONE, play.company)


async def test_what_stands_there_is_heard_without_the_group(play: Play) -> None:
    begun = time.time()
    await play.says("a")
    await play.said.malformed(f"MESSAGES_IN_{play.company}", next(iter(MALFORMED)))
    await play.says("b")
    found = await heard(play.settings, begun - 1, {str(play.abonent)})
    assert [message.text for message in found] == ["a", "b"]
    assert await heard(play.settings, begun - 1, {"1"}) == await heard(play.settings, begun + 60, {"1"}) == []
    async with play.bridge():
        await until(lambda: len(play.ours.texts()) == 2)
    assert [row for row in play.ours.rows if isinstance(row, Message)] == found


def test_an_abonent_is_news_if_new_or_other_or_not_seen_for_an_hour() -> None:
    known, who = AbonentCache(), Abonent("15", PHONE, company="SK_SB", seen_at=1)
    assert known.is_news(who)
    known.add(who)
    assert not known.is_news(who._replace(seen_at=3_600_000_000))
    assert known.is_news(who._replace(seen_at=3_600_000_002))
    assert known.is_news(who._replace(phone="79990000002"))
    known.forget()
    assert known.is_news(who)


def test_without_companies_or_group_it_does_not_start() -> None:
    ours: Any = Ours()
    for missing in ({"group_id": "g"}, {"companies": ("A",)}):
        with pytest.raises(BrokenSetup, match="companies and a group"):
            Bridge(RosDomofonKafkaSettings(**missing), ours, ours.bury)
