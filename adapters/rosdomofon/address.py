"""An address as accounts, flats and sign-ups have it (contracts §2)."""

from __future__ import annotations

from pydantic import Field

from adapters.rosdomofon.wire import Wire
from schemas.fields import Int, Text


class Country(Wire):
    short_name: Text | None = None
    name: Text | None = None


class Street(Wire):
    """``universal_code`` stands in place of the other codes outside Russia."""

    id: Int | None = None
    name: Text | None = None
    code_fias: Text | None = None
    code_kladr: Text | None = None
    universal_code: Text | None = None


class House(Wire):
    id: Int | None = None
    number: Text | None = None
    block: Text | None = None
    building: Text | None = None
    housing: Text | None = None


class FlatRange(Wire):
    flat_start: Int | None = None
    flat_end: Int | None = None


class EntranceAddress(Wire):
    """The entrance of an address; its flats are those from ``flat_start`` to ``flat_end`` and the further ranges."""

    id: Int | None = None
    number: Text | None = None
    flat_start: Int | None = None
    flat_end: Int | None = None
    additional_flat_ranges: list[FlatRange] = Field(default_factory=list)


class Address(Wire):
    """Of a sign-up often without ``flat`` and ``entrance``."""

    country: Country | None = None
    city: Text | None = None
    street: Street | None = None
    house: House | None = None
    entrance: EntranceAddress | None = None
    flat: Int | None = None

    def line(self) -> str:
        """For people: ``Иваново, Ташкентская, 100, кв. 42``."""
        house = self.house
        number = (house.number or "") if house else ""
        if house:
            parts = (("к", house.block), ("стр", house.building), ("корп", house.housing))
            number += "".join(f" {word}. {value}" for word, value in parts if value)
        entrance = f"подъезд {self.entrance.number}" if self.entrance and self.entrance.number else ""
        flat = f"кв. {self.flat}" if self.flat is not None else ""
        pieces = (self.city, self.street.name if self.street else "", number.strip(), entrance, flat)
        return ", ".join(piece for piece in pieces if piece)
