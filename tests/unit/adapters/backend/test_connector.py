"""The alarm for changes that wait for the main backend."""

from __future__ import annotations

from adapters.backend.connector import alarms_of
from adapters.backend.settings import LONG_S
from streams.backend_log.backlog import Backlog

NOW_MS = 1_732_550_000_000


def test_a_wait_of_ten_minutes_is_no_alarm_yet() -> None:
    assert alarms_of(Backlog(), NOW_MS) == []
    assert alarms_of(Backlog(2, NOW_MS - int(LONG_S) * 1_000), NOW_MS) == []


def test_a_longer_one_names_number_and_age() -> None:
    (one,) = alarms_of(Backlog(1, NOW_MS - 25 * 60_000), NOW_MS)
    assert one.startswith("backend: one change waits for a parent, the oldest for 25 min")
    (many,) = alarms_of(Backlog(12, NOW_MS - 11 * 60_000), NOW_MS)
    assert many.startswith("backend: 12 changes wait for a parent, the oldest for 11 min")
