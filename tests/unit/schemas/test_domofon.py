"""The records of the intercom's operator: what is personal in them, and that all of them can be written and read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec.avro import avro_schema
from schemas.codec.decoding import row_decoder
from schemas.codec.encoding import row_encoder
from schemas.domofon import Abonent, Account, Connection, Direction, Flat, Message, Service, SignUp, SignUpStatus
from schemas.record import contract, contracts
from tests.support.values import HEADER, rows, same

OURS = {
    "domofon.abonent": Abonent,
    "domofon.account": Account,
    "domofon.flat": Flat,
    "domofon.service": Service,
    "domofon.connection": Connection,
    "domofon.message": Message,
    "domofon.sign-up": SignUp,
}


def test_each_topic_has_its_record() -> None:
    assert {c.topics[0]: c.record for c in contracts() if c.domain == "domofon" and c.if_unknown == "create"} == OURS
    assert all(contract(record).key == "ext_id" for record in OURS.values())


@pytest.mark.parametrize("record", OURS.values(), ids=lambda r: r.__name__)
def test_a_row_is_read_as_it_was_written(record: Any) -> None:
    of = contract(record)
    encode, decode = row_encoder(of), row_decoder(avro_schema(of), of)

    @given(rows(of))
    def check(row: tuple[Any, ...]) -> None:
        assert same(decode(HEADER + encode(row)), row)

    check()


def test_phones_words_and_homes_are_personal() -> None:
    personal = {name: contract(record).personal for name, record in OURS.items()}
    assert all(n in personal[topic] for topic, r in OURS.items() for n in contract(r).fields if "phone" in n)
    assert personal["domofon.message"] >= {"text", "sms_text", "push_args", "extra"}
    assert personal["domofon.sign-up"] >= {"address", "flat", "extra"}
    assert personal["domofon.flat"] >= {"address", "flat"}
    assert personal["domofon.service"] == personal["domofon.connection"] == frozenset()


@given(st.sampled_from([*Direction, *SignUpStatus]))
def test_the_operators_labels_are_known(label: Any) -> None:
    assert type(label).of_label(label.lower()) is label
