"""How people name a point in a topic."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.fields import to_micros
from streams.kafka.reader import Point, parse_point

NOW = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T05:00:00+05:00", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T00:00:00", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T00:00:00.000001Z", datetime(2026, 11, 1, 0, 0, 0, 1, tzinfo=UTC)),
        ("-30s", NOW - timedelta(seconds=30)),
        ("-15m", NOW - timedelta(minutes=15)),
        ("-1.5h", NOW - timedelta(minutes=90)),
        ("-2d", NOW - timedelta(days=2)),
    ],
)
def test_a_time_or_a_span_back(text: str, moment: datetime) -> None:
    assert parse_point(text, NOW) == Point(micros=to_micros(moment))


def test_an_offset() -> None:
    assert parse_point("offset:0", NOW) == Point(offset=0)
    assert parse_point("offset:9007199254740993", NOW) == Point(offset=9007199254740993)


@pytest.mark.parametrize(
    "text",
    [
        "", "-", "-h", "1h", "--1h", "-1w", "-nanh", "-infd", "-99999999d", "-1e4s", "-1_0s", "-.5h",
        "offset:", "offset:x", "offset:-1",
        f"offset:{2**63}", "offset:" + "9" * 5_000, "offset:1.5", "offset:1_000", "offset:١",
        "yesterday", "2026-13-01", "2026-11-01T25:00:00Z",
    ],
)  # fmt: skip
def test_anything_else_is_told_with_what_may_stand_there(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected a time"):
        parse_point(text, NOW)


@given(st.text(max_size=30) | st.from_regex(r"(-|offset:)[-+_.\deE ]{0,12}[smhd]?", fullmatch=True))
def test_no_text_makes_it_fail_otherwise(text: str) -> None:
    try:
        point = parse_point(text, NOW)
    except InvalidInput:
        return
    assert (point.micros is None) != (point.offset is None)
    assert point.offset is None or 0 <= point.offset < 2**63
