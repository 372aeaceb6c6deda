"""RosDomofon, whole: the twin, and bridge, lane and delivery as processes; the portal's part is produced."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.rosdomofon.twin.faults import Fault
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import ADDRESS, RosDomofonTwin
from adapters.twin_kit.faults import Way
from schemas.bitrix24 import CardChanged, CardCommand, CommentCommand, PortalComment
from schemas.domofon import Abonent
from schemas.rosdomofon import OperatorOutcome
from streams.domains import DOMAINS
from streams.domains.domofon import ABONENTS, CARDS, MESSAGES, SIGN_UPS
from streams.kafka.settings import KafkaSettings
from tests.support.cluster import Cluster, eventually
from tests.support.stage import ANSWER, BLOCKED, Stage
from tests.support.systems.rosdomofon import api_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
COMPANY: Final = f"I_{random.getrandbits(32):08x}"


class Play:
    """What one test needs: the operator, its abonents, the three processes, our topics."""

    def __init__(self, twin: RosDomofonTwin, said: TwinOperator, stage: Stage, cluster: Cluster) -> None:
        self.twin, self.said, self.stage, self.cluster = twin, said, stage, cluster

    def abonents(self, count: int) -> list[int]:
        first = random.randrange(10**9, 10**12)
        return [
            self.twin.operator.add_abonent(79_000_000_000 + random.randrange(10**9), first + n) for n in range(count)
        ]

    async def commands(self, kind: type, key: str) -> list[Any]:
        """What the portal is asked for, of one kind and lead."""
        rows = [await self.cluster.serde.decode(CARDS, r.value) for r in await self.cluster.read(CARDS, key)]
        return [kind(*row) for row in rows if type(row).__name__ == kind.__name__]

    async def all_heard(self, count: int) -> None:
        await self.said.until(lambda: self.said.count() >= count, 60)


@pytest.fixture
async def play(stack: Any, tmp_path: Path) -> AsyncIterator[Play]:
    kafka = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
    async with (
        RosDomofonTwin() as twin,
        TwinOperator(kafka, twin.operator, [COMPANY]) as said,
        Cluster(stack, DOMAINS["domofon"]) as cluster,
        Stage(stack, tmp_path, [COMPANY], twin.settings()) as stage,
    ):
        yield Play(twin, said, stage, cluster)


async def test_a_talk_with_the_operator_and_what_people_do_in_the_portal(play: Play) -> None:
    await _each_message_is_acknowledged_once_though_the_bridge_dies(play)
    await _what_a_person_writes_comes_to_the_abonent_and_its_outcome_into_the_timeline(play)
    await _a_sign_up_gets_the_status_of_its_stage(play)
    await _a_block_reaches_the_operator(play)
    await _while_rest_is_away_messages_are_acknowledged(play)
    assert play.said.wrong() == []


async def _each_message_is_acknowledged_once_though_the_bridge_dies(play: Play) -> None:
    abonents = play.abonents(4)
    for n in range(20):
        await play.said.abonent_says(COMPANY, abonents[n % 4], f"{n}")
        if n == 10:
            await play.stage.kill("bridge")
    await play.all_heard(20)
    await asyncio.sleep(2)  # what would come twice
    heard = Counter(h.message.to_abonents[0].id for h in play.said.heard())
    assert heard == dict.fromkeys(abonents, 5)
    assert {h.message.message for h in play.said.heard()} == {ANSWER}
    for number, abonent in enumerate(abonents):
        comments = await play.commands(CommentCommand, f"abonent:{abonent}")
        assert [c.text for c in comments] == [str(n) for n in range(number, 20, 4)]


async def _what_a_person_writes_comes_to_the_abonent_and_its_outcome_into_the_timeline(play: Play) -> None:
    (abonent,) = play.abonents(1)
    before = play.said.count()
    await play.said.abonent_says(COMPANY, abonent, "Домофон молчит")
    await play.all_heard(before + 1)
    written = PortalComment(str(abonent), 7, "Мастер едет")
    for _ in range(2):
        await play.cluster.producer.send(written, topic=ABONENTS)
    await play.all_heard(before + 2)
    assert play.twin.operator.got(abonent) == [ANSWER, "Мастер едет"]

    async def told() -> bool:
        return len(await play.commands(CommentCommand, f"abonent:{abonent}")) == 2

    await eventually(told)
    comments = await play.commands(CommentCommand, f"abonent:{abonent}")
    assert [c.text for c in comments] == ["Домофон молчит", "Отправлено абоненту"]
    receipts = await play.cluster.rows(MESSAGES, f"{abonent}/comment/7")
    assert receipts[-1].operator_outcome == OperatorOutcome.SUCCESS
    assert receipts[-1].operator_place.startswith(f"MESSAGES_OUT_{COMPANY}/")


async def _a_sign_up_gets_the_status_of_its_stage(play: Play) -> None:
    (abonent,) = play.abonents(1)
    id = random.randrange(10**9, 10**12)
    await play.said.sign_up(COMPANY, abonent, {**ADDRESS, "flat": 4}, id=id)

    async def carded() -> bool:
        return len(await play.commands(CardCommand, str(id))) == 1

    await eventually(carded)
    (card,) = await play.commands(CardCommand, str(id))
    assert (card.stage, card.aggregate) == ("NEW", SIGN_UPS)
    await play.cluster.producer.send(CardChanged(str(id), 5, "NEW"), topic=SIGN_UPS)
    await play.cluster.producer.send(CardChanged(str(id), 5, "CONVERTED"), topic=SIGN_UPS)
    await eventually(lambda: (play.twin.operator.store.get("sign_up", id) or {})["status"] == "CONNECTED")


async def _a_block_reaches_the_operator(play: Play) -> None:
    (abonent,) = play.abonents(1)
    phone = (play.twin.operator.store.get("abonent", abonent) or {})["phone"]
    play.twin.operator.create_account("ACC-1", phone)
    before = play.said.count()
    # The twin's accounts are of its one company, so the abonent is known without one.
    await play.cluster.producer.send(Abonent(str(abonent), phone=str(phone)), topic=ABONENTS)
    await play.cluster.producer.send(CardChanged(str(abonent), 6, "NEW"), topic=ABONENTS)
    await play.cluster.producer.send(CardChanged(str(abonent), 6, BLOCKED), topic=ABONENTS)
    async with api_of(play.twin) as api:

        async def blocked(wanted: bool) -> bool:
            return {a.number: a.blocked for a in await api.get_accounts()} == {"ACC-1": wanted}

        await eventually(lambda: blocked(True))
        await play.cluster.producer.send(CardChanged(str(abonent), 6, "NEW"), topic=ABONENTS)
        await eventually(lambda: blocked(False))
    assert play.said.count() == before


async def _while_rest_is_away_messages_are_acknowledged(play: Play) -> None:
    (abonent,) = play.abonents(1)
    phone = (play.twin.operator.store.get("abonent", abonent) or {})["phone"]
    play.twin.operator.create_account("ACC-2", phone)
    await play.cluster.producer.send(Abonent(str(abonent), phone=str(phone)), topic=ABONENTS)
    before = play.said.count()

    def blocks() -> bool:
        return any(account["blocked"] for account in play.twin.operator.store.all("account", number="ACC-2"))

    play.twin.faults.plan(Fault(kind=Way.UNAVAILABLE))
    for stage in ("NEW", BLOCKED):
        await play.cluster.producer.send(CardChanged(str(abonent), 7, stage), topic=ABONENTS)
    await eventually(lambda: play.twin.faults.fired[Way.UNAVAILABLE])
    await play.said.abonent_says(COMPANY, abonent, "Домофон заблокирован")
    await play.all_heard(before + 1)
    assert not blocks()
    play.twin.faults.plan()
    await eventually(blocks)
