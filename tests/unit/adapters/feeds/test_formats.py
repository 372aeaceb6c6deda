"""Each format's offers become premises and their parents; a value that can't be used refuses its offer alone."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.feeds.parse import values
from adapters.feeds.parse.place import Parents, Place, city_of, parent_ids
from schemas.errors import InvalidInput
from schemas.estate import Building, City, Premise, Project, Section
from tests.unit.adapters.feeds.lots import Lot, avito, cian, plan, yrl, yrl_offer


def rows(raw: bytes, **feed: Any) -> dict[type, list[Any]]:
    found: dict[type, list[Any]] = {}
    with plan(raw, **feed) as made:
        for difference in made.differences(1):
            found.setdefault(type(difference.row), []).append(difference.row)
    return found


def test_yrl() -> None:
    more = (
        "<url>https://feed.example/1</url><built-year>2027</built-year><ready-quarter>3</ready-quarter>"
        '<image>https://feed.example/1.jpg</image><image tag="plan">https://feed.example/plan.png</image>'
    )
    found = rows(f"<f>{yrl_offer(Lot('1'), more)}</f>".encode())
    images = ("https://feed.example/1.jpg", "https://feed.example/plan.png")
    assert found == {
        City: [City("Тюмень", name="Тюмень")],
        Project: [Project("12", name="Дом у реки", city_ext_id="Тюмень")],
        Building: [Building("7", name="Дом у реки", address="Мира, 1", number_of_floors=9, project_ext_id="12")],
        Section: [Section("7/1", name="1", building_ext_id="7")],
        Premise: [
            Premise(
                "1",
                type="APARTMENT",  # type: ignore[arg-type]
                status="FREE",  # type: ignore[arg-type]
                building_ext_id="7",
                section_ext_id="7/1",
                price=Decimal("5200000.00"),
                size=41.5,
                number_text="12А",
                floor=3,
                rooms=2,
                photo=images[0],
                photos=images,
                link="https://feed.example/1",
                year=2027,
                quarter=3,
            )
        ],
    }


def test_cian_whose_house_is_unique_within_its_complex_only() -> None:
    found = rows(cian([Lot("1", house="7", jk="12"), Lot("2", house="7", jk="13", rooms="9")]))
    assert [city.ext_id for city in found[City]] == ["Тюмень"]
    assert [(b.ext_id, b.name, b.project_ext_id) for b in found[Building]] == [
        ("12/7", "Корпус 7", "12"),
        ("13/7", "Корпус 7", "13"),
    ]
    assert [(s.ext_id, s.building_ext_id) for s in found[Section]] == [("12/7/1", "12/7"), ("13/7/1", "13/7")]
    assert [(p.section_ext_id, p.rooms, p.year, p.quarter, p.number_text) for p in found[Premise]] == [
        ("12/7/1", 2, 2027, 2, "12А"),
        ("13/7/1", 0, 2027, 2, "12А"),
    ]


def test_cian_in_a_yrl_root() -> None:
    raw = cian(
        [Lot("1")],
        head='<realty-feed xmlns="http://webmaster.yandex.ru/schemas/feed/realty/2010-06">',
        end="</realty-feed>",
    )
    assert [premise.building_ext_id for premise in rows(raw)[Premise]] == ["12/7"]


def test_avito() -> None:
    found = rows(avito([Lot("1", rooms="Студия")]))
    (premise,) = found[Premise]
    assert (premise.rooms, premise.building_ext_id, premise.section_ext_id) == (0, "12/7", None)
    assert premise.photos == ("https://feed.example/1.jpg",)
    assert [building.number_of_floors for building in found[Building]] == [9]


def test_a_prefix_stands_before_every_id() -> None:
    found = rows(yrl([Lot("1")]), id_prefix="msk:")
    assert {row[0] for kind in found.values() for row in kind} == {"msk:Тюмень", "msk:12", "msk:7", "msk:7/1", "msk:1"}
    (premise,) = found[Premise]
    assert (premise.building_ext_id, premise.section_ext_id) == ("msk:7", "msk:7/1")


@pytest.mark.parametrize(
    ("write", "rooms", "expected"),
    [
        (cian, "6", 6), (cian, "7", None), (cian, "9", 0), (cian, "10", 5), (cian, "", None),
        (avito, "Студия", 0), (avito, "7", 7), (avito, "9", 9), (avito, "10 и больше", 10),
        (avito, "Свободная планировка", None), (yrl, "6", 6), (yrl, "студия", 0),
    ],
)  # fmt: skip
def test_rooms(write: Any, rooms: str, expected: int | None) -> None:
    (premise,) = rows_of_premises(write([Lot("1", rooms=rooms)]))
    assert premise.rooms == expected


def rows_of_premises(raw: bytes) -> list[Any]:
    return rows(raw)[Premise]


PRICE = "a price above 0 in digits, with at most 2 decimals"
KIND = "a flat, storeroom, parking space or commercial room for sale"


def changed(raw: bytes, old: str, new: str) -> bytes:
    assert old.encode() in raw
    return raw.replace(old.encode(), new.encode())


REFUSED = {
    "price in words": (yrl([Lot("1", price="от 5,2 млн")]), "price.value", PRICE),
    "price of 0": (yrl([Lot("1", price="0")]), "price.value", PRICE),
    "negative price": (cian([Lot("1", price="-5")]), "BargainTerms.Price", PRICE),
    "three decimals": (avito([Lot("1", price="5,200")]), "Price", PRICE),
    "dollars": (changed(yrl([Lot("1")]), "RUR", "USD"), "price.currency", "RUR or RUB"),
    "dollars in CIAN": (changed(cian([Lot("1")]), ">rub<", ">usd<"), "BargainTerms.Currency", "RUR or RUB"),
    "rooms": (cian([Lot("1", rooms="много")]), "FlatRoomsCount", "a number of rooms, a studio or a free plan"),
    "rent": (changed(yrl([Lot("1")]), "продажа", "аренда"), "type", "a sale"),
    "house": (changed(yrl([Lot("1")]), "квартира", "дом"), "category", KIND),
    "area": (changed(yrl([Lot("1")]), "кв. м", "сотка"), "area.unit", "square metres (кв. м)"),
    "floor": (changed(yrl([Lot("1")]), "<floor>3", "<floor>цоколь"), "floor", "a whole number"),
    "quarter": (
        changed(cian([Lot("1")]), "second", "fifth"),
        "Building.Deadline.Quarter",
        "a quarter, 1 to 4 or first to fourth",
    ),
    "address": (changed(yrl([Lot("1")]), "Мира, 1", "М" * 1001), "location", "texts of at most 1000 characters"),
    "id": (yrl([Lot("1" * 256)]), "id", "an id of 1 to 255 characters without control characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_value_that_can_not_be_used_refuses_its_offer_alone(name: str) -> None:
    raw, field, expected = REFUSED[name]
    opening, offer = (b"<offer", b"</offer>") if b"<offer" in raw else (b"<object", b"</object>")
    if b"<Ad>" in raw:
        opening, offer = b"<Ad>", b"</Ad>"
    good = {b"<offer": yrl, b"<object": cian, b"<Ad>": avito}[opening]([Lot("good")])
    both = good.replace(offer, offer + raw[raw.index(opening) : raw.index(offer) + len(offer)], 1)
    with plan(both) as made:
        assert (made.counts.offers, made.counts.new, made.counts.refused) == (2, 1, 1)
        (example,) = made.counts.examples
    assert (example["field"], example["expected"]) == (field, expected)
    assert example["came"]


@pytest.mark.parametrize(
    ("address", "city"),
    [
        ("Россия, Тюменская область, г. Тюмень, ул. Мира, 1", "Тюмень"), ("Москва, ул. Мира", "Москва"),
        ("город Екатеринбург, пр-т Ленина", "Екатеринбург"), ("ул. Мира, 1", ""), ("", ""), (" , ,", ""),
        ("Республика Татарстан, Казань", "Казань"),
    ],
)  # fmt: skip
def test_the_city_in_an_address(address: str, city: str) -> None:
    assert city_of(address) == city


PART = st.text("ab/% ", max_size=4)


@given(PART, PART, PART, PART, PART, PART)
def test_no_two_buildings_share_an_id(a: str, b: str, c: str, d: str, e: str, f: str) -> None:
    one = Place(project=f"x{a}x", building=f"x{b}x", section=f"x{c}x")
    two = Place(project=f"x{d}x", building=f"x{e}x", section=f"x{f}x")
    same = [
        " ".join(x.split()) == " ".join(y.split())
        for x, y in zip(one, two, strict=True)
        if isinstance(x, str) and isinstance(y, str)
    ]
    assert (parent_ids(one, "") == parent_ids(two, "")) == all(same)


@given(st.permutations([("b", 5, "x"), ("a", 9, "y"), ("c", 7, "z")]))
def test_the_order_of_offers_does_not_change_a_parent(order: list[tuple[str, int, str]]) -> None:
    parents = Parents("")
    for offer, floors, address in order:
        parents.note(Place(house="7", address=address, floors=floors), offer)
    assert parents.rows() == [Building("7", address="y", number_of_floors=9)]


@given(st.decimals("0.01", "999999999999", places=2), st.sampled_from(["", " ", "\u00a0"]), st.sampled_from([".", ","]))
def test_money_is_exact(amount: Decimal, space: str, point: str) -> None:
    said = f"{amount:,.2f}".replace(",", space).replace(".", point)
    assert values.money("price", said) == amount


READERS = (values.money, values.square_metres, values.whole, values.rooms, values.quarter, values.premise_type)


@given(st.text("0123456789.,-+ \u00a0абстудия", max_size=9), st.sampled_from(READERS))
def test_any_text_is_a_value_or_refused(said: str, read: Any) -> None:
    with contextlib.suppress(InvalidInput):
        read("field", said)
