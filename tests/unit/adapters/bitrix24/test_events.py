"""The queue of a webhook's events keeps on disk what waits, and says what it could not keep."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from loguru import logger

from adapters.bitrix24.events import EventQueue
from adapters.bitrix24.journal import Journal, Noted
from adapters.bitrix24.webhook import HookEvent, HookName

COMMENT = HookEvent(HookName.COMMENT_ADD, 2, 1)


def queue(folder: Path) -> EventQueue:
    async def look(event: HookEvent) -> None: ...

    events = EventQueue(Journal(folder / "notes.sqlite"), look, lambda event: None)
    events.restore()
    return events


async def test_an_event_that_comes_again_while_it_is_looked_at_stays_kept(tmp_path: Path) -> None:
    events = queue(tmp_path)
    await events.take(COMMENT)
    del events._events[COMMENT[:2]]  # it is being looked at
    await events.take(COMMENT)
    await events._forget([COMMENT])
    assert list(queue(tmp_path)._events) == [COMMENT[:2]]


async def test_many_at_once_are_all_kept(tmp_path: Path) -> None:
    events = queue(tmp_path)
    taken = await asyncio.gather(*(events.take(COMMENT._replace(id=id)) for id in range(1, 301)))
    assert all(taken)
    assert len(queue(tmp_path)._events) == 300


async def test_what_can_not_be_kept_is_said(tmp_path: Path) -> None:
    events = queue(tmp_path)
    events._journal.close()  # a disk that is full, for one
    assert await events.take(COMMENT) is False
    assert len(events._events) == 1


async def test_an_event_that_waits_already_is_not_lost_when_the_queue_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.bitrix24.events.QUEUE", 1)
    events, log = queue(tmp_path), list[str]()
    sink = logger.add(log.append, level="ERROR", format="{message}")
    try:
        assert [await events.take(COMMENT._replace(id=id)) for id in (1, 1, 2)] == [True, True, False]
    finally:
        logger.remove(sink)
    (line,) = log
    assert "ONCRMTIMELINECOMMENTADD 2 is lost" in line


async def test_a_journal_that_is_broken_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "notes.sqlite").write_bytes(b"no database" * 1_000)
    assert await queue(tmp_path).take(COMMENT) is True
    assert (tmp_path / "notes.broken").exists()


async def test_a_journal_that_is_broken_within_is_put_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "notes.sqlite")
    await asyncio.gather(*(journal.keep(Noted(COMMENT._replace(id=id))) for id in range(1, 2_000)))
    journal.close()
    with (tmp_path / "notes.sqlite").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    assert await queue(tmp_path).take(COMMENT) is True
    assert (tmp_path / "notes.broken").exists()


async def test_a_journal_that_another_process_has_locked_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue(tmp_path).take(COMMENT)

    def locked(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as patch:
        patch.setattr("adapters.bitrix24.journal._open", locked)
        with pytest.raises(sqlite3.OperationalError):
            queue(tmp_path)
    assert list(queue(tmp_path)._events) == [COMMENT[:2]]
