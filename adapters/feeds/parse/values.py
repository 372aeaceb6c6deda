"""Values of an offer: texts of a feed to money, numbers and words. Pure; each raises InvalidInput.

Source of the codes: docs/feeds.md#formats.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from schemas.errors import InvalidInput
from schemas.estate import PremiseType
from schemas.fields import TEXT_LIMIT, is_ext_id

_SPACES: Final = re.compile(r"[\s\u00a0\u202f]+")
_MONEY: Final = re.compile(r"[0-9]{1,15}(?:[.,][0-9]{1,2})?")
_NUMBER: Final = re.compile(r"[0-9]{1,7}(?:[.,][0-9]{1,6})?")
_WHOLE: Final = re.compile(r"-?[0-9]{1,6}(?:[.,]0{1,2})?")
_ROUBLES: Final = frozenset({"", "rur", "rub", "руб", "руб.", "₽", "643"})
_SQUARE_METRES: Final = frozenset({"", "кв. м", "кв.м", "кв.м.", "м2", "м²", "sq.m", "sqm"})
_TRUE: Final = frozenset({"1", "true", "да", "+", "yes"})
CIAN_ROOMS: Final[Mapping[str, int | None]] = {"6": 6, "7": None, "9": 0, "10": 5}
"""``FlatRoomsCount`` that is no count: 6 is six or more, 7 a free plan, 9 a studio, 10 five or more."""
QUARTERS: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4}
STUDIO: Final = 0
_PLAIN: Final[Mapping[str, int | None]] = {
    "студия": STUDIO,
    "studio": STUDIO,
    "свободная планировка": None,
    "своб. планировка": None,
    "10 и больше": 10,
}
_TYPES: Final[Mapping[str, PremiseType]] = {
    "квартира": PremiseType.APARTMENT,
    "flat": PremiseType.APARTMENT,
    "апартаменты": PremiseType.APARTMENT,
    "квартиры": PremiseType.APARTMENT,
    "newbuildingflatsale": PremiseType.APARTMENT,
    "flatsale": PremiseType.APARTMENT,
    "кладовая": PremiseType.STOREROOM,
    "кладовка": PremiseType.STOREROOM,
    "кладовое помещение": PremiseType.STOREROOM,
    "storeroom": PremiseType.STOREROOM,
    "гараж": PremiseType.PARKING,
    "garage": PremiseType.PARKING,
    "машиноместо": PremiseType.PARKING,
    "машино-место": PremiseType.PARKING,
    "parking": PremiseType.PARKING,
    "garagesale": PremiseType.PARKING,
    "гаражи и машиноместа": PremiseType.PARKING,
    "коммерческая": PremiseType.COMMERCIAL,
    "commercial": PremiseType.COMMERCIAL,
    "коммерческая недвижимость": PremiseType.COMMERCIAL,
    "officesale": PremiseType.COMMERCIAL,
    "shoppingareasale": PremiseType.COMMERCIAL,
    "freeappointmentobjectsale": PremiseType.COMMERCIAL,
    "warehousesale": PremiseType.COMMERCIAL,
}


def compact(text: str) -> str:
    """Returns a text without spaces around it, and with single ones inside."""
    return " ".join(text.split())


def text(field: str, value: str | None) -> str | None:
    """Returns a text of the feed; None if it is absent or empty."""
    if value is None or not (value := value.strip()):
        return None
    if len(value) > TEXT_LIMIT:
        raise InvalidInput(field, f"a text of at most {TEXT_LIMIT} characters", f"{len(value)} characters")
    return value


def ext_id(field: str, value: str) -> str:
    """Returns an id."""
    if not is_ext_id(value):
        raise InvalidInput(field, "an id of 1 to 255 characters without control characters", value)
    return value


def money(field: str, value: str | None, currency_field: str = "", currency: str | None = None) -> Decimal | None:
    """Returns roubles with two decimals; None if the feed names no price."""
    if value is None or not value.strip():
        return None
    if (currency or "").strip().casefold() not in _ROUBLES:
        raise InvalidInput(currency_field, "RUR or RUB", currency)
    digits = value if value.isdecimal() else _SPACES.sub("", value)
    if not _MONEY.fullmatch(digits) or not (found := Decimal(digits.replace(",", "."))):
        raise InvalidInput(field, "a price above 0 in digits, with at most 2 decimals", value)
    return found.quantize(Decimal("0.01"))


def square_metres(field: str, value: str | None, unit: str | None = None) -> float | None:
    """Returns an area; None if it is absent."""
    if value is None or not value.strip():
        return None
    if unit and unit not in _SQUARE_METRES and _SPACES.sub("", unit).casefold() not in _SQUARE_METRES:
        raise InvalidInput(field.replace(".value", ".unit"), "square metres (кв. м)", unit)
    if not _NUMBER.fullmatch(digits := value.strip()):
        raise InvalidInput(field, "a number of square metres", value)
    return float(digits.replace(",", "."))


def whole(field: str, value: str | None) -> int | None:
    """Returns a whole number; None if it is absent."""
    if value is None or not (digits := value.strip()):
        return None
    if not _WHOLE.fullmatch(digits):
        raise InvalidInput(field, "a whole number", value)
    return int(digits.partition(".")[0].partition(",")[0])


def rooms(field: str, value: str | None, *, codes: Mapping[str, int | None] | None = None) -> int | None:
    """Returns the number of rooms: 0 for a studio, None for a free plan. ``codes``: numbers that are no counts."""
    if value is None or not (said := compact(value).casefold()):
        return None
    for words in (codes or {}, _PLAIN):
        if said in words:
            return words[said]
    if not said.isascii() or not said.isdecimal() or len(said) > 2:
        raise InvalidInput(field, "a number of rooms, a studio or a free plan", value)
    return int(said)


def flag(value: str | None) -> bool:
    """Returns whether a feed's yes-or-no text is yes."""
    return value is not None and value.strip().casefold() in _TRUE


def premise_type(field: str, value: str | None) -> str:
    """Returns the symbol of a premise's type by the feed's category."""
    found = _TYPES.get(value or "") or _TYPES.get(compact(value or "").casefold())
    if found is None:
        raise InvalidInput(field, "a flat, storeroom, parking space or commercial room for sale", value or "nothing")
    return found.value


def quarter(field: str, value: str | None) -> int | None:
    """Returns a quarter of a year, 1 to 4; None if it is absent."""
    if value is None or not (said := value.strip().casefold()):
        return None
    found = QUARTERS.get(said) or (int(said) if said in {"1", "2", "3", "4"} else None)
    if found is None:
        raise InvalidInput(field, "a quarter, 1 to 4 or first to fourth", value)
    return found
