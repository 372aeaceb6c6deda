"""The codec, in C and in Python, is held to fastavro and to the strict walk: our schemas, strangers', broken bytes."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas.bitrix24
import schemas.commands
import schemas.estate  # noqa: F401 - each declares its contracts
from schemas.bitrix24 import CardCommand
from schemas.codec import decoding, encoding
from schemas.codec.avro import avro_schema
from schemas.codec.compiled import native
from schemas.codec.decoding import reference_decoder, row_decoder
from schemas.codec.encoding import row_encoder
from schemas.codec.plan import Uncovered, steps_of
from schemas.errors import UndecodableRecord
from schemas.estate import Project
from schemas.record import Contract, contract, contracts
from tests.support.known_lead import Lead
from tests.support.values import HEADER, by_fastavro, of_type, rows, same, writers

OURS = [c for c in contracts() if c.domain in ("estate", "bitrix24", "commands", "test_codec")]
ENCODE: dict[Contract, Any] = {c: row_encoder(c) for c in OURS}
DECODE: dict[Contract, Any] = {}
REFERENCE = {c: reference_decoder(avro_schema(c), c) for c in OURS}
LEAD = contract(Lead)


@pytest.fixture(scope="module", params=["C", "Python"], autouse=True)
def form(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it twice."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "Python":
            patch.setattr(decoding, "native", None)
            patch.setattr(encoding, "native", None)
        elif native is None:
            pytest.skip("no compiler was at hand")
        ENCODE.update({c: row_encoder(c) for c in OURS})
        DECODE.update({c: row_decoder(avro_schema(c), c) for c in OURS})
        yield


def test_the_parts_in_c_are_there_where_a_compiler_is() -> None:
    """Else all tests would pass, on the slow form alone."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if not headers.exists() or not (shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no compiler, or no headers of Python")
    assert native is not None


def as_dict(of: Contract, row: tuple[Any, ...]) -> dict[str, Any]:
    return {n: list(v) if isinstance(v, tuple) else v for n, v in zip(of.fields, row, strict=True)}


def outcome(decode: decoding.Decode, value: bytes) -> Any:
    try:
        return decode(value)
    except UndecodableRecord as error:
        return (error.reason, error.message)


@given(st.data())
def test_a_row_is_written_as_fastavro_writes_it_and_read_back(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from(OURS))
    row = data.draw(rows(of))
    body = ENCODE[of](row)
    assert body == by_fastavro(avro_schema(of), as_dict(of, row))
    assert same(DECODE[of](HEADER + body), row)
    assert same(REFERENCE[of](HEADER + body), row)


@pytest.mark.parametrize("of", OURS, ids=lambda c: c.name)
def test_our_own_schemas_are_read_without_the_reference(of: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "reference_decoder", lambda writer, contract: pytest.fail)
    decode = row_decoder(avro_schema(of), of)

    @given(rows(of))
    def check(row: tuple[Any, ...]) -> None:
        assert same(decode(HEADER + ENCODE[of](row)), row)

    check()


@given(st.data())
def test_other_writers_are_read_as_the_reference_reads_them(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from(OURS))
    writer = data.draw(writers(of))
    values = data.draw(of_type(writer, {}))
    value = HEADER + by_fastavro(writer, values)
    assert same(outcome(row_decoder(writer, of), value), outcome(reference_decoder(writer, of), value))


@given(st.data())
def test_broken_bytes_are_judged_as_the_reference_judges_them(data: st.DataObject) -> None:
    of = data.draw(st.sampled_from(OURS))
    body = bytearray(ENCODE[of](data.draw(rows(of))))
    at = data.draw(st.integers(0, len(body)))
    cut = data.draw(st.integers(0, 3))
    body[at : at + cut] = data.draw(st.binary(max_size=3))
    value = HEADER + bytes(body)
    assert same(outcome(DECODE[of], value), outcome(REFERENCE[of], value))


GOOD = ENCODE[LEAD](Lead("l-1", 5, "client"))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (GOOD[:-1], "unset: the record is cut short"),
        (GOOD + b"\0", "1 bytes are left over"),
        (b"", "ext_id: the record is cut short"),
        (b"\1" + GOOD[1:], "ext_id: a length of -1"),
        (b"\x02\xff" + GOOD[4:], "ext_id: a text that is not UTF-8"),
        (GOOD[:4] + b"\4" + GOOD[5:], "update_id: branch 2 of 2"),
        (GOOD[:4] + b"\1" + GOOD[5:], "update_id: branch -1 of 2"),
        (GOOD[:5] + b"\xff" * 9 + b"\2" + GOOD[6:], "update_id: an integer beyond 64 bits"),
        (GOOD[:5] + b"\xff" * 99 + GOOD[6:], "update_id: an integer beyond 64 bits"),
        (GOOD[:-2] + b"\2\x1e\0", "state: symbol 15 of 5"),
        (GOOD[:-1] + b"\xfe\xff\xff\xff\x0f", "unset: 2147483647 items in 0 bytes"),
        (GOOD[:-1] + b"\1\1\0", "unset: a length of -1"),
    ],
)
def test_a_broken_record_says_where_and_why(body: bytes, says: str) -> None:
    with pytest.raises(UndecodableRecord) as caught:
        DECODE[LEAD](HEADER + body)
    assert caught.value.reason == "undecodable"
    assert says in caught.value.message


