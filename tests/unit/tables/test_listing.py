"""What an aggregate declares of its lists is checked against the fields that it has."""

from __future__ import annotations

import pytest

from streams.domains import DOMAINS
from tables.listing import Listing
from tests.unit.tables.views import LAYOUTS, PREMISES


@pytest.mark.parametrize(
    ("listing", "said"),
    [
        (Listing(orders=("prize",)), "unknown: prize"),
        (Listing(indexes=(("status", "colour"),)), "unknown: colour"),
        (Listing(indexes=(("photos",),)), "lists, which have no order,: photos"),
        (Listing(ranges=("status",)), "of no order for ranges,: status"),
        (Listing(search=("price",)), "no texts to search,: price"),
        (Listing(several=("name",)), "no whole numbers or enums,: name"),
        (Listing(several=("colour",)), "unknown: colour"),
        (Listing(members={"feature": "name"}), "no lists,: name"),
        (Listing(members={"rooms": "features"}), "called as another parameter,: rooms"),
        (Listing(members={"price_to": "features"}, ranges=("price",)), "called as another parameter,: price_to"),
        (Listing(covers=("colour",)), "unknown: colour"),
        (Listing(through={"city_ext_id": (("house", "estate.building"),)}), "unknown on the way to city_ext_id: house"),
    ],
)
def test_what_can_not_be_is_named(listing: Listing, said: str) -> None:
    with pytest.raises(TypeError, match=f"estate.premise: its Listing names fields that are {said}"):
        listing.check(LAYOUTS[PREMISES])


def test_each_index_is_made_once() -> None:
    listing = Listing(indexes=(("status",), ("building_ext_id",)), orders=("price",), ranges=("price", "changed_at"))
    found = listing.indexed(LAYOUTS[PREMISES])
    assert len(found) == len(set(found))
    assert {("status",), ("building_ext_id",), ("price",), ("changed_at",), ("section_ext_id",)} <= set(found)
    assert ("ext_id",) not in found


@pytest.mark.parametrize("aggregate", [a for d in DOMAINS.values() for a in d.aggregates], ids=lambda a: a.topic)
def test_the_listings_of_our_domains_fit(aggregate: object) -> None:
    aggregate.listing.check(aggregate.layout)  # type: ignore[attr-defined]
