"""An address as accounts, flats and sign-ups have it (docs/contracts/rosdomofon.md#addresses)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from adapters.rosdomofon.wire import Wire
from schemas.fields import INT64_LIMIT, Int, Text


def _flat(value: object) -> object:
    """Its number, or a text such as ``12А``."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 19:
        return int(value)
    return str(value) if type(value) is int and abs(value) >= INT64_LIMIT else value


FlatNumber = Annotated[Int | Text, BeforeValidator(_flat)]


class Named(Wire):
    """A part of an address, which may also be written as its name or number alone."""

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, came: Any) -> Any:
        if isinstance(came, str) or type(came) is int:
            return {"number" if "number" in cls.model_fields else "name": str(came)}
        return came


class Country(Named):
    short_name: Text | None = None
    name: Text | None = None


class Street(Named):
    """``universal_code`` stands in place of the other codes outside Russia."""

    id: Int | None = None
    name: Text | None = None
    code_fias: Text | None = None
    code_kladr: Text | None = None
    universal_code: Text | None = None


class House(Named):
    id: Int | None = None
    number: Text | None = None
    block: Text | None = None
    building: Text | None = None
    housing: Text | None = None


class FlatRange(Wire):
    flat_start: Int | None = None
    flat_end: Int | None = None


class EntranceAddress(Named):
    """The entrance of an address; its flats are those from ``flat_start`` to ``flat_end`` and the further ranges."""

    id: Int | None = None
    number: Text | None = None
    flat_start: Int | None = None
    flat_end: Int | None = None
    additional_flat_ranges: list[FlatRange] | None = Field(default_factory=list)


class Address(Wire):
    """Of a sign-up often without ``flat`` and ``entrance``."""

    country: Country | None = None
    city: Text | None = None
    street: Street | None = None
    house: House | None = None
    entrance: EntranceAddress | None = None
    flat: FlatNumber | None = None

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
