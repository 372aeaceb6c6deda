"""Records of intercoms from the operator RosDomofon: abonents, accounts, flats, services and messages
(docs/contracts/rosdomofon.md).

Ids are the operator's own, as text. Phones stand in the form 79131234567. An address is flattened: a record of a flat
or a sign-up holds its parts as fields.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from schemas.fields import ExtId, Int, Label, Micros, Money, Personal, Text, Texts
from schemas.record import namespace

record = namespace("domofon")

Private = Annotated[Text, Personal()]


class Direction(Label):
    """Direction of a message, seen from the company."""

    IN = "IN", "in"
    OUT = "OUT", "out"


class Origin(Label):
    """System in which a message was written: a message is never sent back to its origin."""

    OPERATOR = "OPERATOR", "operator"
    PORTAL = "PORTAL", "portal"


class SignUpStatus(Label):
    UNPROCESSED = "UNPROCESSED", "unprocessed"
    PROCESSED = "PROCESSED", "processed"
    CONNECTED = "CONNECTED", "connected"
    DELEGATED = "DELEGATED", "delegated"
    REJECTED = "REJECTED", "rejected"


@record("domofon.abonent", key="ext_id")
class Abonent(NamedTuple):
    """Somebody with the operator's app."""

    ext_id: ExtId
    phone: Private | None = None
    resolved: bool | None = None
    company: Text | None = None
    """Short name of the company whose topic named the abonent last."""
    company_id: Int | None = None
    seen_at: Micros | None = None
    unset: Texts = ()


@record("domofon.account", key="ext_id")
class Account(NamedTuple):
    """A personal account; blocked and unblocked by its ``number``."""

    ext_id: ExtId
    number: Text | None = None
    abonent_ext_id: Text | None = None
    """Id of the account's owner."""
    abonent_phone: Private | None = None
    abonent_resolved: bool | None = None
    company_id: Int | None = None
    company: Text | None = None
    """``company.shortName``, the end of its topics' names."""
    company_name: Text | None = None
    licensee: Text | None = None
    blocked: bool | None = None
    block_reason: Text | None = None
    billing_available: bool | None = None
    recurring_enabled: bool | None = None
    terms_of_use_link: Text | None = None
    balance: Money | None = None
    balance_at: Micros | None = None
    currency: Text | None = None
    payment_available: bool | None = None
    recommended_payment_at: Micros | None = None
    recommended_payment: Money | None = None
    show_banner: bool | None = None
    invoice_amount: Money | None = None
    invoice_currency: Text | None = None
    invoice_begin: Text | None = None
    invoice_reminder: bool | None = None
    invoice_uid: Text | None = None
    recurring_status: Text | None = None
    """NEW, PENDING, SUCCESS or FAILED."""
    paid_until: Text | None = None
    unset: Texts = ()


@record("domofon.flat", key="ext_id")
class Flat(NamedTuple):
    """A flat of an entrance."""

    ext_id: ExtId
    account_ext_id: Text | None = None
    abonent_ext_id: Text | None = None
    abonent_phone: Private | None = None
    virtual: bool | None = None
    blocked: bool | None = None
    address: Private | None = None
    """The address in one line, for people."""
    country: Text | None = None
    country_name: Text | None = None
    city: Text | None = None
    street_id: Int | None = None
    street: Text | None = None
    street_fias: Text | None = None
    street_kladr: Text | None = None
    street_code: Text | None = None
    """``universalCode``, used in other countries than Russia."""
    house_id: Int | None = None
    house: Text | None = None
    block: Text | None = None
    building: Text | None = None
    housing: Text | None = None
    entrance_ext_id: Text | None = None
    entrance: Text | None = None
    entrance_first_flat: Int | None = None
    entrance_last_flat: Int | None = None
    entrance_more_flats: Texts | None = None
    """Further ranges, as ``37-40``."""
    flat: Annotated[Int, Personal()] | None = None
    unset: Texts = ()


