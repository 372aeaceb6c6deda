"""Parked commands, as the changelog and its local copy have them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.bitrix24 import CardAction, CardCommand
from schemas.errors import DeliveryRefused, InvalidInput
from schemas.parking import edited
from streams.delivery.parking import ParkedBehind, Parking
from streams.delivery.state import DeliveryState
from tables.store import PartitionStore

REFUSED = DeliveryRefused("no stage 17")


class Record(NamedTuple):
    key: bytes
    offset: int
    value: bytes = b"\0\0\0\0\1 \n bytes"
    topic: str = "bitrix.commands"
    partition: int = 3
    timestamp: int = 1_700_000_000_000
    headers: tuple[tuple[str, bytes], ...] = (("ce_id", b"\xff1"),)


@pytest.fixture
def state(tmp_path: Path) -> DeliveryState:
    return DeliveryState("delivery-x-changelog", PartitionStore(tmp_path))


def test_parked_commands_come_back_whole_and_in_order(state: DeliveryState) -> None:
    parking = Parking(state)
    records = [Record(b"l-1", 7), Record(b"l-1", 12), Record(b"l-1\0x", 9), Record(b"l-2", 8)]
    writes = [parking.park(r, ParkedBehind("behind 7") if r.offset == 12 else REFUSED) for r in records]
    state.apply([entry for _, entry in writes], 20)

    for it in (parking, Parking(state)):
        assert (it.records, it.keys) == (4, 3)
        assert b"l-1" in it
        assert b"l-3" not in it
        assert None not in it
        first = it.next(b"l-1")
        assert first is not None
        assert first[:7] == (
            "bitrix.commands",
            3,
            7,
            records[0].timestamp,
            b"l-1",
            records[0].value,
            records[0].headers,
        )
        assert first.cause == "delivery_refused: no stage #"
        second = it.next(b"l-1", first.offset)
        assert second is not None
        assert (second.offset, second.cause) == (12, "parked_behind: behind #")
        assert it.next(b"l-1", second.offset) is None


def test_what_is_released_is_gone_and_the_key_with_its_last(state: DeliveryState) -> None:
    parking = Parking(state)
    writes = [parking.park(Record(b"l-1", offset), REFUSED) for offset in (7, 8)]
    state.apply([entry for _, entry in writes], 20)
    for offset, left in ((7, 1), (8, 0)):
        parked = parking.next(b"l-1")
        assert parked is not None
        assert parked.offset == offset
        _, kept = parking.keep(parked, DeliveryRefused("again"))
        state.apply([kept], 21)
        again = parking.next(b"l-1")
        assert again is not None
        assert again.cause == "delivery_refused: again"
        assert again[:7] == parked[:7]
        _, gone = parking.release(parked)
        state.apply([gone], 22)
        assert (parking.records, b"l-1" in parking) == (left, bool(left))
    assert parking.next(b"l-1") is None


def test_an_edit_changes_the_fields_that_it_names() -> None:
    command = CardCommand("l-1", "c-1", title="Lead", stage="NEU", bitrix_lead_id=5)
    changed = edited(command, '{"stage": "NEW", "bitrix_lead_id": null, "action": "MOVE_CARD"}')
    assert changed == command._replace(stage="NEW", bitrix_lead_id=None, action=CardAction.MOVE_CARD)


def test_an_empty_value_of_what_a_card_shows_clears_it() -> None:
    command = CardCommand("l-1", "c-1", name="Иван", opportunity=Decimal(5), bitrix_lead_id=5, unset=("comment",))
    changed = edited(command, '{"opportunity": null, "name": "Пётр", "stage": null, "comment": "x", "source": null}')
    assert changed == command._replace(opportunity=None, name="Пётр", comment="x", unset=("opportunity",))
    assert edited(command, '{"phone": null, "unset": ["name"]}') == command._replace(unset=("name",))


@pytest.mark.parametrize("edit", ["", "[]", '{"ext_id": "l-2"}', '{"sage": "NEW"}', '{"bitrix_lead_id": "many"}'])
def test_a_bad_edit_is_refused_by_name(edit: str) -> None:
    with pytest.raises(InvalidInput):
        edited(CardCommand("l-1"), edit)
