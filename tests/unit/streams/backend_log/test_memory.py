"""What the log's writer remembers, and how it numbers."""

from __future__ import annotations

import json

import pytest

from schemas.backend import BackendChange, BackendEvent
from schemas.cloudevents import common_headers
from schemas.record import contract
from streams.backend_log import memory
from streams.backend_log.numbering import event_of, numbered
from streams.backend_log.parents_first import Effects, Held

HEADERS = (("ce_id", b"id"), ("ce_type", b"kounter.backend.BackendChange"), ("other", b"\xff\x00"))
HELD = Held(7, 5, BackendChange("premise/1", "premise", "1", '{"a":"й"}', ("building/1",), ("user/1",)), HEADERS, 9)


def test_what_is_remembered_comes_back() -> None:
    store: dict[bytes, bytes] = {}
    other = HELD._replace(number=11, headers=())
    for entry in memory.entries(Effects(("city/1", "building/й"), (HELD, other), ())):
        assert entry.key is not None
        assert entry.value is not None
        store[entry.key] = entry.value
    assert memory.held_in(store.items()) == [HELD, other]
    is_stored = memory.stored(store.get)
    assert (is_stored("city/1"), is_stored("building/й"), is_stored("premise/1")) == (True, True, False)
    (gone,) = memory.entries(Effects((), (), (7,)))
    assert gone.value is None
    assert gone.key in store


def test_what_waits_is_shown_with_what_it_lacks() -> None:
    store = {e.key or b"": e.value or b"" for e in memory.entries(Effects(("user/1",), (HELD,), ()))}
    assert memory.waiting_in(store) == [memory.Waiting(HELD, ("building/1",))]


def test_a_number_goes_into_the_frame() -> None:
    change = BackendChange("city/1", "city", "1", '{"ext_id":"1"}')
    assert json.loads(event_of(change, 12).frame) == {"ext_id": "1", "update_id": 12}
    assert json.loads(event_of(change._replace(frame="{}"), 1).frame) == {"update_id": 1}


def test_an_event_keeps_headers_and_time_of_its_change() -> None:
    seen: list[BackendEvent] = []

    def encode(event: BackendEvent) -> bytes:
        seen.append(event)
        return b"bytes"

    first, second = numbered([HELD, HELD._replace(headers=())], 41, encode)
    assert [event.update_id for event in seen] == [42, 43]
    assert (first.key, first.value, first.timestamp) == (b"premise/1", b"bytes", 9)
    assert first.headers == [HEADERS[0], ("ce_type", b"kounter.backend.BackendEvent"), HEADERS[2]]
    assert second.headers == []


def test_a_frame_without_fields_stays_json() -> None:
    change = BackendChange("city/1", "city", "1", "{ \n}")
    assert json.loads(event_of(change, 3).frame) == {"update_id": 3}
    assert json.loads(event_of(change._replace(frame='{"a":1 }'), 4).frame) == {"a": 1, "update_id": 4}


def test_the_headers_of_a_lane_become_those_of_an_event() -> None:
    headers = (*common_headers("kounter/estate", contract(BackendChange).full_name), ("ce_id", b"id"))
    (found,) = numbered([HELD._replace(headers=headers)], 0, lambda event: b"")
    assert found.headers == [*common_headers("kounter/estate", contract(BackendEvent).full_name), ("ce_id", b"id")]


def test_only_a_yes_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_KNOWN", 1)
    store: dict[bytes, bytes] = {}
    is_stored = memory.stored(store.get)
    assert not is_stored("city/1")
    for entry in memory.entries(Effects(("city/1", "city/2"), (), ())):
        store[entry.key or b""] = entry.value or b""
    assert (is_stored("city/1"), is_stored("city/2")) == (True, True)
    store.clear()
    assert (is_stored("city/2"), is_stored("city/1")) == (True, False)
