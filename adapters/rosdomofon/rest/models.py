"""Models of the requests and answers of the operator's REST (docs/contracts/rosdomofon.md#rest). Names are snake_case
here and camelCase on the wire."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints

from adapters.rosdomofon.address import Address
from adapters.rosdomofon.rest.pages import Page
from adapters.rosdomofon.wire import AnyPhone, MaybePhone, Millis, Moment, Phone, Request, Someone, Wire
from schemas.fields import Float, Int, Text

AccountNumber = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]
Identity = Annotated[Int, Field(ge=0)]


class AuthResponse(Wire):
    """A token of ``oauth/token``; these names are snake_case on the wire too."""

    access_token: SecretStr = Field(alias="access_token", min_length=1)
    token_type: Text = Field(default="bearer", alias="token_type")
    expires_in: Int | None = Field(default=None, alias="expires_in")
    scope: Text | None = None


class Owner(Wire):
    """The owner of an account or a flat, an abonent."""

    id: Identity
    phone: AnyPhone = None
    resolved: bool | None = None


class Company(Wire):
    """A company of the operator; ``short_name`` (``SK_SB``) also ends the names of its Kafka topics."""

    id: Identity
    name: Text | None = None
    short_name: Text | None = None
    licensee_short: Text | None = None
    payment_link: Text | None = None
    personal_account_link: Text | None = None
    support_chat_enabled: bool | None = None
    support_phone: Text | None = None


class DelegationTunings(Wire):
    """Limit for sharing a service with other users."""

    limit: Int | None = None


class Service(Wire):
    """A service for flats; ``type`` is ``HouseChat``, ``VideoSurveillance``, ``SoftwareIntercom`` or another."""

    id: Identity
    name: Text | None = None
    type: Text | None = None
    custom_name: Text | None = None
    company_id: Int | None = None
    created_at: Moment | None = None
    delegation_tunings: DelegationTunings | None = None


class Balance(Wire):
    """The balance of an account, in ``currency``."""

    account_id: Int | None = None
    balance: Float | None = None
    balance_date: Millis | None = None
    currency: Text | None = None
    is_payment_available: bool | None = None
    recommended_payment_date: Moment | None = None
    recommended_payment_sum: Float | None = None
    show_banner: bool | None = None


class Invoice(Wire):
    """An invoice of an account; ``amount`` in ``currency``."""

    amount: Float | None = None
    currency: Text | None = None
    date_begin: Text | None = None
    reminder_needed: bool | None = None
    uid: Text | None = None


class RecurringPayment(Wire):
    """The recurring payment of an account; ``status`` is NEW, PENDING, SUCCESS or FAILED."""

    status: Text | None = None


class Flat(Wire):
    """A flat of an account."""

    id: Identity
    account_id: Int | None = None
    address: Address | None = None
    owner: Owner | None = None
    virtual: bool | None = None
    blocked: bool | None = None


class Connection(Wire):
    """A service connected to a flat; ``tariff`` in ``currency``."""

    id: Identity
    account: Account | None = None
    blocked: bool | None = None
    currency: Text | None = None
    delegation_tunings: DelegationTunings | None = None
    flat: Flat | None = None
    service: Service | None = None
    tariff: Float | None = None


class Account(Wire):
    """An account; the last five fields come only in the answer for one account, not in lists."""

    id: Identity
    number: Text | None = None
    billing_available: bool | None = None
    terms_of_use_link: Text | None = None
    block_reason: Text | None = None
    blocked: bool | None = None
    is_company_recurring_enabled: bool | None = None
    owner: Owner | None = None
    company: Company | None = None
    balance: Balance | None = None
    connections: list[Connection] | None = None
    invoice: Invoice | None = None
    recurring_payment: RecurringPayment | None = None
    paid_until: Text | None = None


class CreateAccountRequest(Request):
    """Body of ``POST /accounts``."""

    number: AccountNumber
    phone: Phone


class CreateAccountResponse(Wire):
    """Answer to ``POST /accounts``."""

    id: Identity
    owner: Owner | None = None


class CreateFlatRequest(Request):
    """Body of ``POST /flats``."""

    abonent_id: Identity | None = None
    entrance_id: Annotated[
        str, BeforeValidator(lambda v: str(v) if type(v) is int else v), StringConstraints(pattern=r"^[0-9]{1,19}$")
    ]
    """Text on the wire, unlike all other ids."""
    flat_number: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    virtual: bool = False


class CreateFlatResponse(Wire):
    """Answer to ``POST /flats``."""

    id: Identity
    address: Address | None = None
    owner: Owner | None = None
    virtual: bool | None = None


class Entrance(Wire):
    """An entrance of a house with its services."""

    id: Identity
    address_string: Text | None = None
    services: list[Service] | None = Field(default_factory=list)


class CreateConnectionRequest(Request):
    """Body of ``POST /services/{id}/connections``."""

    flat_id: Identity
    account_id: Identity | None = None


class CreateConnectionResponse(Wire):
    """Answer to ``POST /services/{id}/connections``."""

    id: Identity


class Channel(StrEnum):
    """Channels of messages."""

    SUPPORT = "support"
    NOTIFICATION = "notification"


class AbonentInfo(Wire):
    """An addressee of a message. ``phone``: None if unknown, which is 0 on the wire."""

    id: Identity
    phone: MaybePhone = None


class Named(AbonentInfo):
    """The abonent of a message in an answer, with a phone of any country."""

    phone: Someone = None


class SendMessageRequest(Request):
    """Body of ``POST /messages``."""

    to_abonents: list[AbonentInfo] = Field(min_length=1)
    channel: Channel = Channel.SUPPORT
    message: Annotated[Text, StringConstraints(min_length=1)]
    delivery_method: Text = "push"
    """Lower case in REST, upper case on Kafka (docs/contracts/rosdomofon.md#messages)."""
    broadcast: bool = False


class SendResult(Wire):
    """The result of a message for one abonent; ``success`` may be False in an answer of 200."""

    id: Identity
    success: bool
    result: Text | None = None


class Message(Wire):
    """A message of an abonent's history; ``incoming``: from the abonent to the company."""

    id: Identity
    abonent: Named | None = None
    channel: Text | None = None
    incoming: bool | None = None
    message: Text | None = None
    message_date: Moment | None = None


MessagesResponse = Page[Message]


class SignUpStatus(StrEnum):
    """Statuses of a sign-up, lower case in REST."""

    UNPROCESSED = "unprocessed"
    PROCESSED = "processed"
    CONNECTED = "connected"
    DELEGATED = "delegated"
    REJECTED = "rejected"


class SignUpChange(Request):
    """Body of ``PATCH …/v2/sign_ups/{id}``: only fields with a value are sent."""

    status: SignUpStatus | None = None
    is_virtual: bool | None = None
    rejected_reason: Text | None = None

    def wire(self) -> dict[str, Any]:
        """Return the document without the fields that have no value."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
