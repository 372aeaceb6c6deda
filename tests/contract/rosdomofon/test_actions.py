"""What the delivery asks of the operator, against the twin: by Kafka, by REST, and again after a crash."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from adapters.rosdomofon.actions import OperatorActions
from adapters.rosdomofon.api import RosDomofonAPI
from adapters.rosdomofon.kafka.client import RosDomofonKafka
from adapters.rosdomofon.kafka.outbound_log import OutboundLog
from adapters.rosdomofon.rest.models import SignUpStatus as Word
from adapters.rosdomofon.settings import OperatorSettings, RosDomofonKafkaSettings
from adapters.rosdomofon.twin.kafka import TwinOperator
from adapters.rosdomofon.twin.server import RosDomofonTwin
from schemas.errors import DeliveryRefused
from schemas.rosdomofon import OperatorAction, OperatorCommand
from streams.kafka.settings import KafkaSettings
from tests.support.systems.rosdomofon import PHONE, a_home, api_of, control

NOW = time.time_ns() // 1_000


@pytest.fixture
async def twin() -> AsyncIterator[RosDomofonTwin]:
    async with RosDomofonTwin() as running:
        yield running


@asynccontextmanager
async def port_of(
    twin: RosDomofonTwin, blocks: Literal["account", "connection"] = "account", *, rest: bool = True
) -> AsyncIterator[OperatorActions]:
    """Without Kafka."""
    known = twin.settings()
    settings = OperatorSettings(
        **known.model_dump(), blocks=blocks, kafka=RosDomofonKafkaSettings(companies=("SK_SB",), group_id="g")
    )
    async with RosDomofonKafka(settings.kafka) as kafka, RosDomofonAPI(settings) as api:
        yield OperatorActions(settings, kafka, api if rest else None)


def command(action: OperatorAction, abonent: int, **more: Any) -> OperatorCommand:
    known = {"company": "SK_SB", "abonent_ext_id": str(abonent), "abonent_phone": PHONE, "at": NOW, **more}
    return OperatorCommand(f"abonent:{abonent}", secrets.token_hex(8), action, **known)


def message(abonent: int, text: str, **more: Any) -> OperatorCommand:
    return command(OperatorAction.SEND_MESSAGE, abonent, text=text, **more)


async def test_by_rest_the_operator_says_what_became_of_a_message(twin: RosDomofonTwin) -> None:
    abonent = twin.operator.add_abonent(int(PHONE))
    async with port_of(twin) as port:
        said = message(abonent, "Мастер едет", by_rest=True)
        await port.deliver(said, 1, False)
        known = await port.deliver(said, 1, True)
        assert known.place
        assert twin.operator.got(abonent) == ["Мастер едет"]
        later = time.time_ns() // 1_000 + 60_000_000  # not NOW: this test may begin long after it was taken
        await port.deliver(said._replace(at=later), 1, True)  # the same words, said later
        assert twin.operator.got(abonent) == ["Мастер едет"] * 2
        await control(twin, "unreachable", [abonent])
        with pytest.raises(DeliveryRefused, match="no push token"):
            await port.deliver(message(abonent, "Слышите?", by_rest=True), 1, False)


async def test_a_sign_up_gets_its_status(twin: RosDomofonTwin) -> None:
    id = twin.operator.keep_sign_up({"status": "UNPROCESSED"})["id"]
    asked = command(OperatorAction.SET_SIGN_UP, 1, sign_up_ext_id=str(id), sign_up_status="CONNECTED")  # as decoded
    async with port_of(twin) as port:
        for _ in range(2):
            await port.deliver(asked, 1, True)
        with pytest.raises(DeliveryRefused, match="404"):
            await port.deliver(asked._replace(sign_up_ext_id="1"), 1, False)
    found = twin.operator.store.get("sign_up", id)
    assert found is not None
    assert found["status"] == Word.CONNECTED.upper()


@pytest.mark.parametrize("by", ["id", "phone"])
async def test_a_block_is_of_all_accounts_of_the_abonent(twin: RosDomofonTwin, by: str) -> None:
    async with api_of(twin) as api, port_of(twin) as port:
        home = await a_home(api)
        await api.create_account("ACC2", PHONE)
        await api.create_account("OTHER", "79990000002")
        asked = command(OperatorAction.BLOCK, home.abonent_id if by == "id" else 1)
        for _ in range(2):
            await port.deliver(asked, 1, True)
        assert {a.number: a.blocked for a in await api.get_accounts()} == {
            "ACC123456": True,
            "ACC2": True,
            "OTHER": False,
        }
        await port.deliver(asked._replace(action=OperatorAction.UNBLOCK), 1, False)
        assert not any(a.blocked for a in await api.get_accounts())
        history = await control(twin, "history")
        assert [h["what"] for h in history].count("account blocked") == 2
        for wrong in ({"company": "OTHER"}, {"abonent_ext_id": "7", "abonent_phone": None}):
            with pytest.raises(DeliveryRefused, match="no account"):
                await port.deliver(asked._replace(**wrong), 1, False)


async def test_a_block_may_be_of_the_connections(twin: RosDomofonTwin) -> None:
    async with api_of(twin) as api, port_of(twin, "connection") as port:
        home = await a_home(api)
        asked = command(OperatorAction.BLOCK, home.abonent_id)
        await port.deliver(asked, 1, False)
        assert [c.blocked for c in await api.get_account_connections(home.account_id)] == [True]
        assert [a.blocked for a in await api.get_accounts()] == [False]
        await port.deliver(asked._replace(action=OperatorAction.UNBLOCK), 1, False)
        assert [c.blocked for c in await api.get_account_connections(home.account_id)] == [False]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"company": "NOBODY"}, "not among the settings"),
        ({"text": ""}, "has no text"),
        ({"abonent_ext_id": "x"}, "not an operator's id"),
        ({"abonent_phone": "7913"}, "phone"),
        ({"action": OperatorAction.SET_SIGN_UP}, "status"),
        ({"action": "DANCE"}, "unknown action"),
        ({"action": OperatorAction.BLOCK}, "REST"),
        ({"by_rest": True}, "REST"),
    ],
)
async def test_what_can_never_be_done_is_refused(twin: RosDomofonTwin, changed: dict[str, Any], says: str) -> None:
    async with port_of(twin, rest=False) as port:
        with pytest.raises(DeliveryRefused, match=says):
            await port.deliver(message(1, "А")._replace(**changed), 1, False)


@pytest.mark.integration
@pytest.mark.parametrize("append_time", [False, True], ids=["our-time", "the-brokers-time"])
async def test_a_message_that_may_have_been_sent_is_looked_for(stack: Any, append_time: bool) -> None:
    async with talk(stack, append_time) as (twin, said, port, abonent):
        company = said.topics("")[0]
        first = message(abonent, "Приняли", company=company, at=time.time_ns() // 1_000)
        place = await port.deliver(first, 1, False)
        assert await port.deliver(first, 2, True) == place
        other = message(abonent, "Едем", company=company, at=first.at)
        assert await port.deliver(other, 1, True) != place
        later = first._replace(at=time.time_ns() // 1_000 + 1_000)
        assert await port.deliver(later, 1, True) != place
        behind = first._replace(last_place=place.place)  # the same words at the same moment, once more
        assert await port.deliver(behind, 1, append_time) != place
        await said.until(lambda: said.count() == (3 if append_time else 4))
        assert twin.operator.got(abonent) == ["Приняли", "Едем", "Приняли", "Приняли"][: said.count()]
        assert said.wrong() == []


@pytest.mark.integration
async def test_where_we_may_not_read_it_is_sent(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*args: Any) -> None:
        raise TopicAuthorizationFailedError("topic")

    monkeypatch.setattr(OutboundLog, "_read", refuse)
    async with talk(stack) as (twin, said, port, abonent):
        asked = message(abonent, "Приняли", company=said.topics("")[0])
        await port.deliver(asked, 1, True)
        await port.deliver(asked, 1, True)
        await said.until(lambda: said.count() == 2)
        assert twin.operator.got(abonent) == ["Приняли"] * 2


@asynccontextmanager
async def talk(
    stack: Any, append_time: bool = False
) -> AsyncIterator[tuple[RosDomofonTwin, TwinOperator, OperatorActions, int]]:
    """A company of its own on the real Kafka."""
    company = f"P_{secrets.token_hex(4)}"
    cluster = KafkaSettings(bootstrap_servers=stack.bootstrap_servers)
    theirs = RosDomofonKafkaSettings(**cluster.model_dump(), companies=(company,), group_id=company)
    async with RosDomofonTwin() as twin:
        said = TwinOperator(cluster, twin.operator, [company], partitions=3, append_time=append_time)
        settings = OperatorSettings(**twin.settings().model_dump(), kafka=theirs)
        async with said, RosDomofonKafka(theirs) as kafka:
            yield twin, said, OperatorActions(settings, kafka, None), twin.operator.add_abonent(int(PHONE))
