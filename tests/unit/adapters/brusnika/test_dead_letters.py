"""Refused frames as dead letters: nothing personal in them, and read again after a mended rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.brusnika.dead_letters import ABOVE, TAKEN_OUT, is_frame, letter_of, take_over
from adapters.brusnika.frames import BadFrame, read_frame
from adapters.brusnika.twin.changes import BROKEN
from adapters.brusnika.window import Refused
from schemas.errors import InvalidInput
from streams.kafka.dead_letters import LEFT_OUT, REASON

LIMIT = 1 << 20


class Producer:
    """Takes rows, for `RecordProducer`."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    async def send_many(self, rows: Sequence[Any]) -> list[InvalidInput | None]:
        self.rows += rows
        return [None] * len(rows)


def frame(word: str, **body: Any) -> bytes:
    return json.dumps({"data": {"type": word, "data": body}, "error": None}, ensure_ascii=False).encode()


def letter(raw: bytes, above: int = 0) -> Any:
    with pytest.raises(BadFrame) as caught:
        read_frame(raw, max_bytes=LIMIT)
    entry = letter_of("brusnika", Refused(raw, caught.value, len(raw), above), 1_000)
    return SimpleNamespace(**entry._asdict(), partition=0, offset=7)


def test_a_letter_has_the_frame_its_number_and_the_reason() -> None:
    found = letter(frame("spaceship", ext_id="s-1", update_id=17, name="Восток"), above=5)
    headers = dict(found.headers)
    assert is_frame(found)
    assert found.key == b"s-1"
    assert headers["__connect.errors.topic"] == b"brusnika"
    assert headers["__connect.errors.offset"] == b"17"
    assert headers[REASON] == b"unknown_type"
    assert headers[ABOVE] == b"5"
    assert json.loads(found.value)["data"]["data"]["name"] == "Восток"


@pytest.mark.parametrize("word", ["user", "USER", "spaceship", "client"])
def test_passwords_and_personal_data_are_taken_out(word: str) -> None:
    secrets = {
        "password": "hunter2", "oldPassword": {"value": "hunter2"}, "firstName": "Анна", "email": "a@example.org",
        "phone": 79990001122, "phone_number": "+79990001122", "inner": [{"fullName": "Анна Петрова"}], "note": "Анна",
    }  # fmt: skip
    found = letter(frame(word, ext_id="u-1", update_id=3, status="замок", fixing_type="замок", **secrets))
    shown = found.value.decode() + str(found.headers)
    for secret in ("hunter2", "Анна", "\\u0410", "example.org", "9990001122"):
        assert secret not in shown
    assert {"password", "email", "fullName"} <= set(dict(found.headers)[TAKEN_OUT].decode().split())


def test_what_came_is_not_in_the_reason() -> None:
    found = letter(frame("client", ext_id="c-1", phone_number={"x": "+79990001122"}))
    assert "9990001122" not in str(found.headers) + str(found.value)


@pytest.mark.parametrize("name", sorted(BROKEN))
async def test_what_was_refused_is_refused_again_by_the_same_rules(name: str) -> None:
    found, producer = letter(BROKEN[name](9)), Producer()
    still = await take_over(producer, [found])  # type: ignore[arg-type]
    assert [one.id for one in still] == ["0:7"]
    assert producer.rows == []


@pytest.mark.parametrize(
    "text",
    [
        '{"ext_id":"c","ext_id":"d","name":"x"}',
        '{"ext_id":"c","name":"\\ud800"}',
        '{"ext_id":"c","name":"x","update_id":18446744073709551616}',
    ],
)
async def test_bad_values_are_not_mended_by_keeping_them(text: str) -> None:
    found = letter(b'{"data":{"type":"city","data":%b},"error":null}' % text.encode())
    assert len(await take_over(Producer(), [found])) == 1  # type: ignore[arg-type]


async def test_an_edited_frame_goes_to_its_topic_with_its_number() -> None:
    found, producer = letter(frame("premise", ext_id="p-1", update_id=12, price=10.25, floor="третий"), 100), Producer()
    assert await take_over(producer, [found], '{"floor": 3}') == []  # type: ignore[arg-type]
    (row,) = producer.rows
    assert (row.ext_id, row.update_id, row.floor, str(row.price)) == ("p-1", 112, 3, "10.25")


def test_no_json_and_too_large_frames_are_left_out_with_their_size() -> None:
    for raw in (b'{"data": {"phone": "+79990001122', b"[" * 100_000):
        found = letter(raw)
        assert found.value is None
        assert dict(found.headers)[LEFT_OUT] == str(len(raw)).encode()
