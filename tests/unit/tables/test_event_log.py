"""The copy of the main backend's log."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.errors import BrokenSetup
from tables.event_log import PAGE_BYTES, PAGE_EVENTS, EventLog, Logged


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "log.sqlite")
    yield log
    log.close()


def events(first: int, last: int, frame: str = "{}") -> list[Logged]:
    return [Logged(n, "city", frame) for n in range(first, last + 1)]


def test_rows_and_offset_outlive_the_process(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "log.sqlite")
    log.append(events(1, 3), 7)
    log.close()
    again = EventLog(tmp_path / "log.sqlite")
    assert (again.last, again.offset, again.page(1)) == (3, 7, events(2, 3))
    again.close()


def test_a_page_ends_after_so_many_events_or_bytes(log: EventLog) -> None:
    log.append(events(1, 2 * PAGE_EVENTS), 1)
    assert log.page(0) == events(1, PAGE_EVENTS)
    log.append(events(log.last + 1, log.last + 5, "x" * (PAGE_BYTES // 2)), 2)
    assert len(log.page(2 * PAGE_EVENTS)) == 2
    assert log.page(log.last) == []


@pytest.mark.parametrize("first", [1, 3, 5])
def test_a_gap_or_a_repeat_stops_the_copy_and_changes_nothing(log: EventLog, first: int) -> None:
    log.append(events(1, 3), 3)
    with pytest.raises(BrokenSetup, match="where 4 must stand"):
        log.append(events(first, first + 1), 9)
    assert (log.last, log.offset) == (3, 3)


def test_a_copy_of_another_cluster_is_forgotten(log: EventLog) -> None:
    assert log.belongs_to("a")
    log.append(events(1, 3), 3)
    assert not log.belongs_to("b")
    log.reset("b")
    assert log.belongs_to("b")
    assert (log.last, log.offset, log.page(0)) == (0, 0, [])


def test_two_processes_do_not_share_a_copy(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(BrokenSetup, match="another process"):
        EventLog(tmp_path / "log.sqlite")


def test_a_broken_or_older_file_is_copied_again(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    path.write_bytes(b"not a database, but as long as a header of one must be" * 40)
    broken = EventLog(path)
    broken.append(events(1, 2), 2)
    broken.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    other = EventLog(path)
    assert other.last == 0
    other.close()
