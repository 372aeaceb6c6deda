"""Headers of CloudEvents: the binding's own examples, what is absent, what is hostile."""

from __future__ import annotations

import uuid

from hypothesis import example, given
from hypothesis import strategies as st

from schemas.cloudevents import COUNT_LIMIT, NAMESPACE, VALUE_LIMIT, EventMeta, cause_id, make_headers, read_headers

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def read(*headers: tuple[str, bytes | None]) -> EventMeta:
    return read_headers(headers, timestamp_ms=1_700_000_000_000, topic="estate.lead", partition=3, offset=14)


@given(st.text(), st.integers(0, 999), st.integers(0, 2**63), st.integers(0, 9))
def test_an_id_of_a_cause_is_its_uuid5(topic: str, partition: int, offset: int, n: int) -> None:
    topic = topic.encode("utf-8", "replace").decode()
    assert cause_id(topic, partition, offset, n) == str(uuid.uuid5(NAMESPACE, f"{topic}-{partition}-{offset}-{n}"))


def test_what_is_written_is_read() -> None:
    headers = make_headers(
        id="i",
        source="kounter/estate",
        type="kounter.estate.Lead",
        time_micros=1_234_567,
        subject="л-1",
        traceparent=TRACE,
    )
    assert dict(headers)["ce_time"] == b"1970-01-01T00:00:01.234567Z"
    assert dict(headers)["ce_specversion"] == b"1.0"
    assert read(*headers) == EventMeta("i", "kounter/estate", "kounter.estate.Lead", 1_234_567, "л-1", TRACE)


def test_the_example_of_the_binding() -> None:
    headers = {
        "ce_specversion": b"1.0",
        "ce_type": b"com.example.someevent",
        "ce_source": b"/mycontext/subcontext",
        "ce_id": b"1234-1234-1235",
        "ce_time": b"2018-04-05T03:56:25Z",
        "ce_subject": b"lead-1",
        "ce_traceparent": TRACE.encode(),
        "content-type": b"application/json",
    }
    time = 1_522_900_585_000_000
    expected = EventMeta("1234-1234-1235", "/mycontext/subcontext", "com.example.someevent", time, "lead-1", TRACE)
    assert read(*headers.items()) == expected


def test_without_headers_a_record_is_known_by_its_place() -> None:
    assert read() == EventMeta("estate.lead-3-14", "unknown", None, 1_700_000_000_000_000, None, None)


@given(st.integers(-(2**63), 2**63 - 1), st.text())
@example(253_402_300_800_000_000, "\ud800")
@example(-62_135_596_800_000_000, "a\r\nce_id: forged\x1b[2J")
def test_headers_are_made_of_anything_and_stay_harmless(time: int, subject: str) -> None:
    headers = make_headers(id="i", source="s", type="t", time_micros=time, subject=subject, traceparent=subject)
    assert all(v.decode().isprintable() and len(v.decode()) <= VALUE_LIMIT for _, v in headers)
    assert "traceparent" not in dict(headers)


@given(st.lists(st.tuples(st.sampled_from(["ce_id", "ce_time", "ce_source", "traceparent", "x"]), st.binary())))
def test_any_headers_can_be_read(headers: list[tuple[str, bytes]]) -> None:
    meta = read(*headers)
    assert meta.id.isprintable()
    assert meta.source.isprintable()


def test_hostile_headers_are_bounded() -> None:
    meta = read(
        ("ce_id", b"x" * 1_000_000), ("ce_time", b"9999-99-99"), ("traceparent", TRACE.encode() + b"\n"), ("y", None)
    )
    assert (len(meta.id), meta.time, meta.traceparent) == (VALUE_LIMIT, 1_700_000_000_000_000, None)
    assert read(*[("x", b"")] * COUNT_LIMIT, ("ce_id", b"late")).id == "estate.lead-3-14"


def test_a_time_without_zone_or_with_nanoseconds_is_read() -> None:
    for text in (b"2018-04-05T03:56:25", b"2018-04-05T03:56:25.000000999Z", b"2018-04-05T08:56:25+05:00"):
        assert read(("ce_time", text)).time == 1_522_900_585_000_000
