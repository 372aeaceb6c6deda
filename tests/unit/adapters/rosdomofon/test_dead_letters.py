"""Dead letters of the bridge, read again."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from adapters.rosdomofon.dead_letters import STAGE, take_over
from schemas.domofon import Abonent, Message
from schemas.errors import UndecodableRecord
from streams.kafka.dead_letters import MOST_BYTES, dead_letter

TOPIC = "MESSAGES_IN_SK_SB"


class Record(NamedTuple):
    value: bytes
    offset: int
    key: bytes | None = None
    headers: Any = ()
    partition: int = 0
    timestamp: int = 1_700_000_000_000


class Producer:
    def __init__(self) -> None:
        self.rows: list[Any] = []

    async def send_nowait(self, row: Any, *, id: str, time_micros: int) -> asyncio.Future[None]:
        self.rows.append(row)
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent


def letter(value: bytes, offset: int) -> Any:
    made = dead_letter(TOPIC, Record(value, offset), UndecodableRecord("not_json", "no JSON"), STAGE)
    return Record(made.value or b"", offset, headers=made.headers)


async def test_what_can_be_read_is_taken_over_and_of_the_rest_it_is_said() -> None:
    producer: Any = Producer()
    good = '{"fromAbonent": {"id": 7, "phone": 79990000001}, "message": "Да"}'.encode()
    letters = [letter(b"x" * (MOST_BYTES + 1), 1), letter(b"{", 2), letter(good, 3)]
    still = await take_over(producer, letters)
    assert [type(row) for row in producer.rows] == [Abonent, Message]
    assert producer.rows[1].ext_id == f"7/{TOPIC}/0/3"
    assert [one.id for one in still] == ["0:1", "0:2"]
    assert "stands only where it came from" in still[0].reason


async def test_an_edit_mends_fields() -> None:
    producer: Any = Producer()
    bad = b'{"fromAbonent": {"id": "?"}, "message": 5.50}'
    assert [one.id for one in await take_over(producer, [letter(bad, 1)])] == ["0:1"]
    assert await take_over(producer, [letter(bad, 1)], '{"fromAbonent": {"id": 7}, "message": "5.50"}') == []
    assert producer.rows[-1].text == "5.50"
