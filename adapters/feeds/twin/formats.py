"""The twin's flats as feed files of each format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

from adapters.feeds.twin.developer import CITY, COMPLEXES, FLOORS, HOUSES, SECTIONS, Flat

YRL: Final = "http://webmaster.yandex.ru/schemas/feed/realty/2010-06"
IMAGES: Final = "https://feed.example/images"
QUARTERS: Final = ("first", "second", "third", "fourth")
TYPES: Final = ("cities", "projects", "buildings", "sections", "premises")


def yrl(flats: Iterable[Flat]) -> bytes:
    """Returns Yandex's YRL."""
    return f'{_XML}<realty-feed xmlns="{YRL}">{"".join(map(_offer, flats))}</realty-feed>\n'.encode()


def cian(flats: Iterable[Flat]) -> bytes:
    """Returns CIAN's feed of version 2."""
    return f"{_XML}<feed><feed_version>2</feed_version>{''.join(map(_object, flats))}</feed>\n".encode()


def cian_in_yrl(flats: Iterable[Flat]) -> bytes:
    """Returns CIAN's objects in the root of a YRL, as some publishers do."""
    return f'{_XML}<realty-feed xmlns="{YRL}">{"".join(map(_object, flats))}</realty-feed>\n'.encode()


def avito(flats: Iterable[Flat]) -> bytes:
    """Returns Avito's feed of version 3."""
    return f'{_XML}<Ads formatVersion="3" target="Avito.ru">{"".join(map(_ad, flats))}</Ads>\n'.encode()


def objects(kind: str, flats: Sequence[Flat]) -> list[dict[str, Any]]:
    """Returns the objects of one of `TYPES`, linked by id."""
    houses = [(c, h) for c in range(1, len(COMPLEXES) + 1) for h in range(1, HOUSES + 1)]
    if kind == "cities":
        return [{"ext_id": "1", "name": CITY}]
    if kind == "projects":
        return [{"ext_id": f"{n}", "name": name, "city_ext_id": "1"} for n, name in enumerate(COMPLEXES, start=1)]
    if kind == "buildings":
        return [
            {"ext_id": f"{c}-{h}", "name": f"Дом {h}", "number_of_floors": FLOORS, "project_ext_id": f"{c}"}
            for c, h in houses
        ]
    if kind == "sections":
        return [
            {"ext_id": f"{c}-{h}-{s}", "name": f"{s}", "building_ext_id": f"{c}-{h}"}
            for c, h in houses
            for s in range(1, SECTIONS + 1)
        ]
    return [_premise(flat) for flat in flats]


RENDERED: Final[dict[str, Callable[[Iterable[Flat]], bytes]]] = {
    "yrl": yrl,
    "cian": cian,
    "cian-in-yrl": cian_in_yrl,
    "avito": avito,
}
_XML: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _offer(flat: Flat) -> str:
    rooms = "<studio>1</studio>" if not flat.rooms else f"<rooms>{flat.rooms}</rooms>"
    house = 100 * flat.complex + flat.house
    return f"""<offer internal-id="{flat.id}"><type>продажа</type><property-type>жилая</property-type>
<category>квартира</category><new-flat>1</new-flat><url>https://feed.example/{flat.id}</url>
<location><country>Россия</country><locality-name>{CITY}</locality-name><address>улица Мира, {house}</address>
<apartment>{flat.number}</apartment></location>
<price><value>{flat.price}</value><currency>RUB</currency></price>
<area><value>{flat.size}</value><unit>кв. м</unit></area>{rooms}<floor>{flat.floor}</floor>
<floors-total>{FLOORS}</floors-total><building-name>{escape(COMPLEXES[flat.complex - 1])}</building-name>
<yandex-building-id>{flat.complex}</yandex-building-id><yandex-house-id>{house}</yandex-house-id>
<building-section>{flat.section}</building-section><built-year>{flat.year}</built-year>
<ready-quarter>{flat.quarter}</ready-quarter><balcony>2 балкона</balcony>
<image tag="plan">{IMAGES}/{flat.id}.png</image><image>{IMAGES}/{flat.complex}.jpg</image></offer>
"""


def _object(flat: Flat) -> str:
    return f"""<object><ExternalId>{flat.id}</ExternalId><Category>newBuildingFlatSale</Category>
<Address>Россия, г. {CITY}, улица Мира, {flat.house}</Address><FlatRoomsCount>{flat.rooms or 9}</FlatRoomsCount>
<TotalArea>{flat.size}</TotalArea><FloorNumber>{flat.floor}</FloorNumber>
<JKSchema><Id>{flat.complex}</Id><Name>{escape(COMPLEXES[flat.complex - 1])}</Name><House><Id>{flat.house}</Id>
<Name>Дом {flat.house}</Name><Flat><FlatNumber>{flat.number}</FlatNumber><SectionNumber>{flat.section}</SectionNumber>
</Flat></House></JKSchema><Photos><PhotoSchema><FullUrl>{IMAGES}/{flat.complex}.jpg</FullUrl><IsDefault>true</IsDefault>
</PhotoSchema></Photos><LayoutPhoto><FullUrl>{IMAGES}/{flat.id}.png</FullUrl></LayoutPhoto>
<Building><FloorsCount>{FLOORS}</FloorsCount><Deadline><Quarter>{QUARTERS[flat.quarter - 1]}</Quarter>
<Year>{flat.year}</Year></Deadline></Building>
<BargainTerms><Price>{flat.price}.0</Price><Currency>rub</Currency></BargainTerms></object>
"""


def _ad(flat: Flat) -> str:
    return f"""<Ad><Id>{flat.id}</Id><Category>Квартиры</Category><OperationType>Продам</OperationType>
<MarketType>Новостройка</MarketType><NewDevelopmentId>{flat.complex}</NewDevelopmentId>
<DevelopmentsBuildingName>Дом {flat.house}</DevelopmentsBuildingName><Address>{CITY}, улица Мира, {flat.house}</Address>
<Rooms>{flat.rooms or "Студия"}</Rooms><Square>{flat.size}</Square><Floor>{flat.floor}</Floor><Floors>{FLOORS}</Floors>
<Price>{flat.price}</Price><Images><Image url="{IMAGES}/{flat.id}.png"/></Images></Ad>
"""


def _premise(flat: Flat) -> dict[str, Any]:
    return {
        "ext_id": flat.id,
        "type": "apartment",
        "building_ext_id": f"{flat.complex}-{flat.house}",
        "section_ext_id": f"{flat.complex}-{flat.house}-{flat.section}",
        "price": flat.price,
        "size": flat.size,
        "status": "free",
        "floor": flat.floor,
        "rooms": flat.rooms,
    }
