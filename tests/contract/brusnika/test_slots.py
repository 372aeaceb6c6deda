"""Free times from the twin's CRM: only differences become records, and nothing from what is not understood."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.brusnika.settings import SlotSettings
from adapters.brusnika.slots import Free, Known, SlotPoller, differences, read_schedule
from adapters.brusnika.twin.server import BrusnikaTwin
from adapters.http_client import HttpClient
from schemas.bookings import ReportTimeSlot
from schemas.errors import DeliveryDenied, DeliveryUnavailable, InvalidInput
from tests.support.systems.brusnika import KEY

DAY = datetime.date(2027, 2, 1)


class Kept:
    """The records and the memory of a poller."""

    def __init__(self) -> None:
        self.rows: list[ReportTimeSlot] = []
        self.known: Known = {}
        self.refused: InvalidInput | None = None

    async def send(self, rows: Sequence[ReportTimeSlot]) -> list[InvalidInput | None]:
        self.rows += rows
        return [self.refused] * len(rows)

    async def load(self) -> Known:
        return dict(self.known)

    async def save(self, place: str, free: Sequence[Free]) -> None:
        self.known[place] = [Free(*pair) for pair in json.loads(json.dumps(free))]

    async def projects(self) -> list[str]:
        return ["project-1"]


@asynccontextmanager
async def polling(twin: BrusnikaTwin, kept: Kept, key: str = KEY) -> AsyncIterator[SlotPoller]:
    url = f"http://127.0.0.1:{twin.port}"
    async with HttpClient(url, "the CRM", setting="X", timeout_s=10, headers={"X-Kounter-Key": key}) as http:
        poller = SlotPoller(SlotSettings(url=url), http, kept.projects, kept.send, kept.load, kept.save)
        poller._known = await kept.load()
        yield poller


async def test_only_differences_become_records_and_a_restart_knows_them() -> None:
    kept = Kept()
    async with BrusnikaTwin(header_value=KEY, first_day=DAY) as twin:
        async with polling(twin, kept) as poller:
            count = await poller.poll("project-1", "apartment")
            assert count == len(kept.rows) == len(kept.known["project-1/apartment"]) > 10
            assert len({row.ext_id for row in kept.rows}) == count
            assert {row.is_booked for row in kept.rows} == {False}
            assert await poller.poll("project-1", "apartment") == 0
        taken = kept.rows[0]
        twin.schedule.take("project-1", "apartment", taken.date or "", taken.time or "")
        async with polling(twin, kept) as again:
            assert await again.poll("project-1", "apartment") == 1
    assert kept.rows[-1] == taken._replace(is_booked=True)
    assert taken.ext_id == f"project-1/apartment/{taken.date}/{taken.time}"


async def test_an_answer_that_is_no_schedule_changes_nothing() -> None:
    kept = Kept()
    async with BrusnikaTwin(header_value=KEY, first_day=DAY) as twin, polling(twin, kept) as poller:
        await poller.poll("project-1", "apartment")
        before = dict(kept.known), len(kept.rows)
        twin.faults.unavailable = True
        with pytest.raises(DeliveryUnavailable):
            await poller.poll("project-1", "apartment")
        twin.faults.unavailable = False
        twin.schedule.answer = lambda body: {"error": "busy"}  # type: ignore[method-assign, assignment, return-value]
        with pytest.raises(InvalidInput, match="schedule: expected a list"):
            await poller.poll("project-1", "apartment")
        assert (kept.known, len(kept.rows)) == before


async def test_a_record_that_is_refused_is_sent_again() -> None:
    kept = Kept()
    async with BrusnikaTwin(header_value=KEY, first_day=DAY) as twin, polling(twin, kept) as poller:
        kept.refused = InvalidInput("ext_id", "less", "much")
        with pytest.raises(InvalidInput):
            await poller.poll("project-1", "apartment")
        assert kept.known == {}


async def test_a_wrong_key_ends_the_polling() -> None:
    async with BrusnikaTwin(header_value=KEY) as twin, polling(twin, Kept(), "wrong") as poller:
        with pytest.raises(DeliveryDenied):
            await poller.run()


BAD: list[Any] = [
    {}, None, "x", [[]], [{"2027-02-30": []}], [{"27-02-01": []}], [{"2027-02-01": {}}], [{"2027-02-01": ["10:00"]}],
    [{"2027-02-01": [{"start": "25:00"}]}], [{"2027-02-01": [{"start": None}]}], [{}] * 401,
    [{"2027-02-01": [{"start": "10:00"}] * 201}], [{"２０２７-02-01": []}],
]  # fmt: skip


@pytest.mark.parametrize("answer", BAD)
def test_what_is_no_schedule_is_refused(answer: Any) -> None:
    with pytest.raises(InvalidInput):
        read_schedule(answer)


DAYS = st.sampled_from(["2027-02-01", "2027-02-02", "2027-02-03"])
FREES = st.sets(st.builds(Free, DAYS, st.sampled_from(["10:00"])))


@given(FREES, FREES, st.sets(DAYS))
def test_differences_lead_from_what_was_known_to_what_is(before: Any, now: Any, days: Any) -> None:
    schedule = {day: sorted(free for free in now if free.day == day) for day in days}
    rows, known = differences("p/k", sorted(before), schedule)
    state = {f"p/k/{free.day}/{free.start}" for free in before}
    for row in rows:
        assert (row.ext_id in state) == row.is_booked
        (state.discard if row.is_booked else state.add)(row.ext_id)
    passed = {f"p/k/{f.day}/{f.start}" for f in before if days and f.day < min(days)}
    assert {f"p/k/{free.day}/{free.start}" for free in known} == state - passed
    assert differences("p/k", known, schedule) == ([], known)
