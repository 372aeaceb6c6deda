"""The developer behind the twin: a company that builds, prices and sells for ever, the same for the same seed.

Coherent: a child names an earlier parent, a lead's statuses follow a path that a sale can take, and the premise changes
with them (taken, free again, sold). It remembers only what is still for sale or being
sold, so it needs no more memory after a million changes than after a thousand.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from adapters.brusnika.twin.catalog import CITIES, END_DATES, PATHS, PROJECTS, STREETS
from schemas.estate import (
    Building,
    City,
    Lead,
    LeadOp,
    LeadState,
    LeadStatus,
    Premise,
    PremiseStatus,
    PremiseType,
    Project,
    PurchaseOption,
    Section,
)

Row = tuple[Any, ...]

REMEMBERED: Final = {"project": 6, "building": 8, "section": 16, "premise": 400, "lead": 120}
"""Things of each kind that are remembered; the oldest are finished and never change again."""

S = LeadStatus


@dataclass(frozen=True)
class _Offer:
    """A premise for sale, and the project that it belongs to."""

    price: Decimal
    project: str


@dataclass
class _Sale:
    """A lead under way."""

    lead: str
    premise: str
    project: str
    status: LeadStatus = LeadStatus.OPEN


class Developer:
    """The company, an iterator of its changes as rows of `schemas.estate` without ``update_id``; it never ends."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"developer/{seed}")
        self._counts: dict[str, int] = {}
        self._kept: dict[str, list[str]] = {kind: [] for kind in REMEMBERED}
        self._free: dict[str, _Offer] = {}
        self._projects: dict[str, str] = {}  # of a building
        self._buildings: dict[str, str] = {}  # of a section
        self._sales: list[_Sale] = []

    def __iter__(self) -> Iterator[Row]:
        yield from self._found()
        deeds = (
            (self._advance, 66),
            (self._open_lead, 14),
            (self._reprice, 10),
            (self._build_premise, 10),
            (self._amend, 3),
            (self._build_section, 2),
            (self._build_building, 1),
            (self._build_project, 1),
        )
        acts, weights = [act for act, _ in deeds], [weight for _, weight in deeds]
        while True:
            yield from self._random.choices(acts, weights)[0]()

    def _found(self) -> Iterator[Row]:
        """Returns the first changes: enough of everything, within the first hundred, for sales to start."""
        for act, times in (
            (self._build_city, 2),
            (self._build_project, 2),
            (self._build_building, 2),
            (self._build_section, 2),
            (self._build_premise, 24),
            (self._open_lead, 6),
        ):
            for _ in range(times):
                yield from act()

    def _new(self, kind: str) -> str:
        """Returns the next ext_id of a kind, remembered for later."""
        self._counts[kind] = self._counts.get(kind, 0) + 1
        ext_id = f"{kind}-{self._counts[kind]}"
        if kind in REMEMBERED:
            self._kept[kind].append(ext_id)
            if len(self._kept[kind]) > REMEMBERED[kind]:
                oldest = self._kept[kind].pop(0)
                for memory in (self._free, self._buildings):
                    memory.pop(oldest, None)
        return ext_id

    def _build_city(self) -> Iterator[Row]:
        name, long, lat = CITIES[self._counts.get("city", 0)]
        yield City(self._new("city"), name=name, long=long, lat=lat)

    def _build_project(self) -> Iterator[Row]:
        if self._counts["city"] < len(CITIES) and self._counts.get("project", 0) >= 2 * self._counts["city"]:
            yield from self._build_city()
        pick = self._random
        city = pick.randint(1, self._counts["city"])
        ext_id, name = self._new("project"), pick.choice(PROJECTS)
        yield Project(
            ext_id,
            name=f"{name}, {pick.randint(1, 9)}-я очередь",
            brief_description=f"Жилой квартал «{name}»",
            detailed_description=f"Жилой квартал «{name}»: дворы без машин, школа и парк рядом. " * pick.randint(1, 4),
            photo=f"https://media.example/{ext_id}.jpg",
            price=self._money(4_000_000, 12_000_000),
            location=f"г. {CITIES[city - 1][0]}, {pick.choice(STREETS)}",
            long=CITIES[city - 1][1],
            lat=CITIES[city - 1][2],
            link=f"https://estate.example/{ext_id}",
            end_date=pick.choice(END_DATES),
            city_ext_id=f"city-{city}",
        )

    def _build_building(self) -> Iterator[Row]:
        pick = self._random
        ext_id, project = self._new("building"), pick.choice(self._kept["project"])
        self._projects[ext_id] = project
        storage, parking, commercial = pick.randint(20, 90), pick.randint(30, 200), pick.randint(0, 12)
        yield Building(
            ext_id,
            name=f"Дом {pick.randint(1, 40)}",
            total_storage=storage,
            total_vacant_storage=pick.randint(0, storage),
            total_parking_space=parking,
            total_vacant_parking_space=pick.randint(0, parking),
            total_commercial=commercial,
            total_vacant_commercial=pick.randint(0, commercial),
            address=f"{pick.choice(STREETS)}, {pick.randint(1, 120)}",
            number_of_floors=pick.randint(5, 32),
            project_ext_id=project,
        )

    def _build_section(self) -> Iterator[Row]:
        building = self._random.choice(self._kept["building"])
        ext_id = self._new("section")
        self._buildings[ext_id] = building
        yield Section(ext_id, name=f"Секция {self._random.randint(1, 12)}", building_ext_id=building)

    def _build_premise(self) -> Iterator[Row]:
        pick = self._random
        section, building = pick.choice(list(self._buildings.items()))
        kind = pick.choices(list(PremiseType), (80, 8, 9, 3))[0]
        ext_id, price = self._new("premise"), self._money(900_000, 15_000_000)
        self._free[ext_id] = _Offer(price, self._projects[building])
        flat = kind == PremiseType.APARTMENT
        yield Premise(
            ext_id,
            name={"APARTMENT": "Квартира", "STOREROOM": "Кладовая", "PARKING": "Машино-место"}.get(kind, "Помещение"),
            type=kind,
            building_ext_id=building,
            price=price,
            size=round(pick.uniform(24, 110) if flat else pick.uniform(3, 20), 1),
            status=PremiseStatus.FREE,
            purchase_option=pick.choice(list(PurchaseOption)),
            number=(number := pick.randint(1, 400)),
            floor=pick.randint(1, 25) if flat else pick.randint(-2, 1),
            photo=f"https://media.example/{ext_id}.jpg",
            rooms=pick.randint(1, 4) if flat else None,
            photos=tuple(f"https://media.example/{ext_id}-{n}.jpg" for n in range(pick.randint(0, 3))) or None,
            similar_apartment_count=pick.randint(0, 30) if flat else None,
            schema_ext_id=f"schema-{pick.randint(1, 60)}",
            link=f"https://estate.example/{ext_id}",
            season_ext_id=f"season-{pick.randint(1, 4)}",
            mortgage_payment=(price / 240).quantize(Decimal("0.01")),
            section_ext_id=section,
            is_sold=False,
            number_text=str(number),
        )

    def _open_lead(self) -> Iterator[Row]:
        if not self._free:
            yield from self._build_premise()
        pick = self._random
        premise, offer = pick.choice(list(self._free.items()))
        ext_id = self._new("lead")
        self._sales.append(_Sale(ext_id, premise, offer.project))
        if len(self._sales) > REMEMBERED["lead"]:
            yield from self._close(self._sales.pop(0), LeadStatus.FAILED)
        yield Lead(
            ext_id,
            client_ext_id=f"client-{pick.randint(1, 5_000)}",
            agent_ext_id=f"agent-{pick.randint(1, 300)}",
            manager_ext_id=f"manager-{pick.randint(1, 40)}",
            project_ext_id=offer.project,
            premise_ext_id=premise,
            fee=(offer.price / 50).quantize(Decimal("0.01")),
            lead_number=self._counts["lead"],
            lead_number_text=str(self._counts["lead"]),
            state=LeadState.ACTIVE,
        )
        yield self._said(ext_id, LeadStatus.OPEN)

    def _advance(self) -> Iterator[Row]:
        """Returns the changes of one sale's next step."""
        if not self._sales:
            yield from self._open_lead()
            return
        # Of the oldest ones rather, so that sales come to an end.
        place = min(self._random.randrange(len(self._sales)) for _ in range(2))
        sale = self._sales[place]
        nexts, weights = zip(*PATHS[sale.status], strict=True)
        status: LeadStatus = self._random.choices(nexts, weights)[0]
        if status == S.BOOKED and sale.premise not in self._free:
            status = S.FAILED  # another was faster
        if status in (S.WON, S.FAILED):
            del self._sales[place]
            yield from self._close(sale, status)
            return
        was, sale.status = sale.status, status
        yield self._said(sale.lead, status)
        if S.ON_PAUSE in (was, status):
            yield Lead(sale.lead, state=LeadState.IN_PROGRESS if status == S.ON_PAUSE else LeadState.ACTIVE)
        elif status == S.BOOKED:
            self._free.pop(sale.premise)
            yield Premise(sale.premise, status=PremiseStatus.TAKEN)
        elif status in (S.BOOK_CANCELED, S.LOST_BOOK):
            yield from self._release(sale)

    def _close(self, sale: _Sale, status: LeadStatus) -> Iterator[Row]:
        yield self._said(sale.lead, status)
        if status == S.WON:
            yield Premise(sale.premise, status=PremiseStatus.TAKEN, is_sold=True)
            yield Lead(sale.lead, state=LeadState.COMPLETE)
            return
        yield Lead(sale.lead, state=LeadState.FAILED)
        if sale.status in (S.BOOKED, S.REQUEST_FOR_CONTRACT, S.CONTRACT_IS_REGISTERED):
            yield from self._release(sale)

    def _release(self, sale: _Sale) -> Iterator[Row]:
        """Returns the changes of a booked premise that is for sale again, at a new price."""
        offer = _Offer(self._money(900_000, 15_000_000), sale.project)
        if sale.premise in self._kept["premise"]:
            self._free[sale.premise] = offer
        yield Premise(sale.premise, status=PremiseStatus.FREE, price=offer.price)

    def _reprice(self) -> Iterator[Row]:
        if self._free:
            premise, offer = self._random.choice(list(self._free.items()))
            price = (offer.price * Decimal("1.02")).quantize(Decimal("1"))
            self._free[premise] = _Offer(price, offer.project)
            yield Premise(premise, price=price)

    def _amend(self) -> Iterator[Row]:
        """Returns a change that clears a field: an explicit null in the feed, ``unset`` in our row."""
        if self._sales and self._random.random() < 0.5:
            yield Lead(self._random.choice(self._sales).lead, unset=("agent_ext_id",))
        else:
            yield Project(self._random.choice(self._kept["project"]), unset=("photo", "link"))

    def _said(self, lead: str, status: LeadStatus) -> LeadOp:
        return LeadOp(lead, op_ext_id=self._new("op"), status=status)

    def _money(self, least: int, most: int) -> Decimal:
        return Decimal(self._random.randrange(least, most, 1_000))
