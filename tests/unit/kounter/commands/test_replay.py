"""A record as a line of `kounter replay`: one line, whatever is in it."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple, cast

import pytest

from kounter.commands.history.replay import Format, _line
from kounter.history.reader import Reader
from kounter.history.records import keys_of
from schemas.bitrix24 import CardAction, CardCommand
from schemas.errors import DeliveryRefused, UndecodableRecord
from schemas.estate import City
from streams.delivery import ledger, parking
from streams.kafka import dead_letters
from streams.kafka.settings import KafkaSettings
from tables.layout import layout

BAD = "a\nb\r\x1b[2J\u202e\u2028"


class Record(NamedTuple):
    topic: str = "estate.city"
    partition: int = 0
    offset: int = 7
    timestamp: int = 0
    key: bytes | None = BAD.encode()
    value: Any = b"x"
    headers: tuple[tuple[str, bytes | None], ...] = (("x", None), (BAD, BAD.encode()), ("y", b"\xff"))


class Rows:
    """Each value is a row already, or can't be read."""

    async def decode(self, topic: str, value: Any) -> Any:
        if not isinstance(value, tuple):
            raise UndecodableRecord("undecodable", "noise")
        return City(BAD, name=BAD) if value == () else value


READER = Reader(KafkaSettings(), cast(Any, None), cast(Any, Rows()))
PHONE = "+79990001122"


@pytest.mark.parametrize("form", Format)
async def test_a_record_is_one_line_that_no_terminal_obeys(form: Format) -> None:
    line = await _line(READER, Record(value=()), form, True)
    assert line.isprintable()
    assert "estate.city" in line or form is Format.TABLE


async def told(record: Record, *, personal: bool = False) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(await _line(READER, record, Format.JSONL, personal))
    assert PHONE not in json.dumps(line) or personal
    assert (await _line(READER, record, Format.TABLE, personal)).isprintable()
    return line


CARD = CardCommand("l-1", "c1", "crm.user", CardAction.CREATE_CARD, title="T", phone=PHONE)


async def test_a_command_is_shown() -> None:
    """It was said that there is no such aggregate."""
    record = Record("bitrix.commands", key=b"l-1", value=CARD, headers=())
    line = await told(record)
    assert (line["type"], line["key"], line["record"]["title"]) == ("CardCommand", "l-1", "T")
    assert (await told(record, personal=True))["record"]["phone"] == PHONE


async def test_a_state_of_a_table_is_shown() -> None:
    users = layout("crm.user")
    state = users.blank("7")._replace(version=3, phone=PHONE, changed_at=1_000_000)
    record = Record("crm-state-changelog", key=b"crm.user\x007", value=users.dump(state), headers=())
    line = await told(record)
    assert (line["type"], line["aggregate"], line["key"]) == ("state", "crm.user", "7")
    assert (line["record"]["version"], line["record"]["changed_at"]) == (3, "1970-01-01T00:00:01Z")
    assert (await told(record, personal=True))["record"]["phone"] == PHONE
    assert (await told(record._replace(value=None)))["type"] == "tombstone"
    for broken in (record._replace(value=b"{"), record._replace(key=b"crm.nothing\x007"), record._replace(key=None)):
        assert (await told(broken))["type"] == "unreadable"
    assert keys_of(record) == ("7",)


async def test_a_dead_letter_is_shown_with_its_record() -> None:
    raw = Record("bitrix.commands", key=b"l-1", value=b"noise", headers=())
    made = dead_letters.dead_letter(raw.topic, raw, UndecodableRecord("undecodable", "noise"))
    letter = Record(dead_letters.TOPIC, key=made.key, value=CARD, headers=tuple(made.headers))
    line = await told(letter)
    assert (line["type"], line["letter"]["reason"], line["record"]["title"]) == ("dead letter", "undecodable", "T")
    assert (await told(letter._replace(value=b"noise")))["record"] is None
    mark = dead_letters.put_back(letter)
    assert (await told(letter._replace(value=None, headers=tuple(mark.headers))))["letter"] == "0:7"
    assert (await told(letter._replace(headers=())))["type"] == "dead letter"


async def test_what_a_delivery_remembers_is_shown() -> None:
    raw = Record("bitrix.commands", key=b"l-1", value=b"noise", headers=())
    letter = dead_letters.dead_letter(raw.topic, raw, DeliveryRefused("no"), "deliver")
    head = json.dumps([(name, base64.b64encode(value or b"").decode()) for name, value in letter.headers]).encode()
    key = parking.PREFIX + b"l-1\0" + b"%020d" % 7
    parked = Record("delivery-bitrix24-changelog", key=key, value=head + b"\n" + b"noise", headers=())
    assert (await told(parked))["type"] == "unreadable"  # its command is noise
    assert keys_of(parked) == ("l-1",)
    made = Record(parked.topic, key=ledger.PREFIX + b"estate.lead:l-1", value=b'["c1",7,1000000,42]', headers=())
    line = await told(made)
    assert (line["type"], line["record"]["id"], line["record"]["at"]) == ("made", 42, "1970-01-01T00:00:01Z")
    assert "l-1" in keys_of(made)
    for broken in (
        made._replace(value=b"[]"),
        made._replace(key=b"other\0x"),
        made._replace(key=None),
        parked._replace(value=b"x"),
    ):
        assert (await told(broken))["type"] == "unreadable"


async def test_json_of_others_is_masked_whole() -> None:
    said = {"pattern": "x", "data": {"user": {"id": 7, "phones": [PHONE], "ok": True}}}
    record = Record("bitrix_queue", key=None, value=json.dumps(said).encode(), headers=())
    line = await told(record)
    assert (line["type"], line["record"]["data"]["user"]["ok"]) == ("JSON", True)
    assert (await told(record, personal=True))["record"] == said
    for broken in (b"{", b"\xff", b"[" * 5_000):
        assert (await told(record._replace(value=broken)))["type"] in ("unreadable", "JSON")