def test_a_truth_value_is_zero_or_one() -> None:
    body = ENCODE[LEAD](Lead("l", is_sold=True))
    assert body[-4:] == b"\2\1\0\0"
    with pytest.raises(UndecodableRecord, match="is_sold: a truth value of 2"):
        DECODE[LEAD](HEADER + body[:-3] + b"\2\0\0")


def test_a_decimal_beyond_its_precision_is_refused() -> None:
    body = ENCODE[LEAD](Lead("l", fee=Decimal(1)))
    wide = (10**21).to_bytes(9, "big", signed=True)
    with pytest.raises(UndecodableRecord, match="fee: a decimal of more than 21 digits"):
        DECODE[LEAD](HEADER + body.replace(b"\2\2\x64", b"\2\x12" + wide))


def test_arrays_in_several_blocks_and_with_sizes_are_read() -> None:
    body = ENCODE[LEAD](Lead("l"))[:-1] + b"\2\2a" + b"\3\4\2b\2c" + b"\0"
    assert DECODE[LEAD](HEADER + body)[-1] == ("a", "b", "c")


def test_a_symbol_of_a_later_version_is_unknown() -> None:
    writer = avro_schema(LEAD)
    state = next(f for f in writer["fields"] if f["name"] == "state")
    state["type"][1]["symbols"].append("SOLD_TWICE")
    body = by_fastavro(writer, as_dict(LEAD, Lead("l", state="SOLD_TWICE")))  # type: ignore[arg-type]
    assert row_decoder(writer, LEAD)(HEADER + body) == Lead("l", state="UNKNOWN")  # type: ignore[arg-type]


def test_times_of_a_writer_that_counts_milliseconds() -> None:
    of = next(c for c in OURS if c.name == "Project")
    writer = avro_schema(of)
    field = next(f for f in writer["fields"] if f["name"] == "end_date")
    field["type"][1] = {"type": "long", "logicalType": "timestamp-millis"}
    values = as_dict(of, of.record("p"))
    value = HEADER + by_fastavro(writer, {**values, "end_date": 1_700_000_000_123})
    for decode in (row_decoder(writer, of), reference_decoder(writer, of)):
        assert dict(zip(of.fields, decode(value), strict=True))["end_date"] == 1_700_000_000_123_000


def odd_writer(of: Contract, name: str, kind: Any) -> dict[str, Any]:
    """Our schema with another type for one field."""
    writer = avro_schema(of)
    field = next(f for f in writer["fields"] if f["name"] == name)
    field["type"] = kind
    field.pop("default", None)
    return writer


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 5}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


@pytest.mark.parametrize(
    ("of", "name", "kind", "value"),
    [
        (CardCommand, "ext_id", DECIMAL, Decimal("1.5")),
        (CardCommand, "title", DECIMAL, Decimal("1.5")),
        (CardCommand, "opportunity", "bytes", b"x"),
        (CardCommand, "opportunity", "string", "x"),
        (Project, "end_date", MILLIS, 2**62),
        (Project, "end_date", ["null", MILLIS], -(2**62)),
    ],
)
def test_what_a_strangers_schema_makes_of_a_field_is_a_value_of_ours_or_none(
    of: Any, name: str, kind: Any, value: Any
) -> None:
    """Avro's rules of promotion allow more: a state of it could not be written, and the record ended its lane."""
    writer = odd_writer(contract(of), name, kind)
    values = {**as_dict(contract(of), of("p")), name: value}
    body = HEADER + by_fastavro(decoding._without_logical(writer) if kind is MILLIS else writer, values)
    for decode in (row_decoder(writer, contract(of)), reference_decoder(writer, contract(of))):
        with pytest.raises(UndecodableRecord, match=name):
            decode(body)


def test_a_schema_that_holds_itself_can_be_skipped_but_not_dug_into_without_end() -> None:
    writer = avro_schema(LEAD)
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    writer["fields"].append({"name": "chain", "type": node})
    body = ENCODE[LEAD](Lead("l"))
    decode = row_decoder(writer, LEAD)
    assert decode(HEADER + body + b"\2\2\0") == Lead("l")
    with pytest.raises(UndecodableRecord):
        decode(HEADER + body + b"\2" * 100_000 + b"\0")


def test_a_field_that_a_stranger_writes_twice_is_left_to_the_reference() -> None:
    """fastavro parses it; in C the first of both values would never be freed."""
    writer = avro_schema(LEAD)
    writer["fields"].append(dict(writer["fields"][0]))
    with pytest.raises(Uncovered, match="twice"):
        steps_of(writer, LEAD)
    value = HEADER + ENCODE[LEAD](Lead("l", 7)) + b"\2m"
    assert outcome(row_decoder(writer, LEAD), value) == outcome(reference_decoder(writer, LEAD), value)


def test_a_strangers_schema_of_many_fields() -> None:
    writer = avro_schema(LEAD)
    writer["fields"] += [{"name": f"more_{n}", "type": "string"} for n in range(600)]
    assert row_decoder(writer, LEAD)(HEADER + ENCODE[LEAD](Lead("l", 7)) + b"\4no" * 600) == Lead("l", 7)
