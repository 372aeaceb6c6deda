"""A record as a line of `kounter replay`: one line, whatever is in it."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import pytest

from kounter.commands.replay import Format, _line
from kounter.reader import Reader
from schemas.cloudevents import read_headers
from schemas.estate import City
from tables.timeline import Said

BAD = "a\nb\r\x1b[2J\u202e\u2028"


class Record(NamedTuple):
    topic: str = "estate.city"
    partition: int = 0
    offset: int = 7
    timestamp: int = 0
    key: bytes | None = BAD.encode()
    value: bytes | None = b"x"
    headers: tuple[tuple[str, bytes | None], ...] = (("x", None), (BAD, BAD.encode()), ("y", b"\xff"))


class Saying:
    async def said(self, record: Any) -> Said:
        meta = read_headers(record.headers, timestamp_ms=0, topic="t", partition=0, offset=7)
        return Said(City(BAD, name=BAD), meta, 0, 0, 7)


@pytest.mark.parametrize("form", Format)
async def test_a_record_is_one_line_that_no_terminal_obeys(form: Format) -> None:
    line = await _line(cast(Reader, Saying()), Record(), form, True)
    assert line.isprintable()
    assert "estate.city" in line or form is Format.TABLE
