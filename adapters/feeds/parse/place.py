"""The place of an offer, and the parents that follow from all places of a file: city, project, building, section."""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from adapters.feeds.errors import BrokenFeed
from adapters.feeds.parse.values import compact, ext_id
from schemas.errors import InvalidInput
from schemas.estate import Building, City, Project, Section

MOST_PLACES: Final = 20_000
"""Different places in a file. A company has hundreds of buildings; a file with more fills the memory."""
MOST_TEXT: Final = 1_000
"""Characters of a name, address or coordinate."""
_BROADER: Final = re.compile(
    r"\b(?:россия|область|обл|край|республика|респ|район|р-н|округ|федерация|мо|ао)\b", re.IGNORECASE
)
_STREET: Final = re.compile(r"\b(?:ул|улица|просп|проспект|пр-т|пр-кт|ш|шоссе|наб|пер|б-р|бульвар|проезд)\b|\d", re.I)
_CITY: Final = re.compile(r"^(?:г\.?|город)\s+", re.IGNORECASE)


class Place(NamedTuple):
    """The place of an offer in the feed's own words; empty where the feed has none. ``building`` and ``section`` are
    unique within their parent only, ``house`` is a building's id that is unique in the feed."""

    city: str = ""
    project: str = ""
    project_name: str = ""
    house: str = ""
    building: str = ""
    building_name: str = ""
    section: str = ""
    address: str = ""
    floors: int | None = None
    lat: str = ""
    long: str = ""


class ParentIds(NamedTuple):
    """Ids of an offer's parents, None where it has none."""

    city: str | None
    project: str | None
    building: str | None
    section: str | None


def parent_ids(place: Place, prefix: str) -> ParentIds:
    """Returns the ids of the parents; each part of a composed id is escaped, so that no two pairs are alike. Raises
    InvalidInput for one that is no id."""
    if any(isinstance(text, str) and len(text) > MOST_TEXT for text in place):
        raise InvalidInput("location", f"texts of at most {MOST_TEXT} characters", "a longer one")
    city, project = compact(place.city), compact(place.project)
    building = _joined(place.house) or _joined(project, place.building)
    section = f"{building}/{_joined(place.section)}" if building and _joined(place.section) else ""

    def of(field: str, value: str) -> str | None:
        return ext_id(field, prefix + value) if value else None

    return ParentIds(of("city", city), of("project", project), of("building", building), of("section", section))


def city_of(address: str) -> str:
    """Returns the city in an address that begins with country, region or city; empty if there is none."""
    for part in address.split(","):
        part = compact(part)
        if _BROADER.search(part) or not part:
            continue
        return "" if _STREET.search(part) else _CITY.sub("", part)
    return ""


class Parents:
    """Collects the places of a file. A field on which offers differ is that of the offer with the lowest id, so that
    the order of offers changes nothing; of floors the highest number counts."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._known: dict[Place, tuple[ParentIds, str]] = {}

    def note(self, place: Place, offer: str) -> ParentIds:
        """Note the place of an offer. Returns the ids of its parents. Raises InvalidInput for one that is no id,
        BrokenFeed for too many places."""
        known = self._known.get(place)
        if known is None:
            if len(self._known) >= MOST_PLACES:
                raise BrokenFeed("buildings", f"at most {MOST_PLACES} different places", "more")
            known = parent_ids(place, self._prefix), offer
            self._known[place] = known
        elif offer < known[1]:
            self._known[place] = known[0], offer
        return known[0]

    def rows(self) -> list[City | Project | Building | Section]:
        """Returns the rows of all parents: cities, then projects, buildings, sections."""
        found: dict[type, dict[str, dict[str, Any]]] = {kind: {} for kind in (City, Project, Building, Section)}
        for place, (ids, _) in sorted(self._known.items(), key=lambda item: item[1][1]):
            for kind, key, values in _facts(place, ids):
                _merge(found[kind].setdefault(key, {}), values)
        return [kind(ext_id=key, **values) for kind, rows in found.items() for key, values in sorted(rows.items())]


def _joined(*parts: str) -> str:
    """Returns an id made of parts; none of them can end with what another begins with."""
    escaped = (compact(part).replace("%", "%25").replace("/", "%2F") for part in parts)
    return "/".join(part for part in escaped if part)


def _facts(place: Place, ids: ParentIds) -> list[tuple[type, str, dict[str, Any]]]:
    """Returns type, id and values of each parent that a place names."""
    project = compact(place.project_name or place.project)
    building = compact(place.building_name or place.building or place.project_name)
    values: list[tuple[type, str | None, dict[str, Any]]] = [
        (City, ids.city, {"name": compact(place.city)}),
        (Project, ids.project, {"name": project, "long": place.long, "lat": place.lat, "city_ext_id": ids.city}),
        (
            Building,
            ids.building,
            {
                "name": building,
                "address": compact(place.address),
                "number_of_floors": place.floors,
                "project_ext_id": ids.project,
            },
        ),
        (Section, ids.section, {"name": compact(place.section), "building_ext_id": ids.building}),
    ]
    return [(kind, key, facts) for kind, key, facts in values if key]


def _merge(known: dict[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is None or value == "":
            continue
        if name == "number_of_floors":
            known[name] = max(known.get(name, value), value)
        else:
            known.setdefault(name, value)
