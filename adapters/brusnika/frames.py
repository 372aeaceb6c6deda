"""The frames of the Brusnika socket: ``{"data": {"type", "data"}, "error": null}``. Source:
docs/contracts/brusnika.md#frames.

Whether the real server sends plain frames or wraps each one as NestJS does (the event is named ``events``) is not
public, so both are read; error frames are written in the form of the frame before.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from adapters.brusnika.lenient import number_in
from schemas.error_frame import Trouble, error_frame
from schemas.errors import InvalidInput, shorten
from schemas.external import from_outside, is_outside, parse_json, to_outside
from schemas.fields import is_id
from schemas.wire.passwords import concealed

Row = tuple[Any, ...]
EVENT: Final = "events"
"""The only event of the feed (docs/contracts/brusnika.md#frames)."""


class BadFrame(InvalidInput):
    """A frame that can't be accepted: the kind of error, and the change's ``update_id`` and type if they could be
    read."""

    def __init__(
        self, trouble: Trouble, cause: InvalidInput, update_id: int | None = None, word: str | None = None
    ) -> None:
        super().__init__(cause.field, cause.expected, "", hint=cause.hint)
        self.came = cause.came  # was shortened already: shortening twice would quote it twice
        self.args = cause.args
        self.trouble, self.update_id, self.word = trouble, update_id, word


class ErrorFrame(NamedTuple):
    """An error that the other side reports: an ``error`` object (docs/contracts/brusnika.md#errors)."""

    id: int | None
    label: str
    meta: dict[str, Any]

    def __str__(self) -> str:
        return f"error {self.id}: {self.label} {shorten(self.meta.get('message', ''))}"


class FrameReader:
    """Reads frames, and writes answers in the form of the last one that was read. ``in_nest``: that form at first."""

    def __init__(self, *, in_nest: bool, max_bytes: int) -> None:
        self.in_nest = in_nest
        """Whether frames stand in Nest's envelope."""
        self._max_bytes = max_bytes

    def read(self, raw: bytes) -> Row | ErrorFrame:
        """Returns the row that a frame carries, or the error that the other side reports. Raises BadFrame."""
        frame = _parse(raw, self._max_bytes)
        self.in_nest = isinstance(frame, dict) and "event" in frame
        return _read(frame)

    def answer(self, bad: BadFrame) -> bytes:
        """Returns the error frame for a bad frame."""
        frame = answer_to(bad)
        return b'{"event":"events","data":%b}' % frame if self.in_nest else frame


def read_frame(raw: bytes, *, max_bytes: int) -> Row | ErrorFrame:
    """Returns the row that a frame carries, or the error that the other side reports. Raises BadFrame."""
    return _read(_parse(raw, max_bytes))


def _parse(raw: bytes, max_bytes: int) -> Any:
    if len(raw) > max_bytes:
        raise BadFrame(Trouble.TOO_LARGE, InvalidInput("frame", f"at most {max_bytes} bytes", len(raw)))
    try:
        return parse_json(raw, max_bytes=max_bytes)
    except InvalidInput as error:
        raise BadFrame(Trouble.NOT_JSON, error, number_in(raw)) from None


def _read(frame: Any) -> Row | ErrorFrame:
    if isinstance(frame, dict) and "event" in frame:
        if frame["event"] != EVENT:
            raise _shape("event", f"'{EVENT}'", frame["event"])
        frame = frame.get("data")
    if not isinstance(frame, dict):
        raise _shape("frame", "an object with data and error", frame)
    if frame.get("error") is not None:
        return _read_error(frame["error"])
    return _read_data(frame.get("data"))


def _read_data(data: object) -> Row:
    if not isinstance(data, dict):
        raise _shape("data", "an object with type and data", data)
    word, body = data.get("type"), data.get("data")
    if not isinstance(word, str):
        raise _shape("data.type", "the name of a type", word)
    if not isinstance(body, dict):
        raise _shape("data.data", "an object", body)
    try:
        row: Row = from_outside(word, body)
    except InvalidInput as error:
        raise BadFrame(_trouble(word, body, error), error, _number_of(body.get("update_id")), word.lower()) from None
    return row


def _number_of(came: object) -> int | None:
    """Returns the number as `from_outside` would have read it."""
    if isinstance(came, str) and is_id(came):
        return int(came)
    return came if type(came) is int else None


def _trouble(word: str, body: dict[str, Any], error: InvalidInput) -> Trouble:
    if error.field == "type" and not is_outside(word):
        return Trouble.UNKNOWN_TYPE
    return Trouble.WRONG_VALUE if error.field.split(".")[0] in body else Trouble.MISSING_FIELD


def _read_error(error: object) -> ErrorFrame:
    """Returns any value of ``error`` as an error, even of a shape that is not published."""
    if not isinstance(error, dict):
        return ErrorFrame(None, shorten(error), {})
    labels, meta, number = error.get("labels"), error.get("meta"), error.get("id")
    label = labels.get("en") if isinstance(labels, dict) else labels
    return ErrorFrame(
        number if isinstance(number, int) else None, shorten(label, 200), meta if isinstance(meta, dict) else {}
    )


def _shape(field: str, expected: str, came: object) -> BadFrame:
    return BadFrame(Trouble.BAD_FRAME, InvalidInput(field, expected, concealed(came)))


def frame_of(row: Row) -> bytes:
    """Returns the frame that carries a row. Raises InvalidInput for one that has no external form."""
    word, body = to_outside(row)
    frame = {"data": {"type": word, "data": body}, "error": None}
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def answer_to(bad: BadFrame) -> bytes:
    """Returns the error frame that names what the sender must fix: the field, the expected value and the received
    one."""
    return error_frame(
        bad.trouble,
        bad.message,
        code=bad.trouble.name.lower(),
        field=bad.field,
        expected=bad.expected,
        came=bad.came,
        update_id=bad.update_id,
    )
