"""Models of the records on the operator's Kafka topics (docs/contracts/rosdomofon.md#messages): UTF-8 JSON, integer
phones, upper-case PUSH."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import Field, PrivateAttr, StringConstraints

from adapters.rosdomofon.address import Address
from adapters.rosdomofon.settings import ALL, IN, OUT, SIGN_UPS, SUPPORT
from adapters.rosdomofon.wire import AnyNumber, KafkaPhone, Millis, Request, Wire
from schemas.fields import Int, Text

PUSH: Final = "PUSH"


class Place(NamedTuple):
    """Topic, partition and offset of a record, which identify it."""

    topic: str
    partition: int
    offset: int

    @property
    def company(self) -> str | None:
        """The company's short name in the topic's name; None for ``SIGN_UPS_ALL``."""
        for prefix in (IN, OUT, SIGN_UPS):
            if self.topic.startswith(prefix):
                name = self.topic.removeprefix(prefix)
                return None if prefix == SIGN_UPS and name == ALL else name
        return None


class Received(Wire):
    """Base of records that were read; ``place`` and ``invalid`` are not part of the document."""

    _place: Place | None = PrivateAttr(default=None)
    _invalid: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def invalid(self) -> dict[str, Any]:
        """The parts of the document that are invalid, nested as in it."""
        return self._invalid

    def without(self, invalid: dict[str, Any]) -> Self:
        """Set the invalid parts, without which the record was read."""
        self._invalid = invalid
        return self

    @property
    def place(self) -> Place | None:
        """The record's place, None if it was not read from Kafka."""
        return self._place

    def at(self, place: Place) -> Self:
        """Set the record's place."""
        self._place = place
        return self


class KafkaAbonentInfo(Wire):
    """An addressee."""

    company_id: Int | None = None
    id: Int
    phone: KafkaPhone = 0


class KafkaFromAbonent(Wire):
    """A sender; the system itself has id and phone 0."""

    id: Int
    phone: KafkaPhone = 0
    company_id: Int | None = None
    restriction_push_token_ids: list[Any] | None = Field(default_factory=list)


class Sender(KafkaFromAbonent):
    """The sender of an incoming message, with a phone of any country."""

    phone: AnyNumber = None  # type: ignore[assignment]


class Addressed(KafkaAbonentInfo):
    """An addressee of an incoming message, with a phone of any country."""

    phone: AnyNumber = None  # type: ignore[assignment]


class LocalizedText(Wire):
    """A text, or the key and arguments of a localized one."""

    message: Text | None = None
    message_key: Text | None = None
    message_args: Any = None


class KafkaIncomingMessage(Received):
    """A message from an abonent: a record of ``MESSAGES_IN_<company>``."""

    from_abonent: Sender
    channel: Text | None = None
    message: Text | None = None
    delivery_method: Text | None = None
    to_abonents: list[Addressed] | None = None
    broadcast: bool | None = None
    wait_response: bool | None = None
    localized_push: LocalizedText | None = None
    sms_message: Text | None = None
    message_code: Text | None = None
    chat_id: Text | None = None
    properties: Any = None
    providers: Any = None
    app_names: Any = None
    localized_sms: LocalizedText | None = None
    image_url: Text | None = None

    @property
    def text(self) -> str | None:
        """The text: ``message``, or that of ``localized_push`` if it is null; None or empty without any."""
        if self.message is not None:
            return self.message
        return self.localized_push.message if self.localized_push else None


class OutgoingPush(Request):
    """The push of an outgoing message."""

    message: Text | None = None
    message_key: Text | None = None
    message_args: Any = None


class KafkaOutgoingMessage(Request):
    """A message from the company: a record of ``MESSAGES_OUT_<company>``, as the operator's library writes it."""

    channel: Text = SUPPORT
    delivery_method: Text = PUSH
    from_abonent: KafkaFromAbonent | None = None
    message: Annotated[Text, StringConstraints(min_length=1)]
    to_abonents: list[KafkaAbonentInfo] = Field(min_length=1)
    localized_push: OutgoingPush | None = None


class SignUpAbonent(Wire):
    """The abonent of a sign-up."""

    id: Int
    phone: AnyNumber = None


class SignUpApplication(Wire):
    """The app in which a sign-up was made."""

    id: Int | None = None
    name: Text | None = None
    provider: Text | None = None
    company_id: Int | None = None


class SignUp(Received):
    """A request to be connected: a record of ``SIGN_UPS_<company>`` or ``SIGN_UPS_ALL``, identified by ``id``
    (docs/contracts/rosdomofon.md#sign-ups)."""

    id: Int
    abonent: SignUpAbonent | None = None
    address: Address | None = None
    application: SignUpApplication | None = None
    virtual: bool | None = None
    time_zone: Text | None = None
    offer_signed: bool | None = None
    contract_number: Text | None = None
    status: Text | None = None
    created_at: Millis | None = None
    uid: Text | None = None
