"""What the developer's system reports of decided things is so: by its own number, once, cleared fields too."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.external import from_outside, to_outside
from schemas.people import ClientReported, ReportFixing
from schemas.record import contract
from streams.domains.estate import ESTATE
from streams.lane.processor import BatchProcessor
from streams.upstream import as_reported, updates_of
from tables.layout import State, come, layout
from tests.support.local import PARTITIONS, keys_of, local_serde, raw

HOME = 3
(ONE,) = keys_of(HOME, 1)
MESSAGES = {
    "time_slots": {"ext_id": ONE, "date": "2026-01-31", "time": "09:30", "is_booked": False},
    "VISIT": {"visit_ext_id": ONE, "status": "open", "note": "с паспортом"},
    "booking": {"booking_ext_id": ONE, "status": "open"},
    "client": {"ext_id": ONE, "fullname": "Ада", "phone_number": 998901234567, "fixing_type": "проверка лида"},
    "user": {"ext_id": ONE, "firstName": "Ада", "role": "agent", "status": "active", "birthDate": "1990-05-01"},
}


class Company:
    """The state behind each report, by the real fold."""

    def __init__(self, processor: BatchProcessor, serde: Any) -> None:
        self._processor, self._serde = processor, serde
        self._states: dict[bytes, bytes] = {}
        self._offset = 0

    async def report(self, word: str, **data: Any) -> dict[Any, int]:
        """Returns how many records the lane writes, by destination."""
        row = from_outside(word, data)
        (topic,) = contract(type(row)).topics
        record = raw(self._serde, topic, row, self._offset)
        self._offset += 1
        folded = await self._processor.fold(HOME, [(topic, [record])], self._states.get)
        self._states |= {key: value for key, value in folded.states.items() if value is not None}
        return {str(destination): len(records) for destination, records in folded.writes.items()}

    def state(self, topic: str) -> State | None:
        data = self._states.get(f"{topic}\0{ONE}".encode())
        return None if data is None else layout(topic).load(data)


async def company() -> Company:
    serde, _ = await local_serde(*ESTATE.sources, *ESTATE.writes)
    return Company(BatchProcessor(ESTATE, serde, PARTITIONS, 100_000), serde)


def topic_of(word: str) -> str:
    return contract(type(from_outside(word, MESSAGES[word]))).topics[0].removesuffix(".commands")


@pytest.mark.parametrize("word", MESSAGES)
async def test_a_report_creates_and_an_old_one_is_dropped_without_a_reply(word: str) -> None:
    here, topic = await company(), topic_of(word)
    assert await here.report(word, **MESSAGES[word], update_id=7) == {topic: 1}
    state = here.state(topic)
    assert state is not None
    assert (state.version, state.update_id, updates_of(state)) == (1, 1, {"brusnika": 7})
    said = to_outside(from_outside(word, MESSAGES[word]))[1]
    row = from_outside(word, said)
    assert all(getattr(state, n) == v for n, v in row._asdict().items() if v and n not in ("source", "unset"))  # type: ignore[attr-defined]
    assert await here.report(word, **MESSAGES[word], update_id=7) == {}
    assert await here.report(word, **MESSAGES[word], update_id=6) == {}
    assert here.state(topic) == state


@pytest.mark.parametrize("word", MESSAGES)
async def test_a_report_without_a_number_counts_only_where_it_changes_something(word: str) -> None:
    here, topic = await company(), topic_of(word)
    assert await here.report(word, **MESSAGES[word]) == {topic: 1}
    assert await here.report(word, **MESSAGES[word]) == {}
    *_, cleared = MESSAGES[word]
    assert await here.report(word, **{**MESSAGES[word], cleared: None}) == {topic: 1}
    assert await here.report(word, **{**MESSAGES[word], cleared: None}) == {}
    state = here.state(topic)
    assert state is not None
    assert state.version == 2


async def test_a_fixing_waits_for_its_client() -> None:
    here = await company()
    await here.report("client_fixing", client_ext_id=ONE, ext_id="f", fixing_type="слабое закрепление", update_id=1)
    assert come(here.state("estate.client")) is None
    await here.report("client", ext_id=ONE, fullname="Ада", update_id=2)
    state = here.state("estate.client")
    assert state is not None
    assert (state.version, state.fixing_type, state.fullname, state.fixing_ext_id) == (1, "WEAK_FIXING", "Ада", "f")


async def test_a_client_and_its_fixing_are_counted_together() -> None:
    here = await company()
    await here.report("client", ext_id=ONE, fixing_type="сильное закрепление", update_id=5)
    assert await here.report("client_fixing", client_ext_id=ONE, fixing_type="слабое закрепление", update_id=4) == {}
    assert await here.report("client_fixing", client_ext_id=ONE, fixing_type=None, update_id=6) == {"estate.client": 1}
    state = here.state("estate.client")
    assert state is not None
    assert (state.fixing_type, updates_of(state)) == (None, {"brusnika": 6})


def test_an_event_that_would_lose_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match="ClientReported: expected all fields of ReportFixing"):
        as_reported({ReportFixing: ClientReported})
