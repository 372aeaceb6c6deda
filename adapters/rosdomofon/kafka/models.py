"""What stands on the operator's Kafka topics (docs/contracts/rosdomofon.md#messages): UTF-8 JSON, whole-number phones,
upper-case PUSH."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import Field, PrivateAttr, StringConstraints

from adapters.rosdomofon.address import Address
from adapters.rosdomofon.settings import ALL, IN, OUT, SIGN_UPS, SUPPORT
from adapters.rosdomofon.wire import AnyNumber, KafkaPhone, Millis, Request, Wire
from schemas.fields import Int, Text

PUSH: Final = "PUSH"


class Place(NamedTuple):
    """Where a record stands: what tells it from every other."""

    topic: str
    partition: int
    offset: int

    @property
    def company(self) -> str | None:
        """The short name in the topic's; None of ``SIGN_UPS_ALL``."""
        for prefix in (IN, OUT, SIGN_UPS):
            if self.topic.startswith(prefix):
                name = self.topic.removeprefix(prefix)
                return None if prefix == SIGN_UPS and name == ALL else name
        return None


class Received(Wire):
    """A record that was read; ``place`` is no part of what it says."""

    _place: Place | None = PrivateAttr(default=None)
    _aside: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def aside(self) -> dict[str, Any]:
        """What of it could not be understood, in its places."""
        return self._aside

    def without(self, aside: dict[str, Any]) -> Self:
        """Keep what was set aside to read it."""
        self._aside = aside
        return self

    @property
    def place(self) -> Place | None:
        """Where it stands, if it was read from Kafka."""
        return self._place

    def at(self, place: Place) -> Self:
        """Keep where it was read."""
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
    """Who has written to the company, with a phone of any form."""

    phone: AnyNumber = None  # type: ignore[assignment]


class Addressed(KafkaAbonentInfo):
    """Whom an incoming message names, likewise."""

    phone: AnyNumber = None  # type: ignore[assignment]


class LocalizedText(Wire):
    message: Text | None = None
    message_key: Text | None = None
    message_args: Any = None


class KafkaIncomingMessage(Received):
    """What an abonent says: a record of ``MESSAGES_IN_<company>``."""

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
        """``message``, else that of ``localized_push``; None or empty if there are no words in it."""
        if self.message is not None:
            return self.message
        return self.localized_push.message if self.localized_push else None


class OutgoingPush(Request):
    message: Text | None = None
    message_key: Text | None = None
    message_args: Any = None


class KafkaOutgoingMessage(Request):
    """What the company says: a record of ``MESSAGES_OUT_<company>``, exactly as the operator's library writes it."""

    channel: Text = SUPPORT
    delivery_method: Text = PUSH
    from_abonent: KafkaFromAbonent | None = None
    message: Annotated[Text, StringConstraints(min_length=1)]
    to_abonents: list[KafkaAbonentInfo] = Field(min_length=1)
    localized_push: OutgoingPush | None = None


class SignUpAbonent(Wire):
    id: Int
    phone: AnyNumber = None


class SignUpApplication(Wire):
    id: Int | None = None
    name: Text | None = None
    provider: Text | None = None
    company_id: Int | None = None


class SignUp(Received):
    """Somebody wants to be connected: a record of ``SIGN_UPS_<company>`` or ``SIGN_UPS_ALL``, known by ``id``."""

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
