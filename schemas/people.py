"""Records of agencies, users and clients of the developer. Source of every field: docs/contracts/brusnika.md#types.

A user's ``password`` is no field: it is accepted on the wire and goes nowhere.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from schemas.bookings import BRUSNIKA, Private, Source, SourceUpdateId
from schemas.fields import DateText, ExtId, Int, Label, Micros, Personal, Text, Texts, WholeAsText, WireName
from schemas.record import namespace

record = namespace("estate")

Digits = Annotated[Text, WholeAsText()]
"""A text of digits that a sender may write as a number."""
Phone = Annotated[Digits, Personal()]


class Role(Label):
    ADMIN = "ADMIN", "ADMIN"
    AGENT = "AGENT", "AGENT"
    MANAGER = "MANAGER", "MANAGER"
    NEW_MEMBER = "NEW_MEMBER", "NEW_MEMBER"
    HEAD_OF_AGENCY = "HEAD_OF_AGENCY", "HEAD_OF_AGENCY"
    OZK_MANAGER = "OZK_MANAGER", "OZK_MANAGER"
    AFFILIATE_MANAGER = "AFFILIATE_MANAGER", "AFFILIATE_MANAGER"
    OPERATOR = "OPERATOR", "OPERATOR"


class UserStatus(Label):
    ACTIVE = "ACTIVE", "active"
    BLOCKED = "BLOCKED", "blocked"


class RegisterStatus(Label):
    """The step of a user's registration."""

    CREATED = "CREATED", "created"
    FILL_DATA = "FILL_DATA", "fill_data"
    ATTACHMENT = "ATTACHMENT", "attachment"
    FINISHED = "FINISHED", "finished"


class ConfirmationType(Label):
    PHONE = "PHONE", "звонок"
    SMS = "SMS", "смс"


class FixingType(Label):
    """The firmness of the tie between a client and its agent."""

    LEAD_VERIFICATION = "LEAD_VERIFICATION", "проверка лида"
    CANCEL_FIXING = "CANCEL_FIXING", "отказ в закреплении"
    WEAK_FIXING = "WEAK_FIXING", "слабое закрепление"
    STRONG_FIXING = "STRONG_FIXING", "сильное закрепление"


@record("estate.agency", key="ext_id", outside="agency")
class Agency(NamedTuple):
    """An estate agency that brings clients."""

    ext_id: ExtId
    update_id: Int | None = None
    city_ext_id: ExtId | None = None
    user_ext_id: ExtId | None = None
    title: Text | None = None
    legal_name: Annotated[Text, WireName("legalName")] | None = None
    inn: Digits | None = None
    """Taxpayer number; leading zeros count."""
    phone: Phone | None = None
    email: Private | None = None
    owner_full_name: Annotated[Private, WireName("ownerFullName")] | None = None
    owner_phone: Annotated[Phone, WireName("ownerPhone")] | None = None
    entry_doc: Private | None = None
    """Address of a file, as all documents."""
    company_card_doc: Private | None = None
    tax_registration_doc: Private | None = None
    authority_signatory_doc: Private | None = None
    unset: Texts = ()


@record("estate.user.commands", key="ext_id", outside="user")
class ReportUser(NamedTuple):
    """Report an agent or a member of the developer's staff."""

    ext_id: ExtId
    source: Source = BRUSNIKA
    source_update_id: SourceUpdateId | None = None
    first_name: Annotated[Private, WireName("firstName")] | None = None
    last_name: Annotated[Private, WireName("lastName")] | None = None
    full_name: Annotated[Private, WireName("fullName")] | None = None
    role: Role | None = None
    temporary_role: Role | None = None
    """The role that is asked for."""
    email: Private | None = None
    username: Private | None = None
    phone: Phone | None = None
    birth_date: Annotated[DateText, WireName("birthDate"), Personal()] | None = None
    work_start_date: Annotated[DateText, WireName("workStartDate")] | None = None
    avatar: Private | None = None
    status: UserStatus | None = None
    register_status: RegisterStatus | None = None
    is_verified: bool | None = None
    is_phone_verified: bool | None = None
    is_email_verified: bool | None = None
    city_ext_id: Annotated[ExtId, WireName("city_id", ("city_ext_id",))] | None = None
    agency_ext_id: Annotated[ExtId, WireName("agency_id", ("agency_ext_id",))] | None = None
    unset: Texts = ()


@record("estate.user", key="ext_id")
class UserReported(NamedTuple):
    """An agent, or a member of the developer's staff. Decided: a report is taken over."""

    ext_id: ExtId
    update_id: Int | None = None
    source_updates: Text | None = None
    """The highest number of each source."""
    first_name: Private | None = None
    last_name: Private | None = None
    full_name: Private | None = None
    role: Role | None = None
    temporary_role: Role | None = None
    email: Private | None = None
    username: Private | None = None
    phone: Phone | None = None
    birth_date: Annotated[DateText, Personal()] | None = None
    work_start_date: DateText | None = None
    avatar: Private | None = None
    status: UserStatus | None = None
    register_status: RegisterStatus | None = None
    is_verified: bool | None = None
    is_phone_verified: bool | None = None
    is_email_verified: bool | None = None
    city_ext_id: ExtId | None = None
    agency_ext_id: ExtId | None = None
    unset: Texts = ()


@record("estate.client.commands", key="ext_id", outside="client")
class ReportClient(NamedTuple):
    """Report a client of an agent."""

    ext_id: ExtId
    source: Source = BRUSNIKA
    source_update_id: SourceUpdateId | None = None
    fullname: Private | None = None
    phone_number: Phone | None = None
    email: Private | None = None
    activated_date: Annotated[Micros, WireName("actived_date")] | None = None
    comment: Private | None = None
    confirmation_type: ConfirmationType | None = None
    fixing_type: FixingType | None = None
    expiration_date: Micros | None = None
    """End of the fixing."""
    note: Annotated[Private, WireName("node", ("note",))] | None = None
    agent_ext_id: ExtId | None = None
    unset: Texts = ()


@record("estate.client", key="ext_id")
class ClientReported(NamedTuple):
    """A client of an agent. Decided: a report is taken over."""

    ext_id: ExtId
    update_id: Int | None = None
    source_updates: Text | None = None
    """The highest number of each source."""
    fullname: Private | None = None
    phone_number: Phone | None = None
    email: Private | None = None
    activated_date: Micros | None = None
    comment: Private | None = None
    confirmation_type: ConfirmationType | None = None
    fixing_type: FixingType | None = None
    expiration_date: Micros | None = None
    note: Private | None = None
    agent_ext_id: ExtId | None = None
    unset: Texts = ()


@record("estate.client.commands", key="client_ext_id", outside="client_fixing")
class ReportFixing(NamedTuple):
    """Report a change of a client's fixing."""

    client_ext_id: ExtId
    source: Source = BRUSNIKA
    source_update_id: SourceUpdateId | None = None
    fixing_ext_id: Annotated[ExtId, WireName("ext_id")] | None = None
    """Names the change itself."""
    fixing_type: FixingType | None = None
    unset: Texts = ()


@record("estate.client", key="client_ext_id", if_unknown="wait")
class FixingReported(NamedTuple):
    """Decided: a report is taken over. It may come before its client, for which it waits."""

    client_ext_id: ExtId
    update_id: Int | None = None
    source_updates: Text | None = None
    """The highest number of each source."""
    fixing_ext_id: ExtId | None = None
    fixing_type: FixingType | None = None
    unset: Texts = ()
