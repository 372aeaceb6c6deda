"""What the watch does with events that the portal will not explain, or not yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from loguru import logger

from adapters.bitrix24.events import DENIED_TRIES
from adapters.bitrix24.leads import read_lead
from adapters.bitrix24.rest.answers import Bitrix24Refused, Reply
from adapters.bitrix24.settings import WatchSettings
from adapters.bitrix24.watch import PortalWatch
from adapters.bitrix24.webhook import HookEvent, HookName
from schemas.bitrix24 import CardChanged, PortalComment
from schemas.errors import DeliveryDenied, InvalidInput
from tests.support.waiting import until

LEAD = {"ID": 9, "ORIGINATOR_ID": "kounter", "ORIGIN_ID": "abonent:7", "DATE_MODIFY": "2026-11-01T00:00:00+03:00"}
COMMENT = {"ID": 2, "ENTITY_ID": 9, "ENTITY_TYPE": "lead", "COMMENT": "// Здравствуйте"}


DENIED = DeliveryDenied("crm.timeline.comment.get: ACCESS_DENIED: Access denied.")


class Portal:
    """Of comment 1 it says something odd, of comment 2 all, while it talks to us."""

    def __init__(self, odd: Any) -> None:
        self._odd = odd
        self.revoked = False
        self.asked = list[int]()

    async def call(self, method: str, params: Any) -> Reply:
        self.asked.append(params["id"])
        if self.revoked:
            raise DENIED
        if params["id"] == 2:
            return Reply(COMMENT, None, None)
        if isinstance(self._odd, Exception):
            raise self._odd
        return Reply(self._odd, None, None)


class Leads:
    asked = 0

    async def get(self, lead_id: int) -> Any:
        self.asked += 1
        return read_lead(LEAD)

    async def page(self, wanted: Any, order: Any) -> list[Any]:
        return []


@asynccontextmanager
async def watching(
    portal: Any, send: Any, folder: Path, leads: Any = None
) -> AsyncIterator[tuple[PortalWatch, asyncio.Task[None]]]:
    watch = PortalWatch(portal, leads or Leads(), "kounter", WatchSettings(), send, folder / "notes.json")
    running = asyncio.create_task(watch.run())
    yield watch, running
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("odd", [Bitrix24Refused("400: not for you"), {**COMMENT, "ID": 1, "ENTITY_ID": None}, DENIED])
async def test_one_that_will_never_be_told_holds_up_none_behind_it(odd: Any, tmp_path: Path) -> None:
    told: list[Any] = []
    came = asyncio.Event()

    async def send(row: Any, topic: str) -> None:
        told.append(row)
        came.set()

    async with watching(Portal(odd), send, tmp_path) as (watch, _):
        await watch.take(HookEvent(HookName.COMMENT_ADD, 1, 0))
        await asyncio.sleep(0.01)
        await watch.take(HookEvent(HookName.COMMENT_ADD, 2, 0))
        async with asyncio.timeout(60):
            await came.wait()
    assert told == [PortalComment("7", 2, "Здравствуйте")]


async def test_what_no_record_can_hold_ends_nothing(tmp_path: Path) -> None:
    async def send(row: Any, topic: str) -> None:
        raise InvalidInput("PortalComment", "a record of at most 1000000 bytes", "")

    async with watching(Portal({}), send, tmp_path) as (watch, running):
        await watch.take(HookEvent(HookName.COMMENT_ADD, 2, 0))
        await asyncio.sleep(0.02)
        assert not running.done()


async def test_the_error_that_ends_it_comes_out_as_it_is(tmp_path: Path) -> None:
    """Whoever runs it tells by it how to leave."""

    async def send(row: Any, topic: str) -> None:
        raise KafkaConnectionError

    async with watching(Portal({}), send, tmp_path) as (watch, running):
        await watch.take(HookEvent(HookName.COMMENT_ADD, 2, 0))
        with pytest.raises(KafkaConnectionError):
            await running


async def test_of_a_lead_that_was_seen_the_portal_is_not_asked_again(tmp_path: Path) -> None:
    """Each call has to wait for the portal's rate."""
    told: list[Any] = []
    leads = Leads()

    async def send(row: Any, topic: str) -> None:
        told.append(row)

    async with watching(Portal({}), send, tmp_path, leads) as (watch, _):
        for event, id in ((HookName.LEAD_ADD, 9), (HookName.COMMENT_ADD, 2)):
            await watch.take(HookEvent(event, id, 0))
            await asyncio.sleep(0.02)
    assert [type(row) for row in told] == [CardChanged, PortalComment]
    assert leads.asked == 1


async def test_one_that_is_denied_alone_is_passed_over_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.bitrix24.events.AGAIN_S", 0.01)
    portal, log = Portal(DENIED), list[str]()

    async def send(row: Any, topic: str) -> None:
        pass

    sink = logger.add(log.append, level="ERROR", format="{message}")
    try:
        async with watching(portal, send, tmp_path) as (watch, _):
            await watch.take(HookEvent(HookName.COMMENT_ADD, 1, 0))
            await until(lambda: portal.asked.count(1) > 2 * DENIED_TRIES)
            assert watch.events.passed_over == 0, "nobody else was answered: it may be all that is denied"
            async with asyncio.timeout(60):
                while not watch.events.passed_over:
                    await watch.take(HookEvent(HookName.COMMENT_ADD, 2, 0))
                    await asyncio.sleep(0.01)
            assert portal.asked.count(2) >= DENIED_TRIES - 1
            tries = portal.asked.count(1)
            await asyncio.sleep(0.05)
            assert portal.asked.count(1) == tries
    finally:
        logger.remove(sink)
    (line,) = log
    assert "ONCRMTIMELINECOMMENTADD 1 is passed over" in line


