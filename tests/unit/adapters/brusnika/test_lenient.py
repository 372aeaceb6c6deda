"""Frames that are no valid JSON still have their number, if it is beyond doubt."""

from __future__ import annotations

import pytest

from adapters.brusnika.frames import BadFrame, read_frame
from adapters.brusnika.lenient import number_in


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b'{"ext_id": "p", "update_id": 7, "size": NaN}', 7),
        (b'{"ext_id": "p", "update_id": 7, "name": "\xd0"}', 7),
        (b'{"ext_id": "p", "update_id": 7, "name": "x", "name": "y"}', 7),
        (b'{"ext_id": "p", "update_id": 7, "update_id": 8}', None),
        (b'{"ext_id": "p", "update_id": "7", "size": NaN}', None),
        (b'{"ext_id": "p", "update_id": 7', None),
        (b"[" * 100_000, None),
        (b'{"update_id": 7, "size": 1e9999999999999999999}', None),
    ],
)
def test_the_number_of_a_frame_that_is_refused_as_no_json(body: bytes, number: int | None) -> None:
    plain = b'{"data": {"type": "premise", "data": %b}, "error": null}' % body
    for raw in (plain, b'{"event": "events", "data": %b}' % plain):
        assert number_in(raw) == number
    if number is not None:
        with pytest.raises(BadFrame) as caught:
            read_frame(plain, max_bytes=1 << 20)
        assert caught.value.update_id == number
