"""The object that the door takes of a change."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.backend.sink import body_of
from schemas.backend import BackendChange, BackendEvent
from streams.backend_log.numbering import event_of


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.none(), max_size=4), st.integers(1, 10**12))
def test_it_is_the_frame_without_our_number(fields: dict[str, object], number: int) -> None:
    frame = json.dumps({name: value for name, value in fields.items() if name != "update_id"}, ensure_ascii=False)
    frame = frame.encode("utf-8", "replace").decode()
    event = event_of(BackendChange("premise/1", "premise", "1", frame), number)
    assert json.loads(body_of(event)) == json.loads(frame)


@pytest.mark.parametrize("frame", ['{"name":"a"}', '{"update_id":4,"name":"a"}', '{"price":12345678901234567890.10}'])
def test_a_frame_that_a_person_has_changed_goes_as_it_is(frame: str) -> None:
    assert body_of(BackendEvent("premise/1", 3, "premise", frame)).decode() == frame


def test_money_keeps_its_digits() -> None:
    event = event_of(BackendChange("premise/1", "premise", "1", '{"price":12345678901234567890.10}'), 3)
    assert body_of(event) == b'{"price":12345678901234567890.10}'
