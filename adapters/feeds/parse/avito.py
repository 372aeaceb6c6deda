"""An offer of Avito's feed of version 3, new building and flat for sale: docs/feeds.md#avito."""

from __future__ import annotations

from adapters.feeds.parse import values
from adapters.feeds.parse.elements import OfferElement
from adapters.feeds.parse.offer import Offer, refuse_others
from adapters.feeds.parse.place import Place, city_of

_SALE = {"", "продам", "продажа"}


def read(element: OfferElement) -> Offer:
    """Returns the offer. Raises InvalidInput in the feed's own names."""
    get = element.first.get
    refuse_others("OperationType", get("OperationType"), _SALE)
    photos = tuple(element.all("Images/Image@url"))
    return Offer(
        {
            "name": values.text("Title", get("Title")),
            "type": values.premise_type("Category", get("Category")),
            "price": values.money("Price", get("Price")),
            "size": values.square_metres("Square", get("Square")),
            "floor": values.whole("Floor", get("Floor")),
            "rooms": values.rooms("Rooms", get("Rooms")),
            "photo": next(iter(photos), None),
            "photos": photos or None,
        },
        _place(element),
    )


def _place(element: OfferElement) -> Place:
    get = element.first.get
    address = get("Address") or ""
    project = get("NewDevelopmentId") or ""
    if not project:
        return Place(city=city_of(address))
    return Place(
        city=city_of(address),
        project=project,
        building=get("DevelopmentsBuildingName") or "",
        building_name=get("DevelopmentsBuildingName") or "",
        address=address,
        floors=values.whole("Floors", get("Floors")),
        lat=get("Latitude") or "",
        long=get("Longitude") or "",
    )
