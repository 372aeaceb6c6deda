"""The address in accounts, flats and sign-ups (docs/contracts/rosdomofon.md#addresses)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from adapters.rosdomofon.wire import Wire
from schemas.fields import INT64_LIMIT, Int, Text


def _flat(value: object) -> object:
    """Returns a flat's number as an int, any other text (``12А``) unchanged."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 19:
        return int(value)
    return str(value) if type(value) is int and abs(value) >= INT64_LIMIT else value


FlatNumber = Annotated[Int | Text, BeforeValidator(_flat)]


class Named(Wire):
    """A part of an address; the operator may also send its name or number alone instead of an object."""

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, came: Any) -> Any:
        if isinstance(came, str) or type(came) is int:
            return {"number" if "number" in cls.model_fields else "name": str(came)}
        return came


class Country(Named):
    """A country."""

    short_name: Text | None = None
    name: Text | None = None


class Street(Named):
    """A street. Outside Russia it has ``universal_code`` instead of the other codes."""

    id: Int | None = None
    name: Text | None = None
    code_fias: Text | None = None
    code_kladr: Text | None = None
    universal_code: Text | None = None


class House(Named):
    """A house."""

    id: Int | None = None
    number: Text | None = None
    block: Text | None = None
    building: Text | None = None
    housing: Text | None = None


class FlatRange(Wire):
    """Flats from the first to the last number, both included."""

    flat_start: Int | None = None
    flat_end: Int | None = None


class EntranceAddress(Named):
    """An entrance; its flats are those from ``flat_start`` to ``flat_end`` and the additional ranges."""

    id: Int | None = None
    number: Text | None = None
    flat_start: Int | None = None
    flat_end: Int | None = None
    additional_flat_ranges: list[FlatRange] | None = Field(default_factory=list)


class Address(Wire):
    """An address. A sign-up's often lacks ``flat`` and ``entrance``."""

    country: Country | None = None
    city: Text | None = None
    street: Street | None = None
    house: House | None = None
    entrance: EntranceAddress | None = None
    flat: FlatNumber | None = None

    def line(self) -> str:
        """Return the address as one line for people: ``Иваново, Ташкентская, 100, кв. 42``."""
        house = self.house
        number = (house.number or "") if house else ""
        if house:
            parts = (("к", house.block), ("стр", house.building), ("корп", house.housing))
            number += "".join(f" {label}. {value}" for label, value in parts if value)
        entrance = f"подъезд {self.entrance.number}" if self.entrance and self.entrance.number else ""
        flat = f"кв. {self.flat}" if self.flat is not None else ""
        pieces = (self.city, self.street.name if self.street else "", number.strip(), entrance, flat)
        return ", ".join(piece for piece in pieces if piece)
