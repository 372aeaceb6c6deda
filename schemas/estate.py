"""Records of real estate from a developer's sales feed. Source of every field: docs/contracts/brusnika.md#types.

The feed's names and labels, misspellings included (``mortagePayment``, ``"mortage"``), stand here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from schemas.fields import (
    EachOf,
    ExtId,
    Float,
    IfNumber,
    Int,
    Internal,
    Label,
    Micros,
    Money,
    NumberText,
    Personal,
    Text,
    Texts,
    WireName,
)
from schemas.record import namespace

record = namespace("estate")

Private = Annotated[Text, Personal()]


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
    ACTIVE = "ACTIVE", "Активные", "Открыта"
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
    description: Text | None = None
    company_link: Text | None = None
    building_link: Text | None = None
    project_link: Text | None = None


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
    total_apartment: Int | None = None
    total_vacant_apartment: Int | None = None
    photos: Texts | None = None


@record("estate.section", key="ext_id", outside="section")
class Section(NamedTuple):
    """A section (entrance) of a building."""

    ext_id: ExtId
    update_id: Int | None = None
    name: Text | None = None
    building_ext_id: ExtId | None = None
    unset: Texts = ()
    number_of_floors: Int | None = None


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
    purchase_option: Annotated[PurchaseOption, WireName("purchaseOption", ("purchase_option",))] | None = None
    number: Annotated[Int, IfNumber()] | None = None
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
    number_text: Annotated[Text, WireName("number"), NumberText()] | None = None
    """The number as it came, such as "12А"; `number` has it too if it is one."""
    purchase_options: (
        Annotated[Texts, WireName("purchase_option", ("purchaseOption",)), EachOf(PurchaseOption)] | None
    ) = None
    """All ways to pay; `purchase_option` is the one of a source that names one."""
    features: Annotated[Texts, WireName("feature")] | None = None
    """Label such as ``sign_balcony``, as they came."""
    feature_new: Text | None = None
    year: Int | None = None
    """Year of completion, with `quarter`."""
    quarter: Int | None = None
    sun_noon_angle: Float | None = None
    """Degrees."""
    gone_since: Annotated[Micros, Internal()] | None = None
    """Time since which a feed that listed the premise lists it no more."""


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
    lead_number: Annotated[Int, IfNumber()] | None = None
    state: LeadState | None = None
    unset: Texts = ()
    lead_number_text: Annotated[Text, WireName("lead_number"), NumberText()] | None = None
    """The number as it came; `lead_number` has it too if it is one."""
    status: Annotated[LeadStatus, WireName("current_status")] | None = None
    """The status of the newest operation (`LeadOp`), which some sources name with the lead."""
    comment: Private | None = None
    start_date: Micros | None = None


@record("estate.lead", key="lead_ext_id", outside="lead_op", if_unknown="wait")
class LeadOp(NamedTuple):
    """A change of a lead's status. Kept beside `Lead.state`: the seed leaves open which follows from which."""

    lead_ext_id: ExtId
    update_id: Int | None = None
    op_ext_id: Annotated[ExtId, WireName("ext_id")] | None = None
    status: LeadStatus | None = None
    unset: Texts = ()
    op_created_at: Annotated[Micros, WireName("created_at")] | None = None


class TaskType(Label):
    FIRST_SHOWING = "FIRST_SHOWING", "первичный показ"
    REPEATED_SHOWING = "REPEATED_SHOWING", "повторный показ"
    CALL = "CALL", "звонок клиенту"
    OTHER = "OTHER", "иное"


class TaskStatus(Label):
    CREATED = "CREATED", "Создана"
    IN_WORK = "IN_WORK", "В работе"
    FINISHED = "FINISHED", "Завершена"
    CANCELED = "CANCELED", "Отменена"


@record("estate.task", key="ext_id", outside="task")
class Task(NamedTuple):
    """Work that a manager has with a lead or a client."""

    ext_id: ExtId
    update_id: Int | None = None
    comment: Private | None = None
    task_type: TaskType | None = None
    status: TaskStatus | None = None
    client_ext_id: ExtId | None = None
    project_ext_id: ExtId | None = None
    manager_ext_id: ExtId | None = None
    created_by_ext_id: ExtId | None = None
    lead_ext_id: ExtId | None = None
    start_date: Micros | None = None
    end_date: Micros | None = None
    unset: Texts = ()
