"""Lots, and how each format writes them; for tests."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from adapters.feeds.comparison import Known
from adapters.feeds.parse.content import Content
from adapters.feeds.plan import Plan, make_plan
from adapters.feeds.settings import FeedFile

YRL = "http://webmaster.yandex.ru/schemas/feed/realty/2010-06"


class Lot(NamedTuple):
    id: str
    price: str = "5200000"
    rooms: str = "2"
    floor: int = 3
    house: str = "7"
    jk: str = "12"


def yrl(lots: Iterable[Lot], head: str = f'<realty-feed xmlns="{YRL}">') -> bytes:
    return (head + "".join(yrl_offer(lot) for lot in lots) + "</realty-feed>").encode()


def yrl_offer(lot: Lot, more: str = "") -> str:
    return (
        f'<offer internal-id="{escape(lot.id)}"><type>продажа</type><category>квартира</category>'
        "<location><locality-name>Тюмень</locality-name><address>Мира, 1</address><apartment>12А</apartment>"
        "</location>"
        f"<price><value>{lot.price}</value><currency>RUR</currency></price><area><value>41.5</value><unit>кв. м</unit>"
        f"</area><rooms>{lot.rooms}</rooms><floor>{lot.floor}</floor><floors-total>9</floors-total>"
        f"<building-name>Дом у реки</building-name><yandex-building-id>{lot.jk}</yandex-building-id>"
        f"<yandex-house-id>{lot.house}</yandex-house-id><building-section>1</building-section>{more}</offer>"
    )


def cian(lots: Iterable[Lot], head: str = "<feed><feed_version>2</feed_version>", end: str = "</feed>") -> bytes:
    return (head + "".join(cian_object(lot) for lot in lots) + end).encode()


def cian_object(lot: Lot) -> str:
    return (
        f"<object><ExternalId>{escape(lot.id)}</ExternalId><Category>newBuildingFlatSale</Category>"
        f"<Address>Россия, Тюменская область, г. Тюмень, ул. Мира, 1</Address>"
        f"<FlatRoomsCount>{lot.rooms}</FlatRoomsCount><TotalArea>41.5</TotalArea><FloorNumber>{lot.floor}</FloorNumber>"
        f"<JKSchema><Id>{lot.jk}</Id><Name>Дом у реки</Name><House><Id>{lot.house}</Id><Name>Корпус {lot.house}</Name>"
        "<Flat><FlatNumber>12А</FlatNumber><SectionNumber>1</SectionNumber></Flat></House></JKSchema>"
        "<Building><FloorsCount>9</FloorsCount><Deadline><Quarter>second</Quarter><Year>2027</Year></Deadline></Building>"
        f"<BargainTerms><Price>{lot.price}</Price><Currency>rub</Currency></BargainTerms></object>"
    )


def avito(lots: Iterable[Lot]) -> bytes:
    ads = "".join(
        f"<Ad><Id>{escape(lot.id)}</Id><Category>Квартиры</Category><OperationType>Продам</OperationType>"
        f"<MarketType>Новостройка</MarketType><NewDevelopmentId>{lot.jk}</NewDevelopmentId>"
        f"<DevelopmentsBuildingName>{lot.house}</DevelopmentsBuildingName><Address>Тюмень, ул. Мира, 1</Address>"
        f"<Rooms>{lot.rooms}</Rooms><Square>41.5</Square><Floor>{lot.floor}</Floor><Floors>9</Floors>"
        f'<Price>{lot.price}</Price><Images><Image url="https://feed.example/1.jpg"/></Images></Ad>'
        for lot in lots
    )
    return f'<Ads formatVersion="3" target="Avito.ru">{ads}</Ads>'.encode()


def some(count: int, first: int = 0) -> list[Lot]:
    return [Lot(f"lot-{n}") for n in range(first, first + count)]


def plan(raw: bytes, known: Known | None = None, **feed: Any) -> Plan:
    return make_plan(Content(io.BytesIO(raw)), FeedFile(name="x", url="x", **feed), known or Known())  # type: ignore[arg-type]


def remembered(*files: bytes) -> dict[str, bytes]:
    """The entries after these files were applied one after the other."""
    entries: dict[str, bytes] = {}
    for n, raw in enumerate(files):
        with plan(raw, known_of(entries)) as made:
            entries |= {f"{type(d.row).__name__.lower()}/{d.row[0]}": d.entry for d in made.differences(n + 1)}
    return entries


def known_of(entries: dict[str, bytes]) -> Known:
    known = Known()
    for key, entry in entries.items():
        known.load(key, entry)
    return known
