"""The frames of the Brusnika socket: ``{"data": {"type", "data"}, "error": null}``. Source:
docs/contracts/brusnika.md#frames.

Whether the real server speaks plain WebSocket or wraps each frame as NestJS does (the event is named ``events``)
is not public, so both are read; error frames are written plain.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Final, NamedTuple

from schemas.errors import InvalidInput, shorten
from schemas.external import from_outside, is_outside, parse_json
from schemas.fields import is_id
from schemas.wire.passwords import concealed

Row = tuple[Any, ...]
EVENT: Final = "events"
"""The only event of the feed (docs/contracts/brusnika.md#frames)."""


class Labels(NamedTuple):
    """One message in the three languages of an error frame (docs/contracts/brusnika.md#errors)."""

    en: str
    ru: str
    uz: str


class Trouble(Enum):
    """Each kind of error that goes over the socket: its id ("unique, and denotes exactly one error") and labels."""

    id: int
    labels: Labels

    # The published example, with one text in all languages, kept to the letter.
    DENIED = 400, Labels(*["Client connection denied!"] * 3)
    TOO_LARGE = (
        4001,
        Labels("The frame is too large.", "Слишком большой кадр.", "Kadr hajmi juda katta."),
    )
    NOT_JSON = (
        4002,
        Labels("The frame is not valid JSON.", "Кадр не является корректным JSON.", "Kadr yaroqli JSON emas."),
    )
    BAD_FRAME = (
        4003,
        Labels(
            "The frame lacks its data, type or error part.",
            "В кадре нет части data, type или error.",
            "Kadrda data, type yoki error qismi yoʻq.",
        ),
    )
    UNKNOWN_TYPE = (
        4004,
        Labels("The type is unknown.", "Неизвестный тип данных.", "Maʼlumot turi nomaʼlum."),
    )
    MISSING_FIELD = (
        4005,
        Labels("A required field is missing.", "Отсутствует обязательное поле.", "Majburiy maydon yoʻq."),
    )
    WRONG_VALUE = (
        4006,
        Labels("A field has a wrong value.", "Неверное значение поля.", "Maydon qiymati notoʻgʻri."),
    )

    def __init__(self, id: int, labels: Labels) -> None:
        self.id, self.labels = id, labels


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


def read_frame(raw: bytes, *, max_bytes: int) -> Row | ErrorFrame:
    """Returns the row that a frame carries, or the error that the other side reports. Raises BadFrame."""
    if len(raw) > max_bytes:
        raise BadFrame(Trouble.TOO_LARGE, InvalidInput("frame", f"at most {max_bytes} bytes", len(raw)))
    try:
        frame = parse_json(raw, max_bytes=max_bytes)
    except InvalidInput as error:
        raise BadFrame(Trouble.NOT_JSON, error) from None
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


def error_frame(trouble: Trouble, message: str, **meta: object) -> bytes:
    """Returns an error frame (docs/contracts/brusnika.md#errors): ``{"id", "labels", "meta": {"message", …}}``."""
    body = {
        "id": trouble.id,
        "labels": trouble.labels._asdict(),
        "meta": {"message": message, **{name: value for name, value in meta.items() if value is not None}},
    }
    return _dump({"data": None, "error": body})


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


def _dump(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
