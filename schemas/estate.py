"""Records of real estate from a developer's sales feed. Source of every field: docs/contracts/brusnika.md#types.

The feed's names and labels, misspellings included (``mortagePayment``, ``"mortage"``), stand here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from schemas.fields import ExtId, Float, Int, Label, Micros, Money, Text, Texts, WireName
from schemas.record import namespace

record = namespace("estate")


class PremiseType(Label):
    APARTMENT = "APARTMENT", "apartment"
    STOREROOM = "STOREROOM", "storeroom"
    PARKING = "PARKING", "parking"
    COMMERCIAL = "COMMERCIAL", "commercial"


class PremiseStatus(Label):
    FREE = "FREE", "free"
    TAKEN = "TAKEN", "taken"


class PurchaseOption(Label):
    MORTGAGE = "MORTGAGE", "mortage"
    INSTALLMENT = "INSTALLMENT", "installment"
    BILL = "BILL", "bill"
    FULL_PAYMENT = "FULL_PAYMENT", "full_payment"


class LeadState(Label):
    ACTIVE = "ACTIVE", "Активные"
    IN_PROGRESS = "IN_PROGRESS", "На паузе"
    FAILED = "FAILED", "Проиграна"
    COMPLETE = "COMPLETE", "Выиграна"


class LeadStatus(Label):
    OPEN = "OPEN", "открыта"
    INTEREST_IN_PURCHASING = "INTEREST_IN_PURCHASING", "интерес к покупке"
    PRESENTATION = "PRESENTATION", "презентация"
    BOOKED = "BOOKED", "бронь"
    REQUEST_FOR_CONTRACT = "REQUEST_FOR_CONTRACT", "заявка на договор"
    CONTRACT_IS_REGISTERED = "CONTRACT_IS_REGISTERED", "договор зарегистрирован"
    WON = "WON", "выиграна"
    BOOK_CANCELED = "BOOK_CANCELED", "отмененная бронь"
    LOST_BOOK = "LOST_BOOK", "слетевшая бронь"
    ON_PAUSE = "ON_PAUSE", "на паузе"
    CHECK_LEAD = "CHECK_LEAD", "проверка лида"
    FAILED = "FAILED", "проиграна"


@record("estate.city", key="ext_id", outside="city")
class City(NamedTuple):
    """A city in which the developer builds."""

    ext_id: ExtId
    update_id: Int | None = None
    name: Text | None = None
    long: Text | None = None
    lat: Text | None = None
    unset: Texts = ()


@record("estate.project", key="ext_id", outside="project")
class Project(NamedTuple):
    """A residential project of a city."""

    ext_id: ExtId
    update_id: Int | None = None
    name: Text | None = None
    detailed_description: Text | None = None
    brief_description: Text | None = None
    photo: Text | None = None
    price: Money | None = None
    location: Text | None = None
    long: Text | None = None
    lat: Text | None = None
    link: Text | None = None
    end_date: Micros | None = None
    city_ext_id: ExtId | None = None
    unset: Texts = ()


@record("estate.building", key="ext_id", outside="building")
class Building(NamedTuple):
    """A building of a project, with how much of it is still vacant."""

    ext_id: ExtId
    update_id: Int | None = None
    name: Text | None = None
    total_storage: Int | None = None
    total_vacant_storage: Int | None = None
    total_parking_space: Int | None = None
    total_vacant_parking_space: Int | None = None
    total_commercial: Int | None = None
    total_vacant_commercial: Int | None = None
    address: Text | None = None
    number_of_floors: Int | None = None
    project_ext_id: ExtId | None = None
    unset: Texts = ()


@record("estate.section", key="ext_id", outside="section")
class Section(NamedTuple):
    """A section (entrance) of a building."""

    ext_id: ExtId
    update_id: Int | None = None
    name: Text | None = None
    building_ext_id: ExtId | None = None
    unset: Texts = ()


@record("estate.premise", key="ext_id", outside="premise")
class Premise(NamedTuple):
    """A flat, storeroom, parking space or commercial room that is for sale."""

    ext_id: ExtId
    update_id: Int | None = None
    name: Text | None = None
    type: PremiseType | None = None
    building_ext_id: ExtId | None = None
    price: Money | None = None
    size: Float | None = None
    status: PremiseStatus | None = None
    purchase_option: Annotated[PurchaseOption, WireName("purchaseOption")] | None = None
    number: Int | None = None
    floor: Int | None = None
    photo: Text | None = None
    rooms: Int | None = None
    photos: Texts | None = None
    similar_apartment_count: Annotated[Int, WireName("similiarApartmentCount")] | None = None
    schema_ext_id: ExtId | None = None
    link: Text | None = None
    season_ext_id: ExtId | None = None
    mortgage_payment: Annotated[Money, WireName("mortagePayment")] | None = None
    section_ext_id: ExtId | None = None
    is_sold: bool | None = None
    unset: Texts = ()


@record("estate.lead", key="ext_id", outside="lead")
class Lead(NamedTuple):
    """A purchase case. Only the developer opens one."""

    ext_id: ExtId
    update_id: Int | None = None
    client_ext_id: ExtId | None = None
    agent_ext_id: ExtId | None = None
    manager_ext_id: ExtId | None = None
    project_ext_id: ExtId | None = None
    premise_ext_id: ExtId | None = None
    fee: Money | None = None
    lead_number: Int | None = None
    state: LeadState | None = None
    unset: Texts = ()


@record("estate.lead", key="lead_ext_id", outside="lead_op", if_unknown="wait")
class LeadOp(NamedTuple):
    """A change of a lead's status. Kept beside `Lead.state`: the seed leaves open which follows from which."""

    lead_ext_id: ExtId
    update_id: Int | None = None
    op_ext_id: Annotated[ExtId, WireName("ext_id")] | None = None
    status: LeadStatus | None = None
    unset: Texts = ()
