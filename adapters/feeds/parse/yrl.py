"""An offer of Yandex's YRL: docs/feeds.md#yrl."""

from __future__ import annotations

from adapters.feeds.parse import values
from adapters.feeds.parse.elements import OfferElement
from adapters.feeds.parse.offer import Offer, refuse_others
from adapters.feeds.parse.place import Place

_SALE = {"", "продажа", "sale", "продам"}


def read(element: OfferElement) -> Offer:
    """Returns the offer. Raises InvalidInput in the feed's own names."""
    get = element.first.get
    refuse_others("type", get("type"), _SALE)
    images = element.all("image")
    plans = [url for n, url in enumerate(images) if n < len(tags := element.all("image@tag")) and tags[n] == "plan"]
    number = get("location/apartment") or get("flat-number")
    return Offer(
        {
            "type": values.premise_type("category", get("category") or _category(get("property-type"))),
            "price": values.money("price.value", get("price/value"), "price.currency", get("price/currency")),
            "size": values.square_metres("area.value", get("area/value"), get("area/unit")),
            "number": number,
            "floor": values.whole("floor", get("floor")),
            "rooms": _rooms(element),
            "photo": next(iter(plans or images), None),
            "photos": tuple(images) or None,
            "link": values.text("url", get("url")),
            "year": values.whole("built-year", get("built-year")),
            "quarter": values.quarter("ready-quarter", get("ready-quarter")),
        },
        _place(element),
    )


def _category(property_type: str | None) -> str | None:
    """Returns the category of an offer without one, which commercial offers of old feeds may be."""
    return property_type if property_type in ("commercial", "коммерческая") else None


def _rooms(element: OfferElement) -> int | None:
    get = element.first.get
    if values.flag(get("studio")):
        return values.STUDIO
    return None if values.flag(get("open-plan")) else values.rooms("rooms", get("rooms"))


def _place(element: OfferElement) -> Place:
    get = element.first.get
    name = get("building-name") or ""
    project = get("yandex-building-id") or name
    if not (project or get("yandex-house-id")):
        return Place(city=get("location/locality-name") or get("location/region") or "")
    return Place(
        city=get("location/locality-name") or get("location/region") or "",
        project=project,
        project_name=name,
        house=get("yandex-house-id") or "",
        building_name=name,
        section=get("building-section") or "",
        address=get("location/address") or "",
        floors=values.whole("floors-total", get("floors-total")),
        lat=get("location/latitude") or "",
        long=get("location/longitude") or "",
    )