async def test_while_all_is_denied_nothing_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook that was revoked is made anew by a person, who takes an hour."""
    monkeypatch.setattr("adapters.bitrix24.events.AGAIN_S", 0.01)
    monkeypatch.setattr("adapters.bitrix24.events.AT_ONCE", 1)
    portal, told = Portal({**COMMENT, "ID": 1}), list[int]()
    portal.revoked = True

    async def send(row: Any, topic: str) -> None:
        assert isinstance(row, PortalComment)
        told.append(row.portal_comment_id or 0)

    async with watching(portal, send, tmp_path) as (watch, _):
        for id in (1, 2):
            await watch.take(HookEvent(HookName.COMMENT_ADD, id, 0))
        await until(lambda: min(portal.asked.count(id) for id in (1, 2)) > 2 * DENIED_TRIES)
        assert watch.events.passed_over == 0
        portal.revoked = False
        await until(lambda: sorted(told) == [1, 2])


async def test_changes_of_leads_leave_room_for_what_the_webhook_alone_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.bitrix24.events.QUEUE", 10)
    told: list[Any] = []

    async def send(row: Any, topic: str) -> None:
        told.append(row)

    async with watching(Portal({}), send, tmp_path) as (watch, _):
        for id in range(100, 120):
            await watch.take(HookEvent(HookName.LEAD_UPDATE, id, 0))
        await watch.take(HookEvent(HookName.COMMENT_ADD, 2, 0))
        await until(lambda: any(isinstance(row, PortalComment) for row in told))


@pytest.mark.parametrize("odd", [None, False, [], [COMMENT], {"item": COMMENT}, {**COMMENT, "ENTITY_ID": None}])
async def test_what_can_not_be_read_is_read_again(odd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One odd answer once lost a person's words: the webhook tells of them once."""
    monkeypatch.setattr("adapters.bitrix24.events.AGAIN_S", 0.01)
    portal, told = Portal(odd), list[Any]()

    async def send(row: Any, topic: str) -> None:
        told.append(row)

    async with watching(portal, send, tmp_path) as (watch, _):
        await watch.take(HookEvent(HookName.COMMENT_ADD, 1, 0))
        await until(lambda: portal.asked.count(1) > 2)
        portal._odd = {**COMMENT, "ID": 1}
        await until(lambda: bool(told))
    assert told == [PortalComment("7", 1, "Здравствуйте")]


def notes(folder: Path) -> PortalWatch:
    async def send(row: Any, topic: str) -> None: ...

    return PortalWatch(Portal(None), Leads(), "kounter", WatchSettings(), send, folder / "notes.json")  # type: ignore[arg-type]


async def test_what_was_taken_is_looked_at_after_a_kill(tmp_path: Path) -> None:
    assert await notes(tmp_path).take(HookEvent(HookName.COMMENT_ADD, 2, 1)) is True  # and no run: it was killed
    assert (tmp_path / "notes.sqlite").stat().st_mode & 0o777 == 0o600
    told = list[Any]()

    async def send(row: Any, topic: str) -> None:
        told.append(row)

    async with watching(Portal(None), send, tmp_path):
        await until(lambda: bool(told))
        await until(lambda: not notes(tmp_path).events._events)  # and not once more
    assert told == [PortalComment("7", 2, "Здравствуйте")]


async def test_a_deletion_is_told_after_a_kill(tmp_path: Path) -> None:
    before, said = notes(tmp_path), CardChanged("7", 9, "NEW", "title", None, None, 1)
    before._told[9] = "domofon.abonent", said
    await before.take(HookEvent(HookName.LEAD_DELETE, 9, 1))
    told = list[Any]()

    async def send(row: Any, topic: str) -> None:
        told.append((topic, row))

    async with watching(Portal(None), send, tmp_path):
        await until(lambda: bool(told))
    assert told == [("domofon.abonent", said._replace(portal_deleted=True))]


async def test_a_position_that_cant_be_kept_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full: the reconciliation begins earlier after a restart, which does no harm."""
    watch, log = notes(tmp_path), list[str]()
    watch._settings = WatchSettings.model_construct(every_s=0.01)
    watch._notes = tmp_path / "notes.sqlite" / "below-a-file"
    sink = logger.add(log.append, level="WARNING", format="{message}")
    running = asyncio.create_task(watch.run())
    try:
        await until(lambda: running.done() or bool(log))
    finally:
        logger.remove(sink)
        running.cancel()
        (ended,) = await asyncio.gather(running, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError)


async def test_a_position_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    watch = notes(tmp_path)
    watch._notes.write_text('{"since": "2026-11-01T00:00:00"')
    assert watch._since().tzinfo is not None
    watch._notes.write_text('{"since": "2026-11-01T00:00:00", "unread": []}')  # without a zone it can't be compared
    assert watch._since().tzinfo is not None
