"""An offer of CIAN's feed of version 2, new building and flat for sale: docs/feeds.md#cian."""

from __future__ import annotations

from typing import Final

from adapters.feeds.parse import values
from adapters.feeds.parse.elements import OfferElement
from adapters.feeds.parse.offer import Offer
from adapters.feeds.parse.place import Place, city_of

_JK: Final = "JKSchema"
_HOUSE: Final = "JKSchema/House"
_FLAT: Final = "JKSchema/House/Flat"
_TERMS: Final = "BargainTerms"


def read(element: OfferElement) -> Offer:
    """Returns the offer. Raises InvalidInput in the feed's own names."""
    get = element.first.get
    price = get(f"{_TERMS}/Price")
    currency = get(f"{_TERMS}/Currency") or get(f"{_TERMS}/currency")
    photos = (*element.all("Photos/PhotoSchema/FullUrl"), *element.all("LayoutPhoto/FullUrl"))
    return Offer(
        {
            "name": values.text("Title", get("Title")),
            "type": values.premise_type("Category", get("Category")),
            "price": values.money("BargainTerms.Price", price, "BargainTerms.Currency", currency),
            "size": values.square_metres("TotalArea", get("TotalArea")),
            "number": get(f"{_FLAT}/FlatNumber"),
            "floor": values.whole("FloorNumber", get("FloorNumber")),
            "rooms": values.rooms("FlatRoomsCount", get("FlatRoomsCount"), codes=values.CIAN_ROOMS),
            "photo": _default(element) or next(iter(photos), None),
            "photos": photos or None,
            "year": values.whole("Building.Deadline.Year", get("Building/Deadline/Year")),
            "quarter": values.quarter("Building.Deadline.Quarter", get("Building/Deadline/Quarter")),
        },
        _place(element),
    )


def _default(element: OfferElement) -> str | None:
    urls, marks = element.all("Photos/PhotoSchema/FullUrl"), element.all("Photos/PhotoSchema/IsDefault")
    if len(urls) != len(marks):  # not every photograph says whether it is the first
        return None
    return next((url for url, mark in zip(urls, marks, strict=True) if values.flag(mark)), None)


def _place(element: OfferElement) -> Place:
    get = element.first.get
    address = get("Address") or ""
    project = get(f"{_JK}/Id") or get(f"{_JK}/Name") or ""
    if not project:
        return Place(city=city_of(address))
    return Place(
        city=city_of(address),
        project=project,
        project_name=get(f"{_JK}/Name") or "",
        building=get(f"{_HOUSE}/Id") or get(f"{_HOUSE}/Name") or "",
        building_name=get(f"{_HOUSE}/Name") or "",
        section=get(f"{_FLAT}/SectionNumber") or "",
        address=address,
        floors=values.whole("Building.FloorsCount", get("Building/FloorsCount")),
        lat=get("Coordinates/Lat") or "",
        long=get("Coordinates/Lng") or "",
    )