@record("domofon.service", key="ext_id")
class Service(NamedTuple):
    """What can be connected: the house's chat, cameras, the intercom in the phone."""

    ext_id: ExtId
    name: Text | None = None
    type: Text | None = None
    custom_name: Text | None = None
    company_id: Int | None = None
    created_at: Micros | None = None
    delegation_limit: Int | None = None
    unset: Texts = ()


@record("domofon.connection", key="ext_id")
class Connection(NamedTuple):
    """A service that is connected to a flat."""

    ext_id: ExtId
    account_ext_id: Text | None = None
    flat_ext_id: Text | None = None
    service_ext_id: Text | None = None
    service_type: Text | None = None
    blocked: bool | None = None
    currency: Text | None = None
    tariff: Money | None = None
    delegation_limit: Int | None = None
    unset: Texts = ()


@record("domofon.message", key="ext_id", grouped=lambda key: key.partition(b"/")[0])
class Message(NamedTuple):
    """One thing that an abonent or the company said.

    ``ext_id`` is ``<abonent>/<where it was said>``: its place on Kafka, its id at the operator, its comment in the
    portal. Messages of one abonent share a partition, and so keep their order.
    """

    ext_id: ExtId
    direction: Direction | None = None
    origin: Origin | None = None
    company: Text | None = None
    abonent_ext_id: Text | None = None
    abonent_phone: Private | None = None
    channel: Text | None = None
    text: Private | None = None
    delivery_method: Text | None = None
    source_topic: Text | None = None
    source_partition: Int | None = None
    source_offset: Int | None = None
    operator_message_id: Int | None = None
    """Id in the operator's history; records on its Kafka have none."""
    said_at: Micros | None = None
    broadcast: bool | None = None
    wait_response: bool | None = None
    chat_id: Text | None = None
    message_code: Text | None = None
    push_key: Text | None = None
    """``localizedPush.messageKey``: key of a text in the app."""
    push_args: Private | None = None
    """Arguments of that text, as JSON."""
    sms_text: Private | None = None
    image_url: Text | None = None
    extra: Private | None = None
    """All other fields, known or not, as a JSON object."""
    unset: Texts = ()


@record("domofon.sign-up", key="ext_id")
class SignUp(NamedTuple):
    """Somebody wants to be connected."""

    ext_id: ExtId
    company: Text | None = None
    """Short name of the company from the topic's name; none on the topic of all companies."""
    abonent_ext_id: Text | None = None
    abonent_phone: Private | None = None
    address: Private | None = None
    """The address in one line, for people."""
    country: Text | None = None
    country_name: Text | None = None
    city: Text | None = None
    street_id: Int | None = None
    street: Text | None = None
    street_fias: Text | None = None
    street_kladr: Text | None = None
    street_code: Text | None = None
    house_id: Int | None = None
    house: Text | None = None
    block: Text | None = None
    building: Text | None = None
    housing: Text | None = None
    entrance_ext_id: Text | None = None
    entrance: Text | None = None
    flat: Annotated[Int, Personal()] | None = None
    application_id: Int | None = None
    application: Text | None = None
    application_provider: Text | None = None
    application_company_id: Int | None = None
    virtual: bool | None = None
    time_zone: Text | None = None
    offer_signed: bool | None = None
    contract_number: Text | None = None
    status: SignUpStatus | None = None
    rejected_reason: Text | None = None
    created_at: Micros | None = None
    uid: Text | None = None
    source_topic: Text | None = None
    source_partition: Int | None = None
    source_offset: Int | None = None
    extra: Private | None = None
    """Unknown fields, as a JSON object."""
    unset: Texts = ()


@record("domofon.sign-up", key="ext_id", if_unknown="ignore")
class SignUpMoved(NamedTuple):
    """The operator has taken over the status that a person gave the sign-up's lead in the portal."""

    ext_id: ExtId
    status: SignUpStatus | None = None
    unset: Texts = ()
    moved_from: SignUpStatus | None = None
    """The status before the move; if the sign-up has another one by then, the record is outdated."""
