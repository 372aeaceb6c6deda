"""The error frame of the sockets to Brusnika and to the main backend. Source: docs/contracts/brusnika.md#errors."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, NamedTuple


class Labels(NamedTuple):
    """One message in the three languages of an error frame (docs/contracts/brusnika.md#errors)."""

    en: str
    ru: str
    uz: str


class Trouble(Enum):
    """Each kind of error that goes over a socket: its id ("unique, and denotes exactly one error") and labels."""

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


def error_frame(trouble: Trouble, message: str, **meta: object) -> bytes:
    """Returns an error frame (docs/contracts/brusnika.md#errors): ``{"id", "labels", "meta": {"message", …}}``."""
    body = {
        "id": trouble.id,
        "labels": trouble.labels._asdict(),
        "meta": {"message": message, **{name: value for name, value in meta.items() if value is not None}},
    }
    return _dump({"data": None, "error": body})


def _dump(frame: dict[str, Any]) -> bytes:
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode()
